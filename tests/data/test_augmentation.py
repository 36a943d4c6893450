"""Augmentation: each kind does to a waveform what it is called, by a seed alone."""

import dataclasses
import io
import itertools

import numpy as np
import pytest
import soundfile
import soxr

from speechlm_jax import audio, batch
from speechlm_jax.data import augmentation, config

RATE = batch.SAMPLE_RATE
ALL = config.Augmentation(
    speed=(0.9, 1.1), room_seconds=(0.1, 0.8), noise_db=(5, 30), gain_db=(-12, 6), band_limit_share=1.0
)
KINDS = {
    "speed": config.Augmentation(speed=(0.9, 1.1)),
    "room": config.Augmentation(room_seconds=(0.1, 0.8)),
    "noise": config.Augmentation(noise_db=(5, 30)),
    "gain": config.Augmentation(gain_db=(-12, 6)),
    "band_limit": config.Augmentation(band_limit_share=1.0),
}


def noise(length: int, level: float = 1000.0, seed: int = 0) -> np.ndarray:
    return np.rint(np.random.default_rng(seed).normal(0, level, length)).astype(np.int16)


def sine(hz: float, length: int, level: float = 10_000.0) -> np.ndarray:
    return np.rint(level * np.sin(2 * np.pi * hz * np.arange(length) / RATE)).astype(np.int16)


def energy(samples: np.ndarray) -> float:
    return float(np.square(samples, dtype=np.float64).sum())


def db(ratio: float) -> float:
    return 10 * float(np.log10(ratio))


def test_nothing_on_gives_the_very_same_samples():
    samples = noise(5000)
    assert augmentation.augment(samples, config.Augmentation(), 1) is samples
    off = config.Augmentation(speed=(0.9, 1.1), speed_share=0.0, noise_db=(5, 30), noise_share=0.0)
    assert augmentation.augment(samples, off, 1) is samples


@pytest.mark.parametrize("choices", [ALL, *KINDS.values()], ids=["all", *KINDS])
def test_a_seed_gives_the_same_bytes_and_another_seed_others(choices):
    samples = noise(9001)
    before = samples.copy()
    one, same, other = (augmentation.augment(samples, choices, seed) for seed in (7, 7, 8))
    assert one.dtype == np.int16 and one.tobytes() == same.tobytes() != before.tobytes()
    assert np.array_equal(samples, before)
    # A telephone line has nothing random about it.
    assert (one.tobytes() == other.tobytes()) == (choices is KINDS["band_limit"])


def test_turning_a_kind_on_leaves_what_others_draw():
    samples = noise(20_000)
    for seed in range(5):
        alone = augmentation.augment(samples, KINDS["speed"], seed)
        assert len(augmentation.augment(samples, ALL, seed)) == len(alone)


@pytest.mark.parametrize("factor", [0.5, 0.93, 1.07, 2.0])
def test_speed_changes_length_and_pitch_by_its_factor(factor):
    samples = sine(1000, 32_000)
    faster = augmentation.augment(samples, config.Augmentation(speed=(factor, factor)), 3)
    assert len(faster) == round(len(samples) / factor)
    spectrum = np.abs(np.fft.rfft(faster * np.hanning(len(faster))))
    assert np.argmax(spectrum) * RATE / len(faster) == pytest.approx(1000 * factor, abs=RATE / len(faster))
    middle = slice(1000, -1000)
    assert np.square(faster[middle], dtype=float).mean() == pytest.approx(10_000**2 / 2, rel=0.01)


@pytest.mark.parametrize("noise_db", [-5.0, 0.0, 12.5, 30.0])
def test_noise_is_at_the_asked_ratio(noise_db):
    samples = noise(30_000, 900.0)
    for seed in range(6):
        changed = augmentation.augment(samples, config.Augmentation(noise_db=(noise_db, noise_db)), seed)
        added = changed.astype(np.float64) - samples
        assert db(energy(samples) / energy(added)) == pytest.approx(noise_db, abs=0.1)


def test_noise_is_white_pink_and_brown():
    samples = noise(1 << 16, 3000.0)
    slopes = set()
    for seed in range(12):
        changed = augmentation.augment(samples, config.Augmentation(noise_db=(10, 10)), seed)
        power = np.square(np.abs(np.fft.rfft(changed.astype(np.float64) - samples)))
        hz = np.fft.rfftfreq(len(samples), 1 / RATE)
        edges = np.geomspace(40, 4000, 12)
        levels = [np.log10(power[(hz >= low) & (hz < high)].mean()) for low, high in itertools.pairwise(edges)]
        slope = np.polyfit(np.log10(np.sqrt(edges[1:] * edges[:-1])), levels, 1)[0]
        assert slope == pytest.approx(round(slope), abs=0.15)
        slopes.add(round(slope))
    assert slopes == {0, -1, -2}


@pytest.mark.parametrize("seconds", [0.15, 0.5, 1.2])
def test_a_room_has_the_asked_reverberation_time(seconds):
    click = np.zeros(3 * RATE, np.int16)
    click[0] = 30_000
    choices = config.Augmentation(room_seconds=(seconds, seconds), room_direct_db=(0, 0))
    for seed in range(3):
        heard = augmentation.augment(click, choices, seed).astype(np.float64)
        echoes = heard[1:]
        assert db(heard[0] ** 2 / energy(echoes)) == pytest.approx(0.0, abs=0.1)
        # Schroeder's backward integration, and the line through its fall from -5 to -25 dB.
        left = np.cumsum(np.square(echoes)[::-1])[::-1]
        left_db = 10 * np.log10(left[left > 0] / left[0])
        places = np.flatnonzero((left_db < -5) & (left_db > -25))
        slope = np.polyfit(places / RATE, left_db[places], 1)[0]
        assert -60 / slope == pytest.approx(seconds, rel=0.2)


