"""Tests of objectives."""

import numpy as np
import pytest
import seqio
import tensorflow as tf
from tiny_text import corpus

from speechlm_jax import vocabulary
from speechlm_jax.data import features, objectives, seeds

MANY = 3000


pytestmark = pytest.mark.usefixtures("words")


def records(texts, positions=None, **columns) -> tf.data.Dataset:
    positions = np.arange(len(texts)) if positions is None else np.asarray(positions)
    ids = [f"record-{i}" for i in positions]
    return tf.data.Dataset.from_tensor_slices({"text": list(texts), "_pos": positions, "id": ids, **columns})


def run(steps, dataset: tf.data.Dataset, *, seed: int = 0, task: str = "task") -> list[dict]:
    with seeds.position_seeds(seed, task):
        for step in steps:
            dataset = step(dataset)
    return list(dataset.as_numpy_iterator())


def same(one: dict, other: dict) -> bool:
    return all(np.array_equal(one[name], other[name]) for name in one)


# Recognition.


def test_recognition_fills_the_lanes_of_speech_and_transcript(words):
    dataset = records(["größere Bäume", "你好"], audio=np.ones((2, 400), np.int16), lang=["de", "zh"])
    found = run(objectives.recognition(language="{lang}"), dataset)
    for example, text, code in zip(found, ["größere Bäume", "你好"], ["de", "zh"], strict=True):
        assert example["prompt"].tolist() == [words.token("<task:transcribe>"), words.language(code)]
        assert example["targets"].tolist() == [*words.encode(text), vocabulary.EOS]
        assert example["targets_pretokenized"].decode() == text
        assert (example["ctc"].tolist(), example["weight"].tolist()) == ([1], [1.0])
        assert (example["audio"].sum(), len(example["inputs"]), len(example["target_audio"])) == (400, 0, 0)


def test_recognition_without_ctc_says_so():
    dataset = records(["a"], audio=np.ones((1, 400), np.int16))
    (example,) = run(objectives.recognition(ctc=False), dataset)
    assert example["ctc"].tolist() == [0]


def test_recognition_without_speech_is_an_error():
    with pytest.raises(ValueError, match=r"making a recognition example: .* no field 'audio'"):
        run(objectives.recognition(), records(["a"]))


# Span corruption.


def restored(example: dict, words: vocabulary.Vocabulary) -> tuple[list[int], list[list[int]]]:
    """The text of an example and its spans, by going through inputs and targets one token at a time."""
    sentinels = range(words.sentinel(0), words.sentinel(0) + words.num_sentinels)
    targets = example["targets"].tolist()
    assert targets.count(vocabulary.EOS) == 1
    assert targets[-1] == vocabulary.EOS
    spans: list[list[int]] = []
    for token in targets[:-1]:
        if token in sentinels:
            assert token == sentinels[len(spans)]
            spans.append([])
        else:
            spans[-1].append(token)
    text, seen = [], 0
    for i, token in enumerate(example["inputs"].tolist()):
        if token in sentinels:
            assert token == sentinels[seen]
            assert i == 0 or example["inputs"][i - 1] not in sentinels
            text += spans[seen]
            seen += 1
        else:
            text.append(token)
    assert seen == len(spans)
    assert all(spans)
    return text, spans


def text_of(words: vocabulary.Vocabulary, tokens: int) -> str:
    """A text of exactly so many tokens."""
    text = ""
    for word in " ".join(corpus(40)[::4]).split():
        longer = f"{text} {word}".strip()
        if len(words.encode(longer)) > tokens:
            break
        text = longer
    while len(words.encode(text)) < tokens:
        text += "0"
    assert len(words.encode(text)) == tokens
    return text


@pytest.mark.parametrize(("density", "mean_span"), [(0.15, 3.0), (0.5, 1.0), (0.9, 20.0), (0.01, 1.0)])
def test_spans_put_back_into_inputs_give_the_text(words, density, mean_span):
    texts = [text for text in corpus(200) if len(words.encode(text)) > 1]
    found = run(objectives.span_corruption(density=density, mean_span=mean_span, max_tokens=100), records(texts))
    assert len(found) == len(texts)
    for text, example in zip(texts, found, strict=True):
        tokens, spans = restored(example, words)
        assert tokens == words.encode(text)
        assert spans


