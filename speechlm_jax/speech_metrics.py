"""Metric functions of speech that a model has said: waveforms, mono, 16 kHz, int16 or float, beside the recordings.

`mel_cepstral_distortion` and `duration_ratio` compare one pair; `mean_mel_cepstral_distortion` and
`total_duration_ratio` compare corpora, in the form that tasks take.
"""

import math
from collections.abc import Sequence

import librosa
import numpy as np

from speechlm_jax import batch, metrics

COEFFICIENTS = 13
"""Mel cepstra that are compared; c0, the loudness, stands before them and is left out."""

_BANDS = 80
_FFT = 512
_RANGE_DB = 80.0
_LEAST_POWER = 1e-20
_INT16_SCALE = 32_768.0


def mel_cepstral_distortion(target: np.ndarray, prediction: np.ndarray) -> float:
    """Mel cepstral distortion in dB, 10 / ln 10 sqrt(2 sum d^2) (Kubichek, "Mel-cepstral distance measure for
    objective speech quality assessment", 1993), averaged along the cheapest path of dynamic time warping.

    target, prediction: waveforms "N"; one of less than 32 ms is lengthened by silence. Cepstra are those of the
    amplitudes of 80 mel bands, frames of 25 ms every 10 ms; other cepstra give other values. Loudness does not count.
    Raises ValueError for what is no waveform, or not finite.
    """
    pair = [_mel_cepstra(samples) for samples in (target, prediction)]
    costs, path = librosa.sequence.dtw(*pair, metric="euclidean")
    return 10 / math.log(10) * math.sqrt(2) * float(costs[-1, -1]) / len(path)


def duration_ratio(target: np.ndarray, prediction: np.ndarray) -> float:
    """How long the prediction is where the target is 1. Raises ValueError for a target without samples."""
    found, wanted = durations([target], [prediction])
    return float(found[0] / wanted[0])


def distortions(targets: Sequence[np.ndarray], predictions: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The mel cepstral distortion of each example, dB, and 1 for each."""
    metrics.check(targets, predictions)
    values = [mel_cepstral_distortion(target, guess) for target, guess in zip(targets, predictions, strict=True)]
    return np.asarray(values), np.ones(len(values))


def durations(targets: Sequence[np.ndarray], predictions: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Seconds of each prediction and of each target. Raises ValueError for a target without samples."""
    metrics.check(targets, predictions)
    found, wanted = (np.asarray([len(samples) for samples in side]) for side in (predictions, targets))
    if not wanted.all():
        raise ValueError(f"a ratio of durations: wanted samples in each target, found none in {(wanted == 0).sum()}.")
    return found / batch.SAMPLE_RATE, wanted / batch.SAMPLE_RATE


@metrics.resampled_by(metrics.ratio(distortions))
def mean_mel_cepstral_distortion(targets: Sequence[np.ndarray], predictions: Sequence[np.ndarray]) -> dict[str, float]:
    """The mean of the examples' `mel_cepstral_distortion`, dB."""
    values, examples = distortions(targets, predictions)
    return {"mel_cepstral_distortion": float(values.mean()), "mel_cepstral_distortion_examples": len(examples)}


@metrics.resampled_by(metrics.ratio(durations))
def total_duration_ratio(targets: Sequence[np.ndarray], predictions: Sequence[np.ndarray]) -> dict[str, float]:
    """How long all predictions are where all targets together are 1; and the seconds of both."""
    found, wanted = (float(seconds.sum()) for seconds in durations(targets, predictions))
    return {
        "duration_ratio": found / wanted,
        "duration_ratio_seconds": found,
        "duration_ratio_target_seconds": wanted,
    }


def _mel_cepstra(samples: np.ndarray) -> np.ndarray:
    """c1 and on, of the natural logarithm of amplitude as a sum of c_m cos(m w): "C T"."""
    if samples.ndim != 1 or not (samples.dtype == np.int16 or np.issubdtype(samples.dtype, np.floating)):
        raise ValueError(
            "measuring speech: wanted a waveform, int16 or float with one axis, "
            f"found {samples.dtype} of shape {samples.shape}."
        )
    if not np.isfinite(samples).all():
        raise ValueError("measuring speech: wanted finite samples, found NaN or infinity among them.")
    scale = _INT16_SCALE if samples.dtype == np.int16 else 1.0
    waveform = np.pad(samples.astype(np.float64) / scale, (0, max(0, _FFT - len(samples))))
    powers = librosa.feature.melspectrogram(
        y=waveform, sr=batch.SAMPLE_RATE, n_fft=_FFT, win_length=batch.WINDOW, hop_length=batch.HOP, n_mels=_BANDS
    )
    decibels = librosa.power_to_db(powers, amin=_LEAST_POWER, top_db=_RANGE_DB)
    amplitudes = np.asarray(decibels) * math.log(10) / 20
    # librosa's cosine transform is orthonormal, and the sum of cosines asks for another scale.
    return librosa.feature.mfcc(S=amplitudes, n_mfcc=COEFFICIENTS + 1)[1:] * math.sqrt(2 / _BANDS)
