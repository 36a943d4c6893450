"""Real speech, where it is at hand: SPEECHLM_TEST_DATA names a folder of data sets, each with a manifest."""

import os
import pathlib

import librosa
import numpy as np
import pytest
import rows
import soundfile

from speechlm_jax import batch as batches
from speechlm_jax import metrics
from speechlm_jax.data import batches as packed_batches
from speechlm_jax.data import manifest, packing, sources
from speechlm_jax.models import log_mel

DATA = pathlib.Path(
    os.environ.get("SPEECHLM_TEST_DATA") or pathlib.Path(__file__).resolve().parents[2] / "shared" / "data"
)
READ = DATA / "librispeech_dc" / "manifest.jsonl"
DIGITS = DATA / "fsdd" / "digit_strings.jsonl.gz"

pytestmark = pytest.mark.skipif(not READ.exists(), reason="no folder of real recordings is at hand")


@pytest.fixture(scope="module")
def read():
    """Twenty utterances of read speech."""
    reader = manifest.Reader(manifest.Manifest(READ), range(20))
    return [reader[index] for index in range(20)]


def test_what_is_read_is_what_libsndfile_reads(read):
    opened = manifest.Manifest(READ)
    for index, example in enumerate(read[:5]):
        samples, rate = soundfile.read(READ.parent / opened.column("audio")[index], dtype="int16")
        assert rate == batches.SAMPLE_RATE
        np.testing.assert_allclose(example["audio"], samples, atol=1)


def test_features_of_read_speech_are_those_of_librosa(read):
    samples = read[0]["audio"]
    row = batches.Row(audio_seconds=len(samples) / 16_000 + 0.2, segments=1)
    batch = rows.batch(row, [{**rows.example(0), "audio": samples}])
    found = np.asarray(log_mel.features(batch.audio.samples, batch.audio.segment_ids, 1, 80))[0]
    power = librosa.feature.melspectrogram(
        y=samples.astype(np.float64) / 32_768, sr=16_000, n_fft=400, hop_length=160, n_mels=80, pad_mode="reflect"
    ).T[: rows.frames(samples)]
    logs = np.log10(np.maximum(power, 1e-10))
    wanted = (np.maximum(logs, logs.max() - 8.0) + 4.0) / 4.0
    found = found[: len(wanted)]
    assert np.abs(found - wanted).max() / np.abs(wanted).max() < 1e-4


def test_read_speech_is_packed_whole(read):
    row = batches.Row(audio_seconds=35, segments=32)
    examples = [{**rows.example(number), **_only_audio(example)} for number, example in enumerate(read)]
    packed = list(packed_batches.pack(examples, row, rows=2))
    frames = sum(int((made.batch.audio.segment_ids > 0).sum()) for made in packed)
    assert frames == sum(rows.frames(example["audio"]) for example in read)
    for made in packed:
        for members in made.rows:
            assert sum(packing.demand(member, row)[0] for member in members) <= row.audio_positions


def _only_audio(example):
    return {"audio": example["audio"], "inputs": np.zeros(0, np.int32), "masked_tokens": np.zeros(0, np.int32)}


def test_strings_of_digits_are_their_clips_and_gaps():
    source = sources.ManifestSource(DIGITS, {"train": "train", "test": "test"})
    reader = source.reader("test")
    example = reader[0]
    seconds = len(example["audio"]) / 16_000
    words = example["text"].split()
    assert 0.2 * len(words) < seconds < 1.5 * len(words)
    errors, count = metrics.word_errors([example["text"]], [example["text"]])
    assert (errors.sum(), count.sum()) == (0, len(words))
    told = reader.values(0, ("speaker", "text"))
    assert told == {"speaker": example["speaker"], "text": example["text"]}