@pytest.mark.slow
def test_share_and_length_of_spans_are_right_on_average(words):
    tokens = 47
    text = text_of(words, tokens)
    found = run(objectives.span_corruption(), records([text] * MANY))
    spans = [restored(example, words)[1] for example in found]
    noise = np.array([sum(map(len, each)) for each in spans])
    np.testing.assert_allclose(noise.mean() / tokens, 0.15, atol=0.002)
    np.testing.assert_allclose(noise.sum() / sum(map(len, spans)), 3.0, rtol=0.03)
    assert set(noise) == {7, 8}


@pytest.mark.slow
def test_every_place_is_corrupted_about_as_often(words):
    tokens = 30
    text = text_of(words, tokens)
    found = run(objectives.span_corruption(density=0.3), records([text] * MANY))
    sentinel = words.sentinel(0)
    hidden = np.zeros(tokens)
    for example in found:
        spans, at = restored(example, words)[1], 0
        for token in example["inputs"].tolist():
            if sentinel <= token < sentinel + words.num_sentinels:
                length = len(spans[token - sentinel])
                hidden[at : at + length] += 1
                at += length
            else:
                at += 1
    share = hidden / MANY
    assert share[0] > 0.1
    assert share[-1] > 0.1
    assert 0.2 < share[3:-3].min() <= share[3:-3].max() < 0.4


def test_texts_of_fewer_than_two_tokens_are_dropped(words):
    texts = ["", " ", text_of(words, 1), text_of(words, 2), text_of(words, 3)]
    for steps in (objectives.span_corruption(), objectives.masked_language_model()):
        found = run(steps, records(texts))
        assert [example["_pos"] for example in found] == [3, 4]
    for example in run(objectives.span_corruption(), records(texts)):
        tokens, spans = restored(example, words)
        assert tokens == words.encode(texts[example["_pos"]])
        assert [len(span) for span in spans] == [1]


def test_of_long_texts_any_window_is_seen(words):
    text = text_of(words, 40)
    whole = words.encode(text)
    found = run(objectives.span_corruption(max_tokens=32), records([text] * 900))
    starts = []
    for example in found:
        tokens, _ = restored(example, words)
        starts.append(next(i for i in range(9) if whole[i : i + 32] == tokens))
    counts = np.bincount(starts, minlength=9)
    assert counts.min() > 70
    assert counts.max() < 130


# Masked language model.


def test_masked_tokens_and_their_surroundings_are_the_text(words):
    texts = [text for text in corpus(200) if len(words.encode(text)) > 1]
    for text, example in zip(texts, run(objectives.masked_language_model(), records(texts)), strict=True):
        tokens = np.array(words.encode(text))
        chosen = example["masked_weights"] > 0
        assert chosen.any()
        np.testing.assert_array_equal(example["masked_weights"], chosen.astype(np.float32))
        np.testing.assert_array_equal(example["masked_tokens"], np.where(chosen, tokens, 0))
        np.testing.assert_array_equal(example["inputs"][~chosen], tokens[~chosen])
        assert (len(example["targets"]), example["masked_tokens"].dtype) == (0, np.int32)


