"""Log-mel features are librosa's, in packed rows as alone, and so are their masks."""

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest
import rows
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from speechlm_jax import batch as batches
from speechlm_jax.models import config, log_mel

MELS = 80
ROW = batches.Row(audio_seconds=3.2, segments=3)


def features(batch):
    return log_mel.features(batch.audio.samples, batch.audio.segment_ids, batch.segments.weights.shape[1], MELS)


def by_segment(batch, function=features):
    return {"features": rows.places(rows.compiled(function)(batch), batch.audio.segment_ids)}


@pytest.fixture(scope="module")
def examples():
    return [rows.example(seed, seconds=seconds) for seed, seconds in enumerate((0.9, 1.37, 0.31))]


def test_features_are_those_of_librosa(examples):
    """Whisper's recipe: https://github.com/openai/whisper/blob/main/whisper/audio.py, log_mel_spectrogram."""
    found = by_segment(rows.batch(ROW, examples))["features"]
    for segment, example in enumerate(examples, start=1):
        power = librosa.feature.melspectrogram(
            y=example["audio"].astype(np.float64) / 32_768,
            sr=batches.SAMPLE_RATE,
            n_fft=batches.WINDOW,
            hop_length=batches.HOP,
            n_mels=MELS,
            pad_mode="reflect",
        )[:, : rows.frames(example["audio"])]
        logs = np.log10(np.maximum(power, 1e-10))
        wanted = (np.maximum(logs, logs.max() - 8) + 4).T / 4
        assert found[0, segment].shape == wanted.shape
        assert np.linalg.norm(found[0, segment] - wanted) <= 1e-4 * np.linalg.norm(wanted)
        np.testing.assert_allclose(found[0, segment], wanted, atol=1e-4)


def test_features_of_packed_and_unpacked_rows_are_the_same(examples):
    a, b, c = examples
    longer = batches.Row(audio_seconds=4.8, segments=5)
    rows.check_packing_is_exact(by_segment, rows.batch(ROW, [c, a, b]), rows.batch(longer, [a], [b], [c]))


def test_a_loud_neighbour_does_not_clip_a_quiet_segment(examples):
    """The same, where it is hardest: a neighbour ten thousand times as loud."""
    quiet, loud = dict(examples[0]), dict(examples[1])
    quiet["audio"] = (quiet["audio"] / 3_000).astype(np.int16)
    loud["audio"] = np.where(loud["audio"] > 0, 32_767, -32_768).astype(np.int16)
    rows.check_packing_is_exact(by_segment, rows.batch(ROW, [loud, quiet]), rows.batch(ROW, [quiet], [loud]))


def test_the_check_sees_features_normalised_by_the_row(examples, monkeypatch):
    maximum = log_mel.segments.maximum

    def of_the_row(values, segment_ids, num_segments):
        per_segment = maximum(values, segment_ids, num_segments)
        return jnp.broadcast_to(per_segment.max(axis=-1, keepdims=True), per_segment.shape)

    monkeypatch.setattr(log_mel.segments, "maximum", of_the_row)
    quiet = dict(examples[0], audio=(examples[0]["audio"] / 3_000).astype(np.int16))

    def leaking(batch):  # A function of its own: JAX remembers what it compiled for the sound one.
        return by_segment(batch, lambda batch: features(batch))

    with pytest.raises(AssertionError, match="features of example"):
        rows.check_packing_is_exact(
            leaking, rows.batch(ROW, [examples[1], quiet]), rows.batch(ROW, [quiet], [examples[1]])
        )


def test_dead_frames_are_zeros(examples):
    batch = rows.batch(ROW, examples, [])
    mel = rows.compiled(features)(batch)
    assert np.all(np.asarray(mel)[np.asarray(batch.audio.segment_ids) == 0] == 0)
    assert np.isfinite(mel).all()


def masked(batch, key, masks):
    ones = jnp.ones((*batch.audio.segment_ids.shape, MELS))
    return log_mel.augment(ones, batch.audio, batch.segments, masks, key)


def test_what_is_hidden_does_not_depend_on_the_row(examples):
    a, b, c = examples

    hide = rows.compiled(lambda batch: masked(batch, jax.random.key(3), config.SpecAugment()))

    def hidden(batch):
        values = hide(batch)
        return {"hidden": rows.places(values, batch.audio.segment_ids)}

    rows.check_packing_is_exact(hidden, rows.batch(ROW, [c, a, b]), rows.batch(ROW, [a], [b], [c]))


def test_masks_hide_no_more_than_their_share(examples):
    masks = config.SpecAugment(time_masks=1, max_time_share=0.25, mel_masks=1, max_mels=10)
    batch = rows.batch(ROW, examples)
    hide = rows.compiled(lambda key: masked(batch, key, masks) == 0)
    widths, bands = [], []
    for seed in range(40):
        for value in rows.places(hide(jax.random.key(seed)), batch.audio.segment_ids).values():
            times, mels = value.all(axis=1), value.all(axis=0)
            widths.append(times.mean())
            bands.append(mels.sum())
            # One span of time, one band of mels, nothing else.
            assert (np.diff(times.astype(int)) == 1).sum() + times[0] <= 1
            assert (np.diff(mels.astype(int)) == 1).sum() + mels[0] <= 1
            assert (value == (times[:, None] | mels[None, :])).all()
    first, second, third = (bands[segment::3] for segment in range(3))
    assert first != second and second != third, "the segments of a row are masked alike"
    assert max(widths) <= 0.25 + 0.05 and 0.08 < np.mean(widths) < 0.17
    assert max(bands) <= 10 and 4 < np.mean(bands) < 6


def test_features_of_rows_cut_over_devices_are_made_where_the_rows_are(examples):
    devices = jax.devices()
    assert len(devices) >= 8
    mesh = jax.make_mesh((8,), ("rows",), axis_types=(AxisType.Auto,), devices=devices[:8])
    by_rows = NamedSharding(mesh, PartitionSpec("rows"))
    batch = jax.device_put(rows.batch(ROW, *[examples] * 8), by_rows)

    def augmented(batch):
        return log_mel.augment(features(batch), batch.audio, batch.segments, config.SpecAugment(), jax.random.key(0))

    text = rows.compiled(augmented, out_shardings=by_rows).lower(batch).compile().as_text()
    exchanges = ("all-gather", "all-reduce", "all-to-all", "collective-permute")
    assert not [name for name in exchanges if name in text]


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (lambda: config.SpecAugment(time_masks=-1), "SpecAugment.time_masks of 0 or more, found -1"),
        (lambda: config.SpecAugment(max_time_share=1.5), "SpecAugment.max_time_share of 1 or less, found 1.5"),
        (lambda: config.SpeechOut(range_db=90.0), "SpeechOut.range_db of 80 or less, found 90"),
    ],
)
def test_numbers_that_features_cannot_keep_to_are_refused(made, told):
    with pytest.raises(ValueError, match=told):
        made()
