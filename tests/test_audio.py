"""Recordings of any format become the same samples, broken ones say why, and slots hold librosa's frames."""

import io
import os
import struct
import tracemalloc

import librosa
import numpy as np
import pytest
import scipy.signal
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from speechlm_jax import audio, batch

RANDOM = np.random.default_rng(0)


def tone(rate: int, seconds: float = 1.0, channels: int = 1) -> np.ndarray:
    """A wave that every rate above 6 kHz can hold, float "N C"."""
    t = np.arange(round(seconds * rate)) / rate
    wave = 0.4 * np.sin(2 * np.pi * 440 * t) + 0.2 * np.sin(2 * np.pi * 1870 * t + 1)
    return np.stack([wave * (1 - 0.3 * channel) for channel in range(channels)], axis=1)


def file_of(samples: np.ndarray, rate: int = 16_000, format: str = "WAV", subtype: str | None = None) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, samples, rate, format=format, subtype=subtype)
    return out.getvalue()


def read(data: bytes, **kwargs) -> np.ndarray:
    return audio.read(io.BytesIO(data), **kwargs)


@pytest.mark.parametrize("format", ["WAV", "FLAC", "AIFF", "CAF", "AU"])
def test_16_bit_mono_at_16_khz_is_read_as_it_is(format):
    samples = RANDOM.integers(-32768, 32768, 4000).astype(np.int16)
    found = read(file_of(samples, format=format, subtype="PCM_16"))
    assert found.dtype == np.int16
    np.testing.assert_array_equal(found, samples)


@pytest.mark.parametrize(
    ("format", "subtype", "error"),
    [
        ("WAV", "PCM_U8", 1 / 128),
        ("WAV", "PCM_24", 1e-6),
        ("WAV", "PCM_32", 1e-6),
        ("WAV", "FLOAT", 1e-6),
        ("WAV", "DOUBLE", 1e-6),
        ("WAV", "ULAW", 0.02),
        ("FLAC", "PCM_S8", 1 / 128),
        ("FLAC", "PCM_24", 1e-6),
    ],
)
def test_every_sample_width_rounds_to_the_nearest_16_bit_value(format, subtype, error):
    wave = tone(16_000)[:, 0]
    found = read(file_of(wave, format=format, subtype=subtype))
    assert np.abs(found - wave * 32768).max() <= 0.5 + 1.5 * error * 32768


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_other_rates_are_resampled_and_channels_averaged(rate, channels):
    found = read(file_of(tone(rate, channels=channels), rate, subtype="FLOAT"))
    assert abs(len(found) - 16_000) <= 1
    wanted = tone(16_000, channels=channels).mean(axis=1)[: len(found)] * 32768
    assert np.abs(found[500:-500] - wanted[500 : len(found) - 500]).max() < 10
    polyphase = scipy.signal.resample_poly(tone(rate, channels=channels).mean(axis=1), 16_000, rate)[: len(found)]
    assert np.abs(found[500:-500] - 32768 * polyphase[500 : len(found) - 500]).max() < 200


def test_many_channels_are_read_in_blocks(monkeypatch):
    wave = RANDOM.integers(-9000, 9000, (5000, 6)).astype(np.int16)
    whole = read(file_of(wave, format="WAV"))
    monkeypatch.setattr(audio, "_BLOCK_VALUES", 999)
    np.testing.assert_array_equal(read(file_of(wave, format="WAV")), whole)
    assert np.abs(whole - wave.mean(axis=1)).max() <= 0.51


@pytest.mark.parametrize(("format", "subtype"), [("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")])
def test_lossy_formats_are_read_at_their_length(format, subtype):
    wave = tone(16_000, 2.0)[:, 0]
    found = read(file_of(wave, format=format, subtype=subtype))
    assert abs(len(found) - len(wave)) <= 1152 * 2
    lags = scipy.signal.correlate(found / 32768, wave, "full") / (wave**2).sum()
    assert lags.max() > 0.9


def test_a_path_and_a_file_object_give_the_same_samples(tmp_path):
    samples = RANDOM.integers(-900, 900, 4000).astype(np.int16)
    for format in ("WAV", "FLAC", "OGG"):
        path = tmp_path / f"a.{format.lower()}"
        path.write_bytes(file_of(samples, format=format))
        with open(path, "rb") as file:
            np.testing.assert_array_equal(audio.read(path), audio.read(file))
        np.testing.assert_array_equal(audio.read(str(path)), audio.read(path))


def test_samples_beyond_full_scale_are_clipped_not_wrapped():
    wave = np.linspace(-1.5, 1.5, 1000)
    found = read(file_of(wave, subtype="FLOAT"))
    assert found[0] == -32768
    assert found[-1] == 32767
    assert (np.diff(found.astype(np.int32)) >= 0).all()


def with_data_size(data: bytes, size: int) -> bytes:
    return data[:40] + struct.pack("<I", size) + data[44:]


def flac_with_length(data: bytes, length: int) -> bytes:
    """The 36 bits of STREAMINFO that hold the number of samples, rewritten."""
    out = bytearray(data)
    out[21] = (out[21] & 0xF0) | (length >> 32)
    out[22:26] = struct.pack(">I", length & 0xFFFF_FFFF)
    return bytes(out)


