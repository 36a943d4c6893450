"""Waveforms changed at random: played faster, in a room, with noise, louder or quieter, over a telephone line."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import soxr
from jaxtyping import Int16

from speechlm_jax import audio, batch
from speechlm_jax.data import config, order


def augment(samples: Int16[np.ndarray, "N"], choices: config.Augmentation, seed: int) -> Int16[np.ndarray, "N_changed"]:
    """Speech (16 kHz) as `choices` change it: a function of its arguments alone.

    Each kind has random numbers of its own, so that turning one on leaves the others as they were. Where no kind
    takes this seed, the samples are returned as they are.
    """
    wave_N = samples
    for kind, share in choices.shares.items():
        random = np.random.default_rng(order.key(seed, kind))
        if len(samples) and random.random() < share:
            wave_N = _KINDS[kind](wave_N.astype(np.float32, copy=False), choices, random)
    return samples if wave_N is samples else _to_int16(wave_N)


def _speed(wave_N: np.ndarray, choices: config.Augmentation, random: np.random.Generator) -> np.ndarray:
    """Speed perturbation (Ko et al., "Audio augmentation for speech recognition", 2015): another number of samples,
    played at the old rate."""
    factor = random.uniform(*_range(choices.speed))
    # What was long enough for a speech frame stays so.
    shortest = min(len(wave_N), audio.EDGE + 1)
    length = max(shortest, round(len(wave_N) / factor))
    return _fitted(soxr.resample(wave_N, len(wave_N), length, quality="MQ"), length)


def _room(wave_N: np.ndarray, choices: config.Augmentation, random: np.random.Generator) -> np.ndarray:
    """Speech in a room whose echoes are noise that decays exponentially (Polack's model): the direct sound, then
    everything at once. What sounds on after the end is cut."""
    length = max(2, round(random.uniform(*_range(choices.room_seconds)) * batch.SAMPLE_RATE))
    direct_db = random.uniform(*choices.room_direct_db)
    echoes = random.standard_normal(length, dtype=np.float32)
    echoes *= np.exp(np.arange(length, dtype=np.float32) * np.float32(np.log(1e-3) / length))
    echoes[0] = 0.0
    echoes *= _amplitude(-direct_db) / np.sqrt(_energy(echoes))
    echoes[0] = 1.0
    heard_N = _convolve(wave_N, echoes[: len(wave_N)])
    energy = _energy(heard_N)
    if not energy:
        return wave_N
    heard_N *= np.sqrt(_energy(wave_N) / energy)
    return heard_N


def _noise(wave_N: np.ndarray, choices: config.Augmentation, random: np.random.Generator) -> np.ndarray:
    """Speech and stationary noise whose power falls as frequency to the power of 0, 1 or 2."""
    noise_db = random.uniform(*_range(choices.noise_db))
    slope = random.integers(3)
    period = _fast_length(len(wave_N))
    bins = period // 2 + 1
    # Evenly distributed numbers are drawn the quickest; the noise, a sum of many, is Gaussian all the same.
    numbers = random.random(2 * bins, dtype=np.float32)
    numbers -= np.float32(0.5)
    spectrum = numbers.view(np.complex64)
    # Lower sounds are not heard, and would have most of the power of brown noise.
    lowest = -(-_LOWEST_HZ * period // batch.SAMPLE_RATE)
    spectrum[:lowest] = 0.0
    spectrum[lowest:] *= np.arange(lowest, bins, dtype=np.float32) ** np.float32(-slope / 2)
    noise_N = np.fft.irfft(spectrum, period)[: len(wave_N)]
    energy = _energy(noise_N)
    if not energy:
        return wave_N
    noise_N *= _amplitude(-noise_db) * np.sqrt(_energy(wave_N) / energy)
    noise_N += wave_N
    return noise_N


def _gain(wave_N: np.ndarray, choices: config.Augmentation, random: np.random.Generator) -> np.ndarray:
    return wave_N * _amplitude(random.uniform(*_range(choices.gain_db)))


def _band_limit(wave_N: np.ndarray, choices: config.Augmentation, random: np.random.Generator) -> np.ndarray:
    """Speech at 8 kHz in mu-law of 8 bits, and back."""
    line = _to_int16(soxr.resample(wave_N, 2, 1, quality="HQ"))
    # A negative sample counts from the end of the table.
    return _fitted(soxr.resample(_mu_law()[line], 1, 2, quality="HQ"), len(wave_N))


_KINDS: dict[str, Callable[[np.ndarray, config.Augmentation, np.random.Generator], np.ndarray]] = {
    "speed": _speed,
    "room": _room,
    "noise": _noise,
    "gain": _gain,
    "band_limit": _band_limit,
}
"""What is done to float32 waves in int16's units; Augmentation.shares has the order in which speech meets them."""

_LOWEST_HZ = 20
_FULL_SCALE = 32_767.0


def _range(chosen: tuple[float, float] | None) -> tuple[float, float]:
    assert chosen is not None
    return chosen


def _to_int16(wave_N: np.ndarray) -> np.ndarray:
    """Rounded; scaled down where the peak would pass full scale."""
    peak = float(np.abs(wave_N).max(initial=0.0))
    return np.rint(wave_N * np.float32(_FULL_SCALE / peak) if peak > _FULL_SCALE else wave_N).astype(np.int16)


def _energy(wave_N: np.ndarray) -> np.float32:
    # Not by BLAS, whose last digit depends on the number of threads.
    return np.square(wave_N).sum()


def _amplitude(db: float) -> np.float32:
    return np.float32(10 ** (db / 20))


def _fitted(wave_N: np.ndarray, length: int) -> np.ndarray:
    """The wave with this many samples: soxr may be off by a few."""
    return wave_N[:length] if len(wave_N) >= length else np.pad(wave_N, (0, length - len(wave_N)))


def _fast_length(length: int) -> int:
    """The next number from `length` on that is a power of two times 1, 3, 5, 9 or 15: Fourier transforms are quick."""
    return min(odd << (-(-length // odd) - 1).bit_length() for odd in (1, 3, 5, 9, 15))


def _convolve(wave_N: np.ndarray, response: np.ndarray) -> np.ndarray:
    """As many samples as the wave has of its convolution with a response no longer than it, by overlap and add."""
    tail = len(response) - 1
    size = _fast_length(min(4 * len(response), len(wave_N) + tail))
    hop = size - tail
    spectrum = np.fft.rfft(response, size)
    out_N = np.zeros(len(wave_N) + size, np.float32)
    # Block by block in memory that stays in the processor's cache.
    block: Any = np.empty(len(spectrum), np.complex64)
    sound: Any = np.empty(size, np.float32)
    for start in range(0, len(wave_N), hop):
        np.fft.rfft(wave_N[start : start + hop], size, out=block)
        block *= spectrum
        out_N[start : start + size] += np.fft.irfft(block, size, out=sound)
    return out_N[: len(wave_N)]


@functools.cache
def _mu_law() -> np.ndarray:
    """int16 -> what is left of it after mu-law coding in 8 bits (ITU-T G.711), by the sample as an index, float32."""
    samples = np.arange(1 << 16).astype(np.uint16).view(np.int16).astype(np.int32)
    biased = np.minimum(np.abs(samples), 32_635) + 132
    # Eight segments, each twice as long as the one before, of sixteen steps.
    segment = np.floor(np.log2(biased)).astype(np.int32) - 7
    step = (biased >> (segment + 3)) & 15
    return (np.sign(samples) * ((((step << 3) + 132) << segment) - 132)).astype(np.float32)
