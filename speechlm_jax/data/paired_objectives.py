"""Objectives of text out of speech or text: translation, answers, labels, matching. Each function returns the
preprocessors of a task, `lanes` included.

What goes into the encoder is speech (the field `audio`), text, or both; a text that is None stays out.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from speechlm_jax import label_metrics, metrics
from speechlm_jax.data import features, preprocessors
from speechlm_jax.data.preprocessors import Example, Preprocessor

KINDS = (label_metrics.MATCH, "other", "near")
"""How a claimed text comes about: it is the speech's own, another's, or its own but for one word."""


def translation(
    target: str, source_language: str, target_language: str, *, text: str | None = None
) -> list[Preprocessor]:
    """Speech, or the field `text`, to its translation, the field `target`.

    source_language, target_language: codes, or fields in braces that hold them. text: None translates the speech.
    """

    def change(example: Example) -> Example:
        doing = "making a translation example"
        translated = preprocessors.field(example, target, doing)
        made = _encoded(example, [] if text is None else [text], speech=text is None, doing=doing)
        prompt = preprocessors.prompt_ids(example, "translate", source_language, target_language)
        return {**made, **_answer(translated, prompt)}

    texts = [target] if text is None else [text, target]
    return _task(change, texts, *texts)


def question_answering(
    question: str = "question", answer: str = "answer", *, passage: str | None = None, accepted: str | None = None
) -> list[Preprocessor]:
    """A question on a text, the field `passage`, or on the speech where it is None, to its answer.

    The question is the end of the prompt: what it asks for is sought in the passage by the decoder, which has copied
    words from there in every other objective. An encoder that reads both learns to compare them much later.

    question, answer: fields of one text each, or of lists of as many, of which each pass asks one, as chance has it.
    accepted: a field that lists what is right for the one question, where that is more than the answer to be learned;
    metrics compare with the nearest.
    Raises ValueError, while the dataset is built, for one text and a list, and for lists of questions with `accepted`.
    """
    doing = "making a question-answering example"
    texts = [question, answer] if passage is None else [question, passage, answer]

    def change(example: Example, seed: tf.Tensor) -> Example:
        asked, replied = (preprocessors.field(example, name, doing) for name in (question, answer))
        if asked.shape.rank != replied.shape.rank:
            raise ValueError(
                f"{doing}: wanted a text each in '{question}' and '{answer}', or a list each, found shapes "
                f"{asked.shape} and {replied.shape}."
            )
        if asked.shape.rank and accepted is not None:
            raise ValueError(f"{doing}: wanted one question for the answers of '{accepted}', found a list of them.")
        if asked.shape.rank:
            asked, replied = _one_of(asked, replied, seed, f"{doing}: wanted as many answers as questions, found")
        made = _encoded(example, [] if passage is None else [passage], speech=passage is None, doing=doing)
        prompt = tf.concat([preprocessors.prompt_ids(example, "answer"), features.encode([asked])[0]], 0)
        right = {} if accepted is None else {"accepted": preprocessors.field(example, accepted, doing)}
        return {**made, **_answer(replied, prompt), **right}

    def has_one(example: Example) -> tf.Tensor:
        asked, replied = (tf.reshape(preprocessors.field(example, name, doing), [-1]) for name in (question, answer))
        alike = tf.equal(tf.size(asked), tf.size(replied))
        least = tf.minimum(tf.size(asked), tf.size(replied))
        # Of lists that differ in length the change itself tells.
        there = preprocessors.has_text(asked[:least]) & preprocessors.has_text(replied[:least])
        return ~alike | tf.reduce_any(there)

    read = [] if passage is None else [preprocessors.drop_empty(passage)]
    last = preprocessors.lanes(keep=("accepted",) if accepted is not None else ())
    return [preprocessors.keep_where(has_one), *read, preprocessors.seeded(change, texts), last]


def classification(
    label: str, labels: Sequence[str] = (), *, name: str = "", texts: Sequence[str] = (), speech: bool = False
) -> list[Preprocessor]:
    """Texts, speech, or both, to the label in the field `label`, written as text.

    labels: all there are; an example with another is an error, and one without a label is dropped, as is one whose only
    text is empty. name: what is asked for, such as 'sentiment', put before the texts. texts: fields, such as premise
    and hypothesis.
    Raises ValueError where neither texts nor speech are to be looked at.
    """
    doing = f"making an example of the classification '{name or label}'"
    if not texts and not speech:
        raise ValueError(f"{doing}: it looks at nothing. Give it texts=(field, ...) or speech=True.")

    def change(example: Example) -> Example:
        given = tf.strings.strip(preprocessors.field(example, label, doing))
        if labels:
            known = tf.reduce_any(tf.equal(given, tf.constant(list(labels))))
            message = f"{doing}: wanted a label of {', '.join(labels)}, found"
            with tf.control_dependencies([tf.debugging.Assert(known, [message, given])]):
                given = tf.identity(given)
        made = _encoded(example, texts, speech=speech, doing=doing, before=name)
        return {**made, **_answer(given, preprocessors.prompt_ids(example, "classify"))}

    alone = [] if speech or len(texts) > 1 else texts
    return _task(change, [*texts, label], label, *alone)


def matching(
    text: str = "text", others: str = "other_text", *, other_share: float = 0.25, near_share: float = 0.25
) -> list[Preprocessor]:
    """Is this the text of this speech? A match, another text, or a near miss: one word, or one character of Chinese,
    changed for one of another text. The text is the target, which is learned where it matches.

    others: the field of other texts, such as others.WithOthers brings. other_share, near_share: of the examples; the
    rest match. Where the others have no word that the text lacks, there is no near miss: it matches.
    """
    if min(other_share, near_share) < 0 or other_share + near_share > 1:
        raise ValueError(
            f"matching speech and text: shares are 0 to 1 together, found other_share={other_share}, "
            f"near_share={near_share}."
        )
    bounds = np.cumsum([1 - other_share - near_share, other_share])

    def claim(truth: bytes, candidates: np.ndarray, seed: np.ndarray) -> tuple[bytes, np.int32]:
        random = np.random.default_rng(np.asarray(seed, np.int64).view(np.uint64))
        kind = int(np.searchsorted(bounds, random.random(), side="right"))
        return _claimed(truth.decode(), [one.decode() for one in np.ravel(candidates)], kind, random)

    def change(example: Example, seed: tf.Tensor) -> Example:
        doing = "matching speech and text"
        truth = preprocessors.field(example, text, doing)
        candidates = preprocessors.field(example, others, doing)
        claimed, kind = tf.numpy_function(
            claim, [truth, candidates, tf.cast(seed, tf.int64)], [tf.string, tf.int32], stateful=False
        )
        claimed, kind = tf.ensure_shape(claimed, []), tf.ensure_shape(kind, [])
        matches = tf.equal(kind, KINDS.index(label_metrics.MATCH))
        return {
            **_encoded(example, [], speech=True, doing=doing),
            "prompt": preprocessors.prompt_ids(example, "match"),
            "targets": preprocessors.with_eos(features.encode([claimed])[0]),
            "claim": tf.where(matches, [1.0], [-1.0]),
            "targets_pretokenized": tf.where(matches, label_metrics.MATCH, label_metrics.MISMATCH),
            "kind": tf.gather(tf.constant(KINDS), kind),
        }

    return [preprocessors.drop_empty(text), preprocessors.seeded(change, [text]), preprocessors.lanes(keep=("kind",))]


def _claimed(truth: str, others: Sequence[str], kind: int, random: np.random.Generator) -> tuple[bytes, np.int32]:
    """The text that is claimed, and the kind that it came out as."""
    truth, others = " ".join(truth.split()), [" ".join(other.split()) for other in others]
    others = [other for other in others if other not in ("", truth)]
    if others and kind == KINDS.index("other"):
        return str(random.choice(others)).encode(), np.int32(kind)
    if kind == KINDS.index("near"):
        by_letters = " " not in truth and metrics.is_east_asian(truth)
        cut, joint = (list, "") if by_letters else (str.split, " ")
        words = cut(truth)

        # Among Chinese characters a Latin letter or a mark would stand out.
        def fits(word: str) -> bool:
            return not by_letters or metrics.is_east_asian(word)

        foreign = [word for other in others for word in cut(other) if word not in words and fits(word)]
        if foreign:
            place = random.choice([place for place, word in enumerate(words) if fits(word)])
            words[place] = str(random.choice(foreign))
            return joint.join(words).encode(), np.int32(kind)
    return truth.encode(), np.int32(KINDS.index(label_metrics.MATCH))


def _one_of(questions: tf.Tensor, answers: tf.Tensor, seed: tf.Tensor, told: str) -> tuple[tf.Tensor, tf.Tensor]:
    """A question that is not empty, by chance, and its answer."""
    counts = tf.size(answers), tf.size(questions)
    with tf.control_dependencies([tf.debugging.Assert(tf.equal(*counts), [told, *counts])]):
        there = tf.where(preprocessors.has_text(questions) & preprocessors.has_text(answers))[:, 0]
    # Philox by name, as for the seeds themselves.
    chosen = tf.random.stateless_uniform([], seed, 0, tf.size(there), tf.int32, alg="philox")
    return questions[there[chosen]], answers[there[chosen]]


def _encoded(example: Example, texts: Sequence[str], *, speech: bool, doing: str, before: str = "") -> Example:
    """What the encoder is given: texts one after the other, each but the last ended, and the speech."""
    made = preprocessors.named(example)
    written = [preprocessors.field(example, name, doing) for name in texts]
    if before:
        written = [tf.constant(before), *written]
    if written:
        ids = features.encode(written)
        made["inputs"] = tf.concat([*(preprocessors.with_eos(part) for part in ids[:-1]), ids[-1]], 0)
    if speech:
        made["audio"] = preprocessors.field(example, "audio", doing)
    return made


def _answer(text: tf.Tensor, prompt: tf.Tensor) -> Example:
    return {
        "prompt": prompt,
        "targets": preprocessors.with_eos(features.encode([text])[0]),
        "targets_pretokenized": text,
    }


def _task(change: Any, texts: Sequence[str], *wanted: str) -> list[Preprocessor]:
    """The preprocessors of a task without those examples that lack one of the texts `wanted`."""
    return [preprocessors.drop_empty(*wanted), preprocessors.mapped(change, texts), preprocessors.lanes()]
