"""Levels of speech are decibels below its loudest channel, by librosa."""

import jax.numpy as jnp
import librosa
import numpy as np
import rows

from speechlm_jax import batch as batches
from speechlm_jax.models import config, speech_out

ROW = batches.Row(target_audio_seconds=3.2, segments=3)
SPEECH = config.SpeechOut(mels=40, levels=16, range_db=60)


def levels(*examples):
    batch = rows.batch(ROW, list(examples))
    found = np.asarray(speech_out.levels(batch.target_audio, 3, SPEECH))
    return rows.places(found.reshape(1, -1, 40), batch.target_audio.segment_ids)


def test_levels_are_decibels_below_the_loudest_channel_by_librosa():
    example = rows.example(0, target_seconds=1.0)
    power = librosa.feature.melspectrogram(
        y=example["target_audio"].astype(np.float64) / 32_768,
        sr=batches.SAMPLE_RATE,
        n_fft=batches.WINDOW,
        hop_length=batches.HOP,
        n_mels=40,
        pad_mode="reflect",
    ).T[: rows.frames(example["target_audio"])]
    below = 10 * np.log10(np.maximum(power, 1e-10) / power.max())
    wanted = np.clip(1 + below / 60, 0, 1) * 15
    found = levels(rows.example(1, target_seconds=0.5), example)[0, 2]
    assert np.abs(found - wanted).max() <= 0.501


def test_loudness_changes_no_level():
    example = rows.example(0, target_seconds=1.0)
    quiet = {**example, "target_audio": example["target_audio"] // 8}
    assert np.mean(levels(example)[0, 1] != levels(quiet)[0, 1]) < 0.01


def test_dead_frames_are_at_the_lowest_level():
    batch = rows.batch(ROW, [rows.example(0, target_seconds=0.5)])
    found = np.asarray(speech_out.levels(batch.target_audio, 3, SPEECH)).reshape(1, -1, 40)
    assert not found[0, np.asarray(batch.target_audio.segment_ids[0]) == 0].any()
    assert found.max() == 15 and jnp.issubdtype(found.dtype, jnp.integer)
