"""Objectives: what an example is made to teach. Each function returns the preprocessors of a task, `lanes` included."""

from collections.abc import Callable, Mapping

import tensorflow as tf

from speechlm_jax import vocabulary
from speechlm_jax.data import features, preprocessors
from speechlm_jax.data.preprocessors import Example, Preprocessor


def recognition(text: str = "text", language: str = "en", *, ctc: bool = True) -> list[Preprocessor]:
    """Speech to its transcript: `audio` and the field `text`, which is the reference of metrics as it stands here.

    An example without text is dropped. language: a code, or a field in braces that holds one: "{lang}". ctc: whether
    CTC may align text and speech.
    """

    def change(example: Example) -> Example:
        transcript = preprocessors.field(example, text, "making a recognition example")
        preprocessors.field(example, "audio", "making a recognition example")
        return {
            **example,
            "prompt": preprocessors.prompt_ids(example, "transcribe", language),
            "targets": preprocessors.with_eos(features.encode([transcript])[0]),
            "targets_pretokenized": transcript,
            "ctc": tf.constant([int(ctc)], tf.int32),
        }

    return [
        preprocessors.mapped(change, [text]),
        preprocessors.drop_empty("targets_pretokenized"),
        preprocessors.lanes(),
    ]


def language_model(text: str = "text", language: str = "en", *, task: str = "transcribe") -> list[Preprocessor]:
    """A text alone, with nothing to hear or to read, behind the prompt of a task whose texts are like it: what
    `Search.language_model` asks beside that task. `text` is the reference of metrics.

    An example without text is dropped. language: as of `recognition`.
    """

    def change(example: Example) -> Example:
        words = preprocessors.field(example, text, "making an example of a language model")
        heard = ("audio", "target_audio")
        return {
            **{name: value for name, value in example.items() if name not in heard},
            "prompt": preprocessors.prompt_ids(example, task, language),
            "targets": preprocessors.with_eos(features.encode([words])[0]),
            "targets_pretokenized": words,
        }

    return [
        preprocessors.mapped(change, [text]),
        preprocessors.drop_empty("targets_pretokenized"),
        preprocessors.lanes(),
    ]


def span_corruption(
    text: str = "text", *, density: float = 0.15, mean_span: float = 3.0, max_tokens: int = 512
) -> list[Preprocessor]:
    """Text whose spans are to be restored (T5, arXiv 1910.10683, section 3.1.4).

    Each span of `inputs` is replaced by a sentinel; `targets` are the spans, each after its sentinel, and an end
    token. Numbers of masked tokens and of spans are rounded up or down at random, so that both means are met; spans
    are never side by side. Unlike in T5's code a span may stand at the very beginning, and need not stand at the end.

    density: share of tokens in spans. mean_span: tokens of a span. max_tokens: of a longer text, a window that begins
    anywhere with equal chance. A text of fewer than two tokens is dropped.
    Raises ValueError for numbers out of range, and when the dataset is built for want of sentinels.
    """
    doing = "corrupting spans"
    if not (0 < density < 1 and mean_span >= 1 and max_tokens >= 2):
        raise ValueError(
            f"{doing}: wanted 0 < density < 1, mean_span >= 1 and max_tokens >= 2, found density={density}, "
            f"mean_span={mean_span}, max_tokens={max_tokens}."
        )

    def change(example: Example, seed: tf.Tensor) -> Example:
        words = features.current()
        most = int(max_tokens * density / mean_span) + 2
        if most > words.num_sentinels:
            raise ValueError(
                f"{doing}: {max_tokens} tokens may have {most} spans, and the vocabulary '{words.path}' has "
                f"{words.num_sentinels} sentinels. Lower max_tokens or density, or raise mean_span."
            )
        tokens, (noise_draw, spans_draw), orders = _window(example[_TOKENS], max_tokens, 2, seed)
        size = tf.size(tokens)
        noise = _round(tf.cast(size, tf.float32) * density, noise_draw, 1, size - 1)
        kept = size - noise
        spans = _round(tf.cast(noise, tf.float32) / mean_span, spans_draw, 1, tf.minimum(noise, kept + 1))
        span_lengths = _compose(noise, spans, orders[:size])
        # Text lies before, between and after the spans; at both ends there may be none.
        text_lengths = _compose(kept + 2, spans + 1, orders[size:])
        ends = tf.range(spans + 1)
        text_lengths -= tf.cast((ends == 0) | (ends == spans), tf.int32)
        starts = tf.cumsum(span_lengths, exclusive=True) + tf.cumsum(text_lengths[:-1])
        sentinels = words.sentinel(0) + tf.range(spans)
        extended = tf.concat([tokens, sentinels, [vocabulary.EOS]], 0)
        text_starts = tf.concat([[0], starts + span_lengths], 0)
        # A block is text with its sentinel behind it, or a sentinel with its span behind it, both as places in
        # `extended`: the text, then the sentinels, then the end token.
        inputs = _interleave(text_starts, text_lengths, size + tf.range(spans + 1), mark_first=False)[:-1]
        targets = _interleave(starts, span_lengths, size + tf.range(spans), mark_first=True)
        targets = tf.concat([targets, [size + spans]], 0)
        return {**example, "inputs": tf.gather(extended, inputs), "targets": tf.gather(extended, targets)}

    return _seeded(change, text)