@pytest.mark.slow
def test_chosen_tokens_are_masked_replaced_or_kept_in_the_right_shares(words):
    tokens = 43
    found = run(objectives.masked_language_model(), records([text_of(words, tokens)] * MANY))
    inputs, truth, weights = (
        np.stack([example[name] for example in found]) for name in ("inputs", "masked_tokens", "masked_weights")
    )
    chosen = weights > 0
    np.testing.assert_allclose(chosen.mean(), 0.15, atol=0.002)
    assert 0.12 < chosen.mean(0).min() <= chosen.mean(0).max() < 0.18
    assert set(chosen.sum(1)) == {6, 7}
    masked = inputs[chosen] == vocabulary.MASK
    kept = inputs[chosen] == truth[chosen]
    other = ~masked & ~kept
    np.testing.assert_allclose([masked.mean(), kept.mean(), other.mean()], [0.8, 0.1, 0.1], atol=0.015)
    pieces = np.bincount(inputs[chosen][other], minlength=words.size)
    assert pieces[: words.learned[0]].sum() == 0
    learned = pieces[words.learned[0] :]
    assert (learned > 0).mean() > 0.98
    assert learned.max() < 6 * learned.mean()


def test_at_least_one_token_is_masked_however_short_the_text(words):
    found = run(objectives.masked_language_model(share=0.01), records([text_of(words, 2)] * 50))
    assert {example["masked_weights"].sum() for example in found} == {1.0}
    assert {example["masked_weights"].argmax() for example in found} == {0, 1}


# Shuffled spans.


def test_shuffled_spans_are_the_text_in_another_order(words):
    texts = [text_of(words, 2), *([text_of(words, 31)] * 200)]
    orders = set()
    for text, example in zip(texts, run(objectives.shuffled_spans(strange=0.0), records(texts)), strict=True):
        tokens, targets = words.encode(text), example["targets"].tolist()
        assert example["inputs"].tolist() == tokens and sorted(targets[:-1]) == sorted(tokens)
        assert targets[-1] == vocabulary.EOS and example["prompt"].tolist() == [words.token("<task:continue>")]
        # Taken from the text span by span, each of three but the first and the last of the text.
        rest, lengths = targets[:-1], []
        while rest:
            length = next(n for n in (3, 2, 1) if any(tokens[i : i + n] == rest[:n] for i in range(len(tokens))))
            lengths, rest = [*lengths, length], rest[length:]
        assert sorted(lengths)[2:] == [3] * (len(lengths) - 2)
        orders.add(tuple(targets))
    assert len(orders) > 150


def test_strange_tokens_stand_in_the_text_and_in_its_spans_alike(words):
    text = text_of(words, 40)
    tokens = np.array(words.encode(text))
    shares = []
    for example in run(objectives.shuffled_spans(strange=0.3), records([text] * 200)):
        assert sorted(example["inputs"].tolist()) == sorted(example["targets"].tolist()[:-1])
        shares.append((example["inputs"] != tokens).mean())
    np.testing.assert_allclose(np.mean(shares), 0.3, atol=0.02)


@pytest.mark.parametrize("wrong", [{"span": 1}, {"max_tokens": 1}, {"strange": 1.5}])
def test_spans_that_cannot_be_shuffled_are_refused(wrong):
    with pytest.raises(ValueError, match=r"^shuffling spans: wanted span >= 2.*found"):
        objectives.shuffled_spans(**wrong)


# All.


@pytest.mark.slow
@pytest.mark.parametrize(
    "make", [objectives.span_corruption, objectives.masked_language_model, objectives.shuffled_spans]
)
def test_what_is_hidden_is_a_function_of_run_task_and_position(words, make):
    texts = [text_of(words, 60)] * 12
    first = run(make(), records(texts))
    assert all(same(a, b) for a, b in zip(first, run(make(), records(texts)), strict=True))
    for i, example in zip((7, 3), run(make(), records(texts[:2], [7, 3])), strict=True):
        assert same(example, first[i])
    for changed in (
        run(make(), records(texts), seed=1),
        run(make(), records(texts), task="other"),
        run(make(), records(texts, range(12, 24))),
    ):
        assert not any(np.array_equal(a["inputs"], b["inputs"]) for a, b in zip(first, changed, strict=True))


@pytest.mark.parametrize("make", objectives.ON_TEXT.values(), ids=list(objectives.ON_TEXT))
def test_what_is_hidden_in_a_text_is_not_heard_unless_it_is_asked_for(words, make):
    spoken = [np.ones(800, np.int16)]
    (found,) = run(make("text"), records([text_of(words, 9)], audio=spoken))
    assert not len(found["audio"])


