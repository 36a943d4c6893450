"""Tests of corpora of TFDS as sources: kinds of fields, recordings made ours, what is said where one is missing."""

import io

import numpy as np
import pytest
import soundfile
import tensorflow_datasets as tfds
import tfds_corpora

from speechlm_jax import audio
from speechlm_jax.data import tfds_source

TRAIN = {"train": "train"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Prepared corpora: of texts, of labels, and of speech at 22,050 Hz."""
    folder = tmp_path_factory.mktemp("tensorflow_datasets")
    tfds_corpora.write("ljspeech", folder, {"train": 3})
    tfds_corpora.write("squad/v2.0", folder, {"train": 3, "validation": 2})
    tfds_corpora.write("glue/sst2", folder, {"train": 3}, lambda index: {"sentence": "a", "label": index - 1, "idx": 5})
    tfds_corpora.write("common_voice/de", folder, {"train": 1})
    return folder


def reader(folder, name, fields=None, splits=None, **options):
    return tfds_source.TfdsSource(name, splits or TRAIN, fields, data_dir=folder, **options).reader("train")


def as_wav(samples, rate):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype="PCM_16")
    file.seek(0)
    return file


def test_a_recording_at_another_rate_is_what_reading_its_file_gives(folder):
    found = reader(folder, "ljspeech", {"audio": "speech"})
    assert found.fields == {"audio": "audio"}
    wave_N = tfds_corpora.wave(22_050, 0.6, 201)
    assert found[1]["audio"].dtype == np.int16
    assert len(found[1]["audio"]) == 0.6 * 16_000
    np.testing.assert_array_equal(found[1]["audio"], audio.read(as_wav(wave_N, 22_050)))


def test_a_recording_that_the_builder_keeps_as_a_file_is_decoded(tmp_path):
    wave_N = tfds_corpora.wave(16_000, 0.5, 300)
    file = io.BytesIO()
    soundfile.write(file, wave_N, 16_000, format="FLAC", subtype="PCM_16")

    def example(index):
        return {"speech": io.BytesIO(file.getvalue()), "text": "A B", "id": "1", "speaker_id": 1, "chapter_id": 1}

    tfds_corpora.write("librispeech/lazy_decode", tmp_path, {"dev_clean": 1}, example)
    found = reader(tmp_path, "librispeech/lazy_decode", splits={"train": "dev_clean"})
    assert found.fields == {"speech": "audio", "text": "text", "id": "text", "speaker_id": "int", "chapter_id": "int"}
    np.testing.assert_array_equal(found[0]["speech"], wave_N)


def test_lists_and_nested_features_are_fields_by_their_paths(folder):
    found = reader(folder, "squad/v2.0")
    assert found.fields["answers/text"] == "texts" and found.fields["answers/answer_start"] == "ints"
    assert found.fields["question"] == "text" and found.fields["is_impossible"] == "int"
    assert list(found[0]["answers/text"]) == tfds_corpora.SENTENCES[:2]


def test_a_number_takes_one_item_of_a_list_or_nothing(folder):
    found = reader(folder, "squad/v2.0", {"first": "answers/text/0", "third": "answers/text/2"})
    assert found.fields == {"first": "text", "third": "text"}
    assert found[1] == {"first": tfds_corpora.SENTENCES[1], "third": ""}
    assert found.values(1, ("third",)) == {"third": ""}


def test_labels_are_text_and_empty_where_they_are_not_told(folder):
    found = reader(folder, "glue/sst2")
    assert [found[index]["label"] for index in range(3)] == ["", "negative", "positive"]
    assert len(found) == 3 and found.name(2) == "glue/sst2/2.0.0:train[2]"


def test_parts_of_splits_and_several_splits_are_one(folder):
    both = reader(folder, "squad/v2.0", splits={"train": ("train", "validation")})
    part = reader(folder, "squad/v2.0", splits={"train": "train[1:2]"})
    assert (len(both), len(part)) == (5, 1)
    assert part[0]["question"] == tfds_corpora.SENTENCES[1]
    assert len({one.fingerprint() for one in (both, part, reader(folder, "squad/v2.0"))}) == 3
    assert part.fingerprint() == reader(folder, "squad/v2.0", splits={"train": "train[1:2]"}).fingerprint()


def test_a_rate_that_the_builder_does_not_say_is_asked_for(folder):
    with pytest.raises(ValueError, match=r"sampling rate of the feature 'voice'. Give its source sample_rate"):
        reader(folder, "common_voice/de")
    assert len(reader(folder, "common_voice/de", sample_rate=48_000)[0]["voice"]) == 0.6 * 16_000


def test_what_is_prepared_in_another_format_says_how_to_prepare_it(tmp_path):
    tfds_corpora.write("glue/rte", tmp_path, {"train": 1}, file_format="tfrecord")
    with pytest.raises(ValueError, match=r"prepared as tfrecord .* tfds build glue/rte --file_format=array_record"):
        reader(tmp_path, "glue/rte")


@pytest.mark.parametrize(
    ("name", "fields", "splits", "message"),
    [
        ("glue/mnli", None, TRAIN, r"not prepared .* tfds build glue/mnli --file_format=array_record .*TFDS_DATA_DIR"),
        ("librispeach", None, TRAIN, r"no builder 'librispeach'. Nearest: 'librispeech'"),
        ("glue/sst", None, TRAIN, r"without this configuration or version. Nearest: 'sst2'"),
        ("glue/sst2", {"text": "sentense"}, TRAIN, r"'sentense', which is not there. Nearest: 'sentence'"),
        ("glue/sst2", {"text": "sentence/0"}, TRAIN, r"'sentence/0', which is not there"),
        ("glue/sst2", None, {"train": "trane"}, r"the split 'trane' cannot be read .* Nearest: 'train'"),
    ],
)
def test_what_is_not_there_is_named_with_what_is(folder, name, fields, splits, message):
    with pytest.raises(ValueError, match=message):
        reader(folder, name, fields, splits)


def test_the_folder_may_be_named_by_the_environment(folder, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(folder))
    assert tfds_source.TfdsSource("glue/sst2", TRAIN).num_input_examples("train") == 3


def test_a_source_that_is_made_opens_nothing():
    assert "train" in tfds_source.TfdsSource("no such/corpus", TRAIN).splits


def test_what_has_no_kind_is_left_out():
    shapes = tfds.features.FeaturesDict(
        {
            "picture": tfds.features.Image(),
            "matrix": tfds.features.Tensor(shape=(2, 2), dtype=np.float32),
            "vector": tfds.features.Tensor(shape=(None,), dtype=np.float32),
            "deep": tfds.features.Sequence(tfds.features.Sequence(np.int64)),
            "words": tfds.features.Sequence(tfds.features.ClassLabel(names=["a"])),
        }
    )
    found = {path: tfds_source._kind(feature) for path, feature in tfds_source._flat(shapes).items()}
    assert found == {"picture": "", "matrix": "", "vector": "floats", "deep": "", "words": "texts"}


def test_samples_become_what_reading_their_file_gives():
    rng = np.random.default_rng(0)
    for rate, shape in ((16_000, (9_000,)), (44_100, (20_000, 2)), (8_000, (9_000,))):
        samples = rng.integers(-9_000, 9_000, shape)
        file = io.BytesIO()
        soundfile.write(file, samples.astype(np.int16), rate, format="WAV", subtype="PCM_16")
        file.seek(0)
        np.testing.assert_array_equal(audio.from_samples(samples, rate), audio.read(file))


@pytest.mark.parametrize(
    ("samples", "rate", "message"),
    [
        (np.full(9_000, 40_000), 16_000, "samples from 40000 to 40000, wanted 16 bits"),
        (np.zeros(9_000, np.int64), 16_000, "silent"),
        (np.zeros(0, np.int64), 22_050, "no samples"),
        (np.ones(100, np.int64), 16_000, "too short"),
        (np.ones(9_000, np.float32), 16_000, "wanted integer samples"),
        (np.ones(9_000, np.int64), 1_000, "sampling rate of 1000 Hz"),
        (np.ones(33_000, np.int64), 16_000, "above max_seconds=2"),
    ],
)
def test_samples_that_cannot_be_used_say_why(samples, rate, message):
    with pytest.raises(audio.AudioError, match=message):
        audio.from_samples(samples, rate, max_seconds=2)