def prefix_language_model(text: str = "text", *, max_tokens: int = 512) -> list[Preprocessor]:
    """The beginning of a text to the rest of it (T5, arXiv 1910.10683, section 3.2.1), cut anywhere with equal chance.

    max_tokens: of a longer text, a window that begins anywhere with equal chance. A text of fewer than two tokens is
    dropped. Raises ValueError for numbers out of range.
    """
    if max_tokens < 2:
        raise ValueError(f"cutting texts in two: wanted max_tokens >= 2, found {max_tokens}.")

    def change(example: Example, seed: tf.Tensor) -> Example:
        tokens, (draw,), _ = _window(example[_TOKENS], max_tokens, 1, seed)
        cut = 1 + tf.cast(draw * tf.cast(tf.size(tokens) - 1, tf.float32), tf.int32)
        cut = tf.minimum(cut, tf.size(tokens) - 1)
        prompt = preprocessors.prompt_ids(example, "continue")
        return {
            **example,
            "inputs": tokens[:cut],
            "prompt": prompt,
            "targets": preprocessors.with_eos(tokens[cut:]),
        }

    return _seeded(change, text)


def masked_language_model(
    text: str = "text",
    *,
    share: float = 0.15,
    max_tokens: int = 512,
    whole_words: bool = False,
    speech: bool = False,
) -> list[Preprocessor]:
    """Text some of whose tokens are to be told from the others (BERT, arXiv 1810.04805, section 3.1).

    Of the chosen tokens 80% become <mask>, 10% another piece at random, 10% stay. `masked_tokens` holds them where
    `masked_weights` is 1; both are 0 elsewhere.

    share: of the tokens, rounded up or down at random, and at least one. whole_words: of the words, all of whose tokens
    are chosen together; a piece of Chinese is a word. max_tokens: of a longer text, a window that begins anywhere with
    equal chance. A text of fewer than two tokens is dropped. speech: they are told from the `audio` of the example,
    too. Raises ValueError for numbers out of range.
    """
    doing = "masking tokens"
    if not (0 < share < 1 and max_tokens >= 2):
        raise ValueError(
            f"{doing}: wanted 0 < share < 1 and max_tokens >= 2, found share={share}, max_tokens={max_tokens}."
        )

    def change(example: Example, seed: tf.Tensor) -> Example:
        words = features.current()
        tokens, (number_draw,), orders = _window(example[_TOKENS], max_tokens, 1, seed)
        size = tf.size(tokens)
        draws, word = orders[:size], None
        if whole_words:
            # A share of the words is the same of their tokens in the mean, and chooses long ones as often as short.
            begins = tf.concat([[True], tf.gather(tf.constant(words.begins_word), tokens[1:])], 0)
            draws, word = tf.boolean_mask(draws, begins), tf.cumsum(tf.cast(begins, tf.int32)) - 1
        number = _round(tf.cast(tf.size(draws), tf.float32) * share, number_draw, 1, tf.size(draws))
        chosen = tf.cast(draws >= tf.math.top_k(draws, number).values[-1], tf.float32)
        if word is not None:
            chosen = tf.gather(chosen, word)
        # The order of a token is independent of the order of its namesake in the second half.
        fate = orders[size : 2 * size]
        other = _other(words, (fate - 0.8) * 10)
        replaced = tf.where(fate < 0.8, vocabulary.MASK, tf.where(fate < 0.9, other, tokens))
        return {
            **example,
            "inputs": tf.where(chosen > 0, replaced, tokens),
            "masked_tokens": tf.where(chosen > 0, tokens, 0),
            "masked_weights": chosen,
        }

    return _seeded(change, text, speech=speech)


