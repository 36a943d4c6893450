"""Tests of metrics of speech."""

import functools
import math

import librosa
import numpy as np
import pytest
import scipy.signal

from speechlm_jax import metrics, speech_metrics

RATE = 16_000


@functools.cache
def vowels(pitch: float = 120.0, stretch: float = 1.0, bend: float = 1.0) -> np.ndarray:
    """A second of a buzz through formants that glide from one vowel to another, with a breath of noise; float."""
    count = round(RATE * stretch)
    phase = np.cumsum(np.full(count, pitch / RATE))
    buzz = np.diff(np.floor(phase), prepend=0.0) + 0.01 * np.random.default_rng(0).standard_normal(count)
    pieces = []
    for i, piece in enumerate(np.array_split(buzz, 20)):
        for start, end in ((700, 300), (1200, 2300), (2600, 3000)):
            formant = bend * (start + (end - start) * i / 19)
            pole = 0.97 * np.exp(2j * np.pi * formant / RATE)
            piece = scipy.signal.lfilter([1.0], np.poly([pole, pole.conjugate()]).real, piece)
        pieces.append(piece)
    sound = np.concatenate(pieces)
    return sound / np.abs(sound).max()


@pytest.mark.slow
def test_a_waveform_has_no_distortion_to_itself_at_any_loudness():
    speech = vowels()
    assert speech_metrics.mel_cepstral_distortion(speech, speech) == 0.0
    assert speech_metrics.mel_cepstral_distortion(speech, 0.1 * speech) < 1e-6


def test_int16_and_float_waveforms_are_one():
    speech = 0.5 * vowels()
    quantised = (speech * 32_768).astype(np.int16)
    assert speech_metrics.mel_cepstral_distortion(quantised, quantised.astype(np.float32) / 32_768) < 1e-6
    assert speech_metrics.mel_cepstral_distortion(quantised, speech) < 1.0


def test_stretched_speech_is_distorted_less_than_another_voice():
    speech = vowels()
    stretched = speech_metrics.mel_cepstral_distortion(speech, vowels(stretch=1.3))
    squeezed = speech_metrics.mel_cepstral_distortion(speech, librosa.effects.time_stretch(speech, rate=1.25))
    higher = speech_metrics.mel_cepstral_distortion(speech, librosa.effects.pitch_shift(speech, sr=RATE, n_steps=5))
    bent = speech_metrics.mel_cepstral_distortion(speech, vowels(bend=1.25))
    noise = speech_metrics.mel_cepstral_distortion(speech, np.random.default_rng(1).standard_normal(RATE))
    assert 0 < stretched < bent < noise
    assert 0 < squeezed < higher < noise


def test_distortion_is_symmetric():
    one, other = vowels(), vowels(bend=1.25, stretch=0.8)
    there = speech_metrics.mel_cepstral_distortion(one, other)
    np.testing.assert_allclose(there, speech_metrics.mel_cepstral_distortion(other, one), rtol=0.02)


def test_a_ripple_of_the_spectrum_has_the_distortion_that_its_decibels_tell():
    # Noise through a filter of ln|H| = 0.5 cos(m w) over the mel axis differs by c_m = 0.5 alone, in every frame.
    noise = np.random.default_rng(2).standard_normal(2 * RATE)
    spectrum = np.fft.rfft(noise)
    mels = librosa.hz_to_mel(np.fft.rfftfreq(len(noise), 1 / RATE))
    ripple = 0.5 * np.cos(3 * np.pi * mels / mels[-1])
    rippled = np.fft.irfft(spectrum * np.exp(ripple))
    ripple_db = 20 / math.log(10) * 0.5 / math.sqrt(2)
    np.testing.assert_allclose(speech_metrics.mel_cepstral_distortion(noise, rippled), ripple_db, rtol=0.05)


def test_the_path_is_the_one_that_plain_time_warping_finds():
    one, other = vowels()[:3200], vowels(bend=1.2, stretch=0.3)

    def cepstra(speech: np.ndarray) -> np.ndarray:
        bands = librosa.feature.melspectrogram(y=speech, sr=RATE, n_fft=512, win_length=400, hop_length=160, n_mels=80)
        logs = np.log(np.maximum(bands, bands.max() * 1e-8)) / 2
        angles = np.pi * np.outer(np.arange(1, 14), np.arange(80) + 0.5) / 80
        return 2 / 80 * np.cos(angles) @ logs

    a, b = cepstra(one), cepstra(other)
    costs = np.full((a.shape[1] + 1, b.shape[1] + 1, 2), np.inf)
    costs[0, 0] = 0
    for i in range(1, len(costs)):
        for j in range(1, costs.shape[1]):
            before = min((costs[i - 1, j - 1], costs[i - 1, j], costs[i, j - 1]), key=lambda cell: cell[0])
            costs[i, j] = before + np.asarray([np.sqrt(2 * np.sum((a[:, i - 1] - b[:, j - 1]) ** 2)), 1])
    total, steps = costs[-1, -1]
    found = speech_metrics.mel_cepstral_distortion(one, other)
    np.testing.assert_allclose(found, 10 / math.log(10) * total / steps, rtol=1e-5)


def test_silence_and_snippets_are_measured_without_complaint():
    speech, silence = vowels(), np.zeros(RATE, np.int16)
    assert speech_metrics.mel_cepstral_distortion(silence, silence) == 0.0
    for quiet in (silence, np.zeros(0, np.float32), speech[:100]):
        assert 0 < speech_metrics.mel_cepstral_distortion(speech, quiet) < 100


def test_what_is_no_waveform_is_an_error():
    with pytest.raises(ValueError, match=r"found float64 of shape \(2, 8000\)"):
        speech_metrics.mel_cepstral_distortion(vowels(), vowels().reshape(2, -1))
    with pytest.raises(ValueError, match="found int64"):
        speech_metrics.mel_cepstral_distortion(vowels(), np.arange(8000))
    with pytest.raises(ValueError, match="NaN"):
        speech_metrics.mel_cepstral_distortion(vowels(), np.full(8000, np.nan))


def test_a_ratio_of_durations_takes_the_target_as_one():
    assert speech_metrics.duration_ratio(np.zeros(1000, np.int16), np.zeros(1500, np.int16)) == 1.5
    assert speech_metrics.duration_ratio(np.zeros(1000, np.int16), np.zeros(0, np.int16)) == 0.0
    with pytest.raises(ValueError, match="none in 1"):
        speech_metrics.duration_ratio(np.zeros(0, np.int16), np.zeros(1000, np.int16))


def test_of_a_corpus_distortions_are_averaged_and_durations_added():
    targets = [vowels(), vowels()]
    predictions = [vowels(), vowels(bend=1.25, stretch=0.5)]
    distortion = speech_metrics.mean_mel_cepstral_distortion(targets, predictions)
    assert distortion == {
        "mel_cepstral_distortion": speech_metrics.mel_cepstral_distortion(targets[1], predictions[1]) / 2,
        "mel_cepstral_distortion_examples": 2,
    }
    assert speech_metrics.total_duration_ratio(targets, predictions) == {
        "duration_ratio": 0.75,
        "duration_ratio_seconds": 1.5,
        "duration_ratio_target_seconds": 2.0,
    }
    bounds = metrics.bootstrapped(speech_metrics.total_duration_ratio, resamples=200)(targets, predictions)
    assert (bounds["duration_ratio_low"], bounds["duration_ratio_high"]) == (0.5, 1.0)
