"""Tests of the text that a vocabulary is trained on."""

import contextlib
import errno
import itertools
import json

import numpy as np
import pytest
import seqio
import soundfile
import tensorflow as tf

from speechlm_jax import audio, storage
from speechlm_jax.data import features, objectives, others, paired_objectives, preprocessors, sources, texts

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


@contextlib.contextmanager
def mixed(source: seqio.DataSource, **steps):
    """A mixture of tasks over one source, by the ends of their names."""
    names = [f"texts_{name}" for name in steps]
    for name, given in zip(names, steps.values(), strict=True):
        seqio.TaskRegistry.add(name, source, features.OUTPUT_FEATURES, given)
    seqio.MixtureRegistry.add("texts_mixed", names, default_rate=1.0)
    try:
        yield "texts_mixed"
    finally:
        seqio.MixtureRegistry.remove("texts_mixed")
        for name in names:
            seqio.TaskRegistry.remove(name)


@pytest.fixture
def recordings(tmp_path, monkeypatch):
    """A manifest of recordings of 0.1, 0.2 ... seconds, and the list of those that were decoded."""
    lines = [
        {"audio": f"{i}.wav", "text": text, "seconds": (i + 1) / 10}
        for i, text in enumerate(["One", "two", "two", "four"])
    ]
    for i in range(len(lines)):
        soundfile.write(tmp_path / f"{i}.wav", np.full(1600 * (i + 1), 0.1), 16_000)
    (tmp_path / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    decoded, read = [], audio.read

    def noted(path, **choices):
        decoded.append(path.name)
        return read(path, **choices)

    monkeypatch.setattr(audio, "read", noted)
    return sources.ManifestSource({"train": tmp_path / "manifest.jsonl"}), decoded


SHORT = preprocessors.keep_where(lambda example: example["seconds"] < 0.35)


@pytest.mark.parametrize("kept", [texts.MAX_KEPT, 0])
def test_no_recording_is_decoded_for_text_alone(recordings, kept, monkeypatch):
    monkeypatch.setattr(texts, "MAX_KEPT", kept)
    source, decoded = recordings
    with mixed(source, filtered=[SHORT, *objectives.recognition()]) as mixture:
        assert list(texts.texts(mixture)) == ["One", "two", "two"]
    with mixed(source, plain=objectives.recognition()) as mixture:
        assert list(texts.texts(mixture)) == ["One", "two", "two", "four"]
    with mixed(source, spoken=objectives.masked_language_model(speech=True)) as mixture:
        assert list(texts.texts(mixture)) == ["One", "two", "two", "four"]
    assert not decoded


def test_a_step_that_listens_is_given_the_recordings(recordings):
    source, decoded = recordings
    long = preprocessors.keep_where(lambda example: tf.size(example["audio"]) > 2000)
    with mixed(source, long=[long, *objectives.recognition()]) as mixture:
        assert list(texts.texts(mixture)) == ["two", "two", "four"]
    assert sorted(decoded) == ["0.wav", "1.wav", "2.wav", "3.wav"]


def test_a_text_of_a_record_is_given_once_however_many_tasks_read_it(recordings):
    small = preprocessors.normalize_text("text", lower=True)
    steps = {
        "a_plain": objectives.recognition(),
        "b_again": objectives.span_corruption(),
        "c_filtered": [SHORT, *objectives.recognition()],
        "d_small": [small, *objectives.masked_language_model()],
        "e_renamed": [preprocessors.rename(words="text"), *objectives.recognition("words")],
    }
    with mixed(recordings[0], **steps) as mixture:
        assert list(texts.texts(mixture)) == ["One", "two", "two", "four", "one"]
        assert list(texts.texts(mixture)) == ["One", "two", "two", "four", "one"]
        assert list(texts.texts(mixture, max_examples=2)) == ["One", "two", "one"]


def test_a_large_source_is_read_once_by_tasks_of_its_text_as_it_is(recordings, monkeypatch):
    monkeypatch.setattr(texts, "MAX_KEPT", 0)
    steps = {
        "a_plain": objectives.recognition(),
        "b_spans": objectives.span_corruption(),
        "c_masked": objectives.masked_language_model(),
    }
    with mixed(recordings[0], **steps) as mixture:
        assert list(texts.texts(mixture)) == ["One", "two", "two", "four"]


def test_lists_of_texts_absent_fields_and_bad_records_are_read_as_in_training(caplog):
    items = [{"text": "one", "others": ["a", "b"]}, {"others": []}, {"text": 3}, {"text": "four"}]
    source = sources.SequenceSource({"train": items}, {"text": "text", "others": "texts"})
    fields = ["others", "text"]
    with mixed(source, plain=objectives.recognition()) as mixture:
        assert list(texts.texts(mixture, fields=fields)) == ["a", "b", "one", "four"]
    assert "record 2: left out: field 'text' holds 3" in caplog.text
    with mixed(source, steps=[preprocessors.select(*fields), *objectives.recognition()]) as mixture:
        assert list(texts.texts(mixture, fields=fields)) == ["a", "b", "one", "four"]


class Gone(list):
    """Records on storage that does not answer."""

    def __getitem__(self, index):
        raise OSError(errno.ESTALE, "Stale file handle")


@pytest.mark.parametrize("kept", [texts.MAX_KEPT, 0])
@pytest.mark.parametrize("before", [[], [SHORT]])
def test_storage_that_never_answers_leaves_no_text_out(kept, before, monkeypatch):
    monkeypatch.setattr(texts, "MAX_KEPT", kept)
    monkeypatch.setattr(storage, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(storage, "MOST_PATIENCE_SECONDS", 0.3)
    source = sources.SequenceSource({"train": Gone(range(3))}, {"text": "text", "seconds": "float"})
    gone = pytest.raises(storage.NoAnswer, match=r"reading train\[0\]: storage has not answered")
    with mixed(source, gone=[*before, *objectives.recognition()]) as mixture, gone:
        list(texts.texts(mixture))


def test_texts_that_others_bring_along_can_be_read():
    items = [{"text": text, "audio": np.ones(800, np.int16)} for text in ("one", "two")]
    source = others.WithOthers(sources.SequenceSource({"train": items}), ("text",), count=2)
    with mixed(source, matching=paired_objectives.matching()) as mixture:
        assert list(texts.texts(mixture)) == ["one", "two"]
        assert list(texts.texts(mixture, fields=["other_text"])) == ["two", "one"]