@pytest.mark.parametrize("length", [700, 16_000, 100_000])
def test_a_room_is_a_convolution_that_keeps_length_and_energy(length):
    samples, click = noise(length, 2000.0), np.zeros(length, np.int16)
    click[0] = 32_000
    choices = config.Augmentation(room_seconds=(0.3, 0.3), room_direct_db=(3, 3))
    response = augmentation.augment(click, choices, 5).astype(np.float64)
    heard = augmentation.augment(samples, choices, 5)
    assert len(heard) == length
    assert db(energy(heard) / energy(samples)) == pytest.approx(0.0, abs=0.1)
    padded = np.fft.rfft(samples, 2 * length) * np.fft.rfft(response, 2 * length)
    wanted = np.fft.irfft(padded, 2 * length)[:length]
    wanted *= np.sqrt(energy(samples) / energy(wanted))
    # The response is known to the precision of int16.
    assert db(energy(heard - wanted) / energy(wanted)) < -35


def test_a_telephone_line_has_nothing_above_4_khz():
    samples = noise(64_000, 4000.0)
    line = augmentation.augment(samples, KINDS["band_limit"], 1)
    assert len(line) == len(samples)
    power = np.square(np.abs(np.fft.rfft(line.astype(np.float64))))
    hz = np.fft.rfftfreq(len(line), 1 / RATE)
    assert db(power[hz > 4200].sum() / power[hz < 3500].sum()) < -50
    before = np.square(np.abs(np.fft.rfft(samples.astype(np.float64))))
    assert db(power[hz < 3500].sum() / before[hz < 3500].sum()) == pytest.approx(0.0, abs=0.2)


def test_a_telephone_line_codes_as_libsndfile_does():
    samples = sine(440, 16_001, 30_000.0)
    samples[8000:] //= 50
    narrow = np.rint(soxr.resample(samples.astype(np.float32), 2, 1, quality="HQ")).astype(np.int16)
    file = io.BytesIO()
    soundfile.write(file, narrow, 8000, format="WAV", subtype="ULAW")
    file.seek(0)
    coded, _ = soundfile.read(file, dtype="int16")
    assert not np.array_equal(coded, narrow)
    wanted = soxr.resample(coded.astype(np.float32), 1, 2, quality="HQ")
    line = augmentation.augment(samples, KINDS["band_limit"], 1)
    assert np.abs(line[:16_000] - wanted[:16_000]).max() <= 0.51


def test_gain_changes_the_level_and_what_would_clip_is_scaled_down():
    samples = noise(20_000, 500.0)
    quieter = augmentation.augment(samples, config.Augmentation(gain_db=(-6, -6)), 1)
    assert db(energy(quieter) / energy(samples)) == pytest.approx(-6.0, abs=0.05)
    loud = sine(300, 20_000, 32_767.0)
    louder = augmentation.augment(loud, config.Augmentation(gain_db=(20, 20)), 1)
    assert np.abs(louder - loud.astype(np.float64)).max() <= 1
    for seed in range(5):
        changed = augmentation.augment(loud, dataclasses.replace(ALL, gain_db=(20, 20), noise_db=(-5, 0)), seed)
        peaks = np.abs(changed.astype(np.int32)) >= 32_766
        assert peaks.sum() <= 3


@pytest.mark.parametrize("length", [0, 1, 2, 3, 17, 201, 210, 4000])
def test_silence_and_the_shortest_sounds_survive(length):
    for choices in (ALL, config.Augmentation(speed=(1.1, 1.1)), *KINDS.values()):
        silent = augmentation.augment(np.zeros(length, np.int16), choices, 1)
        assert not silent.any()
        short = augmentation.augment(np.full(length, -32_768, np.int16), choices, 1)
        assert short.dtype == np.int16 and len(short) == len(silent)
        # What had a speech frame keeps one.
        assert bool(audio.num_frames(len(short))) == bool(audio.num_frames(length))


def test_each_kind_takes_its_share_by_itself():
    samples = noise(400)
    choices = config.Augmentation(
        noise_db=(0, 10), noise_share=0.25, gain_db=(-20, -20), gain_share=0.5, band_limit_share=0.0
    )
    changed = [augmentation.augment(samples, choices, seed) for seed in range(800)]
    quiet = np.array([energy(one) < energy(samples) / 10 for one in changed])
    same = np.array([one is samples for one in changed])
    assert quiet.mean() == pytest.approx(0.5, abs=0.06)
    assert same.mean() == pytest.approx(0.375, abs=0.06)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("speed", (1.1, 0.9)),
        ("speed", (0.0, 1.0)),
        ("speed", (90.0, 110.0)),
        ("room_seconds", (0.0, 0.5)),
        ("room_direct_db", (12.0, 0.0)),
        ("noise_db", (float("nan"), 10.0)),
        ("gain_db", (0.0, float("inf"))),
        ("speed_share", 1.5),
        ("band_limit_share", -0.1),
    ],
)
def test_what_is_out_of_range_is_refused_by_its_name(field, value):
    with pytest.raises(ValueError, match=f"Augmentation.{field} = "):
        config.Augmentation(**{field: value})
