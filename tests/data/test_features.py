"""Tests of the features of tasks and of the vocabulary that a run binds to them."""

import numpy as np
import pytest
import seqio
import tensorflow as tf
from tiny_text import corpus

from speechlm_jax import vocabulary
from speechlm_jax.data import features, objectives, preprocessors, sources

ODD = [
    "",
    " ",
    "  two   spaces ",
    "((()))",
    "))))",
    "größere Bäume",
    "你好，世界。",
    "🙂 Ωμέγα",
    "<lang:de> x",
    "line\nbreak",
]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("features") / "words.model"
    vocabulary.train(corpus(), path, 640)
    return path


@pytest.fixture(scope="module")
def other_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("features") / "other.model"
    vocabulary.train(corpus(), path, 560)
    return path


@pytest.fixture(autouse=True)
def unbound(monkeypatch):
    monkeypatch.setattr(features, "_bound", None)


@pytest.fixture
def mixture():
    """A stock SeqIO mixture of a speech task and a text task, 8 records each."""
    texts = corpus(8)
    speech = [
        {"text": text, "audio": np.full(3000 + 100 * i, i, np.int16), "lang": "de", "id": f"utterance-{i}"}
        for i, text in enumerate(texts)
    ]
    written = [{"text": text} for text in texts]
    steps = {
        "features_speech": (speech, objectives.recognition(language="{lang}")),
        "features_text": (written, [preprocessors.tokenize(inputs="text"), preprocessors.lanes()]),
    }
    for name, (records, preprocess) in steps.items():
        source = sources.SequenceSource({"train": records})
        seqio.TaskRegistry.add(name, source, features.OUTPUT_FEATURES, preprocess)
    yield seqio.MixtureRegistry.add("features_mixture", list(steps), default_rate=1.0)
    seqio.MixtureRegistry.remove("features_mixture")
    for name in steps:
        seqio.TaskRegistry.remove(name)


def tokenized(texts: list[str], **options) -> list[list[int]]:
    run = features.RunVocabulary()
    dataset = tf.data.Dataset.from_tensor_slices(texts).map(run.encode_tf, **options)
    return [ids.tolist() for ids in dataset.as_numpy_iterator()]


def test_datasets_get_the_ids_that_the_vocabulary_gives(path):
    words = features.bind(path)
    texts = corpus(120) + ODD
    expected = [words.encode(text) for text in texts]
    assert tokenized(texts) == expected
    assert tokenized(texts, num_parallel_calls=4) == expected


def test_ids_and_texts_go_both_ways_through_seqio(path):
    words = features.bind(path)
    run = features.OUTPUT_FEATURES["targets"].vocabulary
    ids = words.encode("größere Bäume")
    assert run.encode("größere Bäume") == ids
    assert run.decode([*ids, 1, 0, 0]) == "größere Bäume"
    batch = tf.constant([[*ids, 1], [1, *ids]])
    assert [text.decode() for text in run.decode_tf(batch).numpy()] == ["größere Bäume", ""]
    assert run.decode_tf(tf.constant(ids)).numpy().decode() == "größere Bäume"
    assert (run.vocab_size, run.pad_id, run.eos_id, run.unk_id, run.bos_id) == (640, 0, 1, 2, 3)


def test_an_unbound_vocabulary_is_an_error_that_names_the_binding():
    for use in (
        features.current,
        lambda: features.RunVocabulary().vocab_size,
        lambda: features.RunVocabulary().encode("x"),
        lambda: tokenized(["x"]),
    ):
        with pytest.raises(ValueError, match=r"no vocabulary is bound. Set Data\.vocabulary"):
            use()


def test_another_vocabulary_is_bound_only_for_a_while(path, other_path):
    words, other = features.bind(path), vocabulary.Vocabulary.load(other_path)
    assert features.bind(path).hash == words.hash
    with pytest.raises(ValueError, match=f"{other.hash}.*{words.hash}.*Data.vocabulary"):
        features.bind(other_path)
    with features.bound(other_path):
        assert features.current().hash == other.hash
    assert features.current().hash == words.hash


def test_an_error_under_another_vocabulary_leaves_the_first(path, other_path):
    words = features.bind(path)
    with pytest.raises(RuntimeError), features.bound(other_path):
        raise RuntimeError
    assert features.current().hash == words.hash


def test_a_vocabulary_whose_languages_got_names_may_take_the_place_of_its_former_self(path, tmp_path):
    features.bind(path)
    renamed = tmp_path / "renamed.model"
    renamed.write_bytes(path.read_bytes())
    index = vocabulary.add_language(renamed, "mdw")
    features.bind(renamed)
    assert features.current().language("mdw") == index


def test_a_dataset_keeps_the_vocabulary_it_was_built_with(path, other_path):
    texts = corpus(8)
    with features.bound(other_path) as other:
        dataset = tf.data.Dataset.from_tensor_slices(texts).map(features.RunVocabulary().encode_tf)
    features.bind(path)
    assert [ids.tolist() for ids in dataset.as_numpy_iterator()] == [other.encode(text) for text in texts]


def test_features_of_tasks_that_were_made_apart_are_equal():
    assert features.RunVocabulary() == features.RunVocabulary() != seqio.PassThroughVocabulary(0)
    assert len({features.RunVocabulary(), features.RunVocabulary()}) == 1


@pytest.mark.slow
def test_stock_preprocessors_of_seqio_tokenize_by_the_bound_vocabulary(path):
    words = features.bind(path)
    fields = {"inputs": "the river", "targets": "la rivière", "audio": np.zeros(9, np.int16)}
    dataset = tf.data.Dataset.from_tensors(fields)
    dataset = seqio.preprocessors.tokenize(dataset, features.OUTPUT_FEATURES, copy_pretokenized=False)
    dataset = seqio.preprocessors.append_eos(dataset, features.OUTPUT_FEATURES)
    (example,) = dataset.as_numpy_iterator()
    assert example["inputs"].tolist() == words.encode("the river")
    assert example["targets"].tolist() == [*words.encode("la rivière"), 1]
    assert set(example) == {"inputs", "targets", "audio"}


def test_a_stock_mixture_serves_tasks_of_different_lanes(mixture, path):
    features.bind(path)
    dataset = mixture.get_dataset(split="train", seed=0, num_epochs=1, shuffle=False)
    examples = list(dataset.as_numpy_iterator())
    assert {tuple(sorted(example)) for example in examples} == {tuple(sorted(features.OUTPUT_FEATURES))}
    kinds = {tuple(lane for lane in features.LANES if len(example[lane])) for example in examples}
    assert kinds == {("audio", "targets"), ("inputs",)}
    for example in examples:
        for name, feature in features.OUTPUT_FEATURES.items():
            assert example[name].dtype == feature.dtype.as_numpy_dtype
            assert example[name].ndim == 1
        assert example["ctc"].tolist() == [int(len(example["audio"]) > 0)]
        assert (example["mask_share"].tolist(), example["weight"].tolist()) == ([0.0], [1.0])


def test_what_seqio_would_cut_is_an_error(mixture, path):
    features.bind(path)
    task = seqio.TaskRegistry.get("features_speech")
    roomy = task.get_dataset({"audio": 4000, "targets": 999}, split="train", shuffle=False)
    assert [len(example["audio"]) for example in roomy.as_numpy_iterator()] == [3000 + 100 * i for i in range(8)]
    tight = task.get_dataset({"audio": 3300, "targets": 999}, split="train", shuffle=False)
    with pytest.raises(tf.errors.InvalidArgumentError, match="cut feature audio to sequence_length=3300"):
        list(tight.as_numpy_iterator())
