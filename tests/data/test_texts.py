"""Tests of the text that a vocabulary is trained on."""

import itertools

import numpy as np
import pytest
import seqio
import tensorflow as tf

from speechlm_jax.data import features, objectives, preprocessors, sources, texts

SPEECH = [
    {"transcript": "Ein HAUS, bitte!", "seconds": 2.0, "audio": np.ones(800, np.int16), "id": "a"},
    {"transcript": "zu lang", "seconds": 99.0, "audio": np.ones(800, np.int16), "id": "b"},
    {"transcript": " ", "seconds": 2.0, "audio": np.ones(800, np.int16), "id": "c"},
]
PAIRS = [{"en": "the house", "zh": "房子。"}, {"en": "a tree ", "zh": ""}]


@pytest.fixture(scope="module", autouse=True)
def mixture():
    tasks = {
        "texts_speech": (
            sources.SequenceSource({"train": SPEECH}),
            [
                preprocessors.rename(text="transcript"),
                preprocessors.keep_where(lambda example: example["seconds"] < 20),
                preprocessors.normalize_text("text", lower=True, strip_punctuation=True),
                *objectives.recognition(language="de"),
            ],
        ),
        "texts_pairs": (
            sources.SequenceSource({"train": PAIRS, "validation": PAIRS[:1]}),
            [
                preprocessors.prompt("translate", "zh"),
                preprocessors.tokenize(inputs="en", targets="zh"),
                preprocessors.append_eos("targets"),
                preprocessors.lanes(),
            ],
        ),
        "texts_spans": (sources.SequenceSource({"validation": [{"text": "one"}]}), objectives.span_corruption()),
    }
    for name, (source, steps) in tasks.items():
        seqio.TaskRegistry.add(name, source, features.OUTPUT_FEATURES, steps)
    seqio.MixtureRegistry.add("texts_mixture", list(tasks), default_rate=1.0)
    yield
    seqio.MixtureRegistry.remove("texts_mixture")
    for name in tasks:
        seqio.TaskRegistry.remove(name)


def test_text_is_filtered_and_normalized_as_in_training_without_a_vocabulary():
    assert list(texts.texts("texts_speech")) == ["ein haus bitte"]


def test_a_mixture_gives_what_each_task_of_the_split_tokenizes():
    assert list(texts.texts("texts_mixture")) == ["the house", "房子。", "a tree", "ein haus bitte"]
    assert list(texts.texts("texts_mixture", "validation")) == ["the house", "房子。", "one"]


def test_fields_and_examples_can_be_chosen():
    assert list(texts.texts("texts_pairs", fields=["zh"])) == ["房子。"]
    assert list(texts.texts("texts_pairs", fields=["zh", "en"], max_examples=1)) == ["房子。", "the house"]


def test_text_is_read_as_it_is_asked_for():
    assert list(itertools.islice(texts.texts("texts_mixture"), 1)) == ["the house"]


def test_fields_that_are_not_there_are_an_error():
    with pytest.raises(ValueError, match=r"task 'texts_pairs': wanted text, found the text fields .*en.*--text_field"):
        list(texts.texts("texts_pairs", fields=["text"]))


def test_a_task_of_other_preprocessors_gives_the_text_of_its_source():
    source = sources.SequenceSource({"train": [{"text": "as it is"}]})

    def opaque(dataset: tf.data.Dataset) -> tf.data.Dataset:
        return dataset.map(lambda example: {"inputs": tf.strings.length(example["text"])})

    seqio.TaskRegistry.add("texts_opaque", source, features.OUTPUT_FEATURES, [opaque])
    try:
        assert list(texts.texts("texts_opaque", fields=["text"])) == ["as it is"]
        with pytest.raises(ValueError, match="wanted a preprocessor that tokenizes"):
            list(texts.texts("texts_opaque"))
    finally:
        seqio.TaskRegistry.remove("texts_opaque")