def shuffled_spans(
    text: str = "text", *, span: int = 3, strange: float = 0.3, max_tokens: int = 512
) -> list[Preprocessor]:
    """Text to its spans in any order. Where a span goes on, the decoder can tell only by finding its beginning in the
    text, which is how answers are found there, too; a text in its own order is copied without such a look.

    span: tokens of a span; the first and the last may be shorter. strange: so many of the tokens, by chance, are
    other pieces at random, before all else, so that it does not help to know what texts are like. max_tokens: of a
    longer text, a window that begins anywhere with equal chance. A text of fewer than two tokens is dropped. Raises
    ValueError for numbers out of range.
    """
    if span < 2 or max_tokens < 2 or not 0 <= strange <= 1:
        raise ValueError(
            "shuffling spans: wanted span >= 2, max_tokens >= 2 and 0 <= strange <= 1, found "
            f"span={span}, max_tokens={max_tokens}, strange={strange}."
        )

    def change(example: Example, seed: tf.Tensor) -> Example:
        words = features.current()
        tokens, (draw,), orders = _window(example[_TOKENS], max_tokens, 1, seed)
        # The first span may begin before the text.
        at = (tf.range(tf.size(tokens)) + tf.cast(draw * span, tf.int32)) // span
        order = tf.argsort(tf.gather(orders, at), stable=True)
        # The second half of the draws is independent of the first, which orders the spans.
        fate = orders[tf.size(tokens) : 2 * tf.size(tokens)]
        tokens = tf.where(fate < strange, _other(words, fate / max(strange, 1e-9)), tokens)
        return {
            **example,
            "inputs": tokens,
            # As where a text goes on: a token of its own would be new to the vocabularies that there are.
            "prompt": preprocessors.prompt_ids(example, "continue"),
            "targets": preprocessors.with_eos(tf.gather(tokens, order)),
        }

    return _seeded(change, text)


ON_TEXT: Mapping[str, Callable[[str], list[Preprocessor]]] = {
    "span_corruption": span_corruption,
    "prefix_language_model": prefix_language_model,
    "masked_language_model": masked_language_model,
    "shuffled_spans": shuffled_spans,
}
"""What a text teaches by itself, by name."""

_TOKENS = "_tokens"


def _other(words: vocabulary.Vocabulary, draws: tf.Tensor) -> tf.Tensor:
    """Pieces by uniform draws."""
    piece = tf.cast(draws * len(words.learned), tf.int32)
    return words.learned.start + tf.clip_by_value(piece, 0, len(words.learned) - 1)


def _seeded(change: Callable[[Example, tf.Tensor], Example], text: str, *, speech: bool = False) -> list[Preprocessor]:
    """Tokens of `text`, where there are at least two, through `change`, which is given a seed; a recording stays out
    without `speech`, for it tells what is hidden in its text."""

    def heard(example: Example) -> Example:
        if speech:
            preprocessors.field(example, "audio", "hiding words of speech")
            return example
        return {name: value for name, value in example.items() if name not in ("audio", "target_audio")}

    return [
        preprocessors.tokenize(**{_TOKENS: text}),
        preprocessors.keep_where(lambda example: tf.size(example[_TOKENS]) >= 2),
        # Behind the text, for which a vocabulary reads no recordings.
        preprocessors.seeded(lambda example, seed: change(heard(example), seed)),
        preprocessors.lanes(),
    ]


def _window(
    tokens: tf.Tensor, max_tokens: int, draws: int, seed: tf.Tensor
) -> tuple[tf.Tensor, list[tf.Tensor], tf.Tensor]:
    """At most max_tokens of the tokens from a random place; `draws` uniform numbers; and 2 n + 3 more for n tokens."""
    size = tf.minimum(tf.size(tokens), max_tokens)
    # Philox by name: another algorithm may be the default on another device.
    numbers = tf.random.stateless_uniform([1 + draws + 2 * size + 3], seed, alg="philox")
    places = tf.size(tokens) - size + 1
    start = tf.minimum(tf.cast(numbers[0] * tf.cast(places, tf.float32), tf.int32), places - 1)
    return tokens[start : start + size], tf.unstack(numbers[1 : 1 + draws], num=draws), numbers[1 + draws :]


def _round(number: tf.Tensor, draw: tf.Tensor, low: int, high: tf.Tensor) -> tf.Tensor:
    """`number` rounded up or down so that it is its own mean, for a uniform draw; within [low, high]."""
    return tf.clip_by_value(tf.cast(tf.floor(number + draw), tf.int32), low, high)


def _compose(total: tf.Tensor, parts: tf.Tensor, numbers: tf.Tensor) -> tf.Tensor:
    """`total` as a sum of `parts` positive integers, each such sum with equal chance, by total - 1 random numbers."""
    cuts = tf.math.top_k(numbers[: total - 1], parts - 1, sorted=False).indices
    # In rising order: tf.sort does the same in thrice the operations.
    cuts = 1 - tf.math.top_k(-cuts, parts - 1).values
    edges = tf.concat([[0], cuts, [total]], 0)
    return edges[1:] - edges[:-1]


def _interleave(starts: tf.Tensor, lengths: tf.Tensor, marks: tf.Tensor, *, mark_first: bool) -> tf.Tensor:
    """Places to gather from: for each block those of [start, start + length), with its mark before or behind them."""
    ends = tf.cumsum(lengths + 1)
    at = tf.range(ends[-1])
    block = tf.raw_ops.UpperBound(sorted_inputs=ends[None], values=at[None])[0]
    start, length = tf.gather(starts, block), tf.gather(lengths, block)
    offset = at - tf.gather(ends, block) + length + 1
    mark = tf.gather(marks, block)
    return (
        tf.where(offset == 0, mark, start + offset - 1)
        if mark_first
        else tf.where(offset == length, mark, start + offset)
    )