def test_hidden_words_may_be_told_from_speech(words):
    steps = objectives.masked_language_model(speech=True)
    (found,) = run(steps, records([text_of(words, 9)], audio=[np.ones(800, np.int16)]))
    assert len(found["audio"]) == 800 and found["masked_weights"].any()
    with pytest.raises(ValueError, match="hiding words of speech: .*'audio'"):
        run(steps, records([text_of(words, 9)]))


@pytest.mark.slow
def test_what_two_tasks_hide_does_not_correlate(words):
    texts = [text_of(words, 40)] * 500
    one, other = (
        np.stack(
            [example["masked_weights"] for example in run(objectives.masked_language_model(), records(texts), task=t)]
        )
        for t in ("one", "other")
    )
    assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.03


@pytest.mark.parametrize("make", [objectives.span_corruption, objectives.masked_language_model])
def test_seqio_serves_an_objective_without_positional_seeds(words, make):
    task = seqio.Task(
        "objectives_stock",
        source=seqio.FunctionDataSource(lambda split, shuffle_files, seed=None: records(corpus(40)), splits=["train"]),
        output_features=features.OUTPUT_FEATURES,
        preprocessors=make(),
    )

    def inputs(seed: int) -> list[list[int]]:
        dataset = task.get_dataset(split="train", shuffle=False, seed=seed, try_in_mem_cache=False)
        return [example["inputs"].tolist() for example in dataset.as_numpy_iterator()]

    assert inputs(3) == inputs(3) != inputs(4)


def test_numbers_out_of_range_are_errors(words):
    with pytest.raises(ValueError, match=r"found density=1.5, mean_span=3.0, max_tokens=512"):
        objectives.span_corruption(density=1.5)
    with pytest.raises(ValueError, match="found share=0, max_tokens=512"):
        objectives.masked_language_model(share=0)
    with pytest.raises(ValueError, match=r"5000 tokens may have 252 spans, and .* has 100 sentinels"):
        run(objectives.span_corruption(max_tokens=5000), records(["a b"]))


@pytest.mark.slow
def test_whole_words_are_hidden_whole_and_long_ones_as_often_as_short_ones(words):
    text = text_of(words, 43)
    tokens = words.encode(text)
    begins = np.array([True, *(words.begins_word[token] for token in tokens[1:])])
    word = np.cumsum(begins) - 1
    lengths = np.bincount(word)
    assert {1, 2} < set(lengths.tolist())
    found = run(objectives.masked_language_model(whole_words=True), records([text] * MANY))
    chosen = np.stack([example["masked_weights"] for example in found]) > 0
    for number, length in enumerate(lengths):
        own = chosen[:, word == number]
        assert (own.all(1) == own.any(1)).all()
        assert own[:, 0].mean() == pytest.approx(0.15, abs=0.025), length
    assert chosen.mean() == pytest.approx(0.15, abs=0.005)
    assert chosen.any(1).all()


# Prefixes.


def test_a_prefix_and_the_rest_are_the_text_cut_anywhere(words):
    text = text_of(words, 9)
    found = run(objectives.prefix_language_model(), records([text] * 300))
    for example in found:
        np.testing.assert_array_equal([*example["inputs"], *example["targets"]], [*words.encode(text), vocabulary.EOS])
    assert np.bincount([len(example["inputs"]) for example in found], minlength=9)[1:].min() > 15
    (window,) = run(objectives.prefix_language_model(max_tokens=5), records([text]))
    assert len(window["inputs"]) + len(window["targets"]) == 5 + 1
    with pytest.raises(ValueError, match="max_tokens >= 2"):
        objectives.prefix_language_model(max_tokens=1)


def test_speech_without_a_text_is_no_example_of_recognition(words):
    audio = np.ones((3, 1600), np.int16)
    found = run(objectives.recognition(), records(["so it is", " ", ""], audio=audio))
    assert [example["targets_pretokenized"] for example in found] == [b"so it is"]