WHOLE = tone(16_000)[:, 0]
NOT_FINITE = np.where(np.arange(16_000) == 700, np.nan, WHOLE)
BAD = {
    "empty": (b"", "the file is empty"),
    "text": (b"this is not audio at all " * 20, "cannot be read as audio"),
    "riff of nothing": (b"RIFF\x00\x00\x00\x00WAVE", "cannot be read as audio"),
    "no samples": (file_of(np.zeros(0, np.int16)), "no samples"),
    "silent": (file_of(np.zeros(16_000, np.int16)), "silent"),
    "silent stereo": (file_of(np.stack([WHOLE, -WHOLE], 1), subtype="FLOAT"), "silent"),
    "nan": (file_of(NOT_FINITE, subtype="FLOAT"), "not finite"),
    "infinite": (file_of(np.where(np.isnan(NOT_FINITE), np.inf, WHOLE), 8_000, subtype="FLOAT"), "not finite"),
    "16-bit values as floats": (file_of(WHOLE * 30_000, subtype="FLOAT"), "full scale"),
    "200 samples": (file_of(WHOLE[:200]), "too short"),
    "1 Hz": (file_of(WHOLE, 1), "sampling rate of 1 Hz"),
    "cut wav": (file_of(WHOLE)[:9_000], "cut short"),
    "cut aiff": (file_of(WHOLE, format="AIFF")[:9_000], "cut short"),
    "cut flac": (file_of(WHOLE, format="FLAC")[:9_000], "cannot be read as audio"),
    "flac that promises more": (flac_with_length(file_of(WHOLE, format="FLAC"), 20_000), "cut short|cannot be read"),
    "cut vorbis": (file_of(tone(16_000, 9.0), format="OGG", subtype="VORBIS")[:9_000], "cut short"),
    "cut opus": (file_of(tone(16_000, 9.0), format="OGG", subtype="OPUS")[:15_000], "cut short"),
    "cut mp3": (file_of(tone(16_000, 9.0), format="MP3")[:9_000], "cut short"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_recording_says_which_and_why_in_one_line(name, tmp_path):
    data, reason = BAD[name]
    path = tmp_path / "bad.bin"
    path.write_bytes(data)
    with pytest.raises(audio.AudioError, match=reason) as raised:
        audio.read(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)
    with pytest.raises(audio.AudioError, match=reason):
        read(data)


def test_a_missing_file_and_a_folder_are_audio_errors(tmp_path):
    for path in (tmp_path / "none.wav", tmp_path, tmp_path / "no.raw"):
        with pytest.raises(audio.AudioError, match="it is no file" if path == tmp_path else "no such file"):
            audio.read(path)
    (tmp_path / "headerless.raw").write_bytes(b"\1\2" * 900)
    with pytest.raises(audio.AudioError, match="cannot be read as audio"):
        audio.read(tmp_path / "headerless.raw")


@pytest.mark.parametrize("size", [0xFFFF_FFFF, 0x7FFF_FFFF, 0x7FFF_FFFE + 0x8000_0000])
def test_a_wav_written_to_a_pipe_is_whole(size):
    data = file_of(WHOLE)
    np.testing.assert_array_equal(read(with_data_size(data, size)), read(data))


def test_three_hours_are_refused_from_the_header(tmp_path):
    frames = 3 * 3600 * 16_000
    header = bytearray(file_of(np.zeros(0, np.int16), subtype="PCM_16")[:44])
    header[4:8], header[40:44] = struct.pack("<I", 36 + 2 * frames), struct.pack("<I", 2 * frames)
    path = tmp_path / "long.wav"
    with open(path, "wb") as file:
        file.write(header)
        file.truncate(44 + 2 * frames)
    flac = flac_with_length(file_of(WHOLE, format="FLAC"), frames)
    for file in (path, io.BytesIO(flac)):
        tracemalloc.start()
        with pytest.raises(audio.AudioError, match=r"10800\.0 s of audio, above max_seconds=60\b.*raise max_seconds"):
            audio.read(file)
        # The samples alone are 346 MB.
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
        tracemalloc.stop()


def test_the_limit_holds_where_the_header_names_no_length():
    data = flac_with_length(file_of(tone(16_000, 3.0), format="FLAC"), 0)
    with pytest.raises(audio.AudioError, match=r"more than 2\.0 s of audio, above max_seconds=2"):
        read(data, max_seconds=2.0)
    assert len(read(data, max_seconds=3.0)) == 48_000


def test_the_limit_is_inclusive():
    assert len(read(file_of(WHOLE), max_seconds=1.0)) == 16_000
    with pytest.raises(audio.AudioError, match="above max_seconds"):
        read(file_of(WHOLE), max_seconds=0.999)


SEEDS = [
    file_of(WHOLE[:2_000], format=format, subtype=subtype)
    for format, subtype in [("WAV", "PCM_16"), ("WAV", "FLOAT"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS")]
]


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.sampled_from(SEEDS),
    flips=st.lists(st.tuples(st.integers(0, 1 << 14), st.integers(0, 255)), max_size=12),
    cut=st.none() | st.integers(0, 1 << 13),
)
def test_damaged_bytes_give_samples_or_an_audio_error(seed, flips, cut):
    data = bytearray(seed)
    for place, value in flips:
        data[place % min(len(data), 600)] = value
    try:
        found = read(bytes(data[:cut]), max_seconds=5.0)
    except audio.AudioError:
        return
    assert found.dtype == np.int16
    assert audio.EDGE < len(found) <= 5 * 16_000
    assert found.any()


def centred_frames(samples: np.ndarray) -> np.ndarray:
    padded = np.pad(samples, batch.WINDOW // 2, mode="reflect")
    return np.lib.stride_tricks.sliding_window_view(padded, batch.WINDOW)[:: batch.HOP]


@settings(max_examples=60, deadline=None)
@given(length=st.integers(201, 3_000), frames_per_position=st.sampled_from([1, 2, 4, 8]))
def test_frames_of_a_slot_are_centred_frames_with_reflection(length, frames_per_position):
    samples = np.random.default_rng(length).integers(-32768, 32768, length).astype(np.int16)
    slot, frames = audio.slot(samples, frames_per_position)
    assert frames == audio.num_frames(length) == length // batch.HOP
    assert len(slot) == audio.slot_samples(length, frames_per_position)
    assert len(slot) == batch.slot_positions(frames, frames_per_position) * frames_per_position * batch.HOP
    found = np.lib.stride_tricks.sliding_window_view(slot, batch.WINDOW)[:: batch.HOP][:frames]
    np.testing.assert_array_equal(found, centred_frames(samples)[:frames])
    assert not slot[(frames - 1) * batch.HOP + batch.WINDOW :].any()


def test_a_slots_spectrum_is_librosas():
    wave = tone(16_000, 0.7)[:, 0] + 0.01 * RANDOM.normal(size=11_200)
    samples = np.round(wave * 20_000).astype(np.int16)
    slot, frames = audio.slot(samples, 4)
    options = {"n_fft": 400, "hop_length": 160, "window": "hann"}
    wanted = librosa.stft(samples.astype(np.float64), center=True, pad_mode="reflect", **options)
    found = librosa.stft(slot.astype(np.float64), center=False, **options)
    np.testing.assert_allclose(found[:, :frames], wanted[:, :frames], rtol=1e-9, atol=1e-6)


def test_a_slot_written_into_a_used_row_is_the_slot_alone():
    samples = RANDOM.integers(-900, 900, 3_210).astype(np.int16)
    row = np.full(9_600, 77, np.int16)
    room = audio.slot_samples(len(samples), 4)
    audio.slot_into(row[640 : 640 + room], samples)
    np.testing.assert_array_equal(row[640 : 640 + room], audio.slot(samples, 4)[0])
    assert (row[:640] == 77).all()
    assert (row[640 + room :] == 77).all()


def test_a_slot_refuses_what_it_would_spoil():
    with pytest.raises(audio.AudioError, match="200 samples are too short"):
        audio.slot(np.ones(200, np.int16), 4)
    assert audio.num_frames(200) == 0
    assert audio.num_frames(201) == 1
    with pytest.raises(ValueError, match="float32"):
        audio.slot_into(np.zeros(1_280, np.int16), np.ones(900, np.float32))
    with pytest.raises(ValueError, match="its room 640"):
        audio.slot_into(np.zeros(640, np.int16), np.ones(900, np.int16))


def test_a_name_that_is_no_text_is_read_as_any_other(tmp_path):
    samples = np.random.default_rng(0).integers(-3000, 3000, 4000).astype(np.int16)
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav")
    soundfile.write(tmp_path / "plain.wav", samples, 16_000)
    os.rename(tmp_path / "plain.wav", path)
    np.testing.assert_array_equal(audio.read(path), samples)


@pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (8_000, 1), (44_100, 2)])
def test_block_by_block_a_recording_is_what_it_is_at_once(tmp_path, rate, channels):
    random = np.random.default_rng(0)
    soundfile.write(tmp_path / "a.flac", random.normal(0, 0.1, (7 * rate + 123, channels)), rate)
    blocks = list(audio.blocks(tmp_path / "a.flac"))
    assert len(blocks) > 3
    found, whole = np.concatenate(blocks), audio.read(tmp_path / "a.flac")
    # A resampler that is handed blocks rounds otherwise.
    assert len(found) == len(whole) and np.abs(found.astype(int) - whole).max() <= (0 if rate == 16_000 else 1)


@pytest.mark.parametrize(
    ("samples", "message"),
    [(np.zeros(50_000), "silent"), (np.ones(100) * 0.1, "too short"), (None, "there is no such")],
)
def test_block_by_block_what_cannot_be_used_is_told_as_at_once(tmp_path, samples, message):
    if samples is not None:
        soundfile.write(tmp_path / "a.wav", samples, 16_000)
    for read in (audio.read, lambda path: list(audio.blocks(path))):
        with pytest.raises(audio.AudioError, match=message):
            read(tmp_path / "a.wav")
