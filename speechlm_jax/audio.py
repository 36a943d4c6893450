"""Speech as int16 samples, mono, 16 kHz: recordings of any format made into it, slots for the device cut from it."""

import contextlib
import errno
import io
import math
import os
import re
import stat
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import soundfile
import soxr

from speechlm_jax import batch

EDGE = batch.WINDOW // 2
"""Samples mirrored at each end of a slot, so that frame t is centred on sample HOP t of the recording."""

MAX_SECONDS = 60.0
"""Longer recordings are refused, unless a caller says otherwise."""

_RATES_HZ = (4_000, 384_000)
_BLOCK_VALUES = 1 << 22
_STREAMED_SECONDS = 2
_UNKNOWN_LENGTH = 1 << 62
_FULL_SCALE = 32_768.0
_BROKEN_PEAK = 100.0
_MP3_FRAME = 1_152
_OGG_TAIL_BYTES = 1 << 16
_SYSTEM_ERROR = 2
"""By which libsndfile tells, and of no damaged file, that the system could not read."""


class AudioError(ValueError):
    """A recording that cannot be used. The message is one line: which recording, and why."""


def read(file: str | os.PathLike | io.IOBase, *, max_seconds: float = MAX_SECONDS) -> np.ndarray:
    """int16 "N", mono at 16 kHz, of a file that libsndfile reads (WAV, FLAC, OGG, MP3, AIFF, ...).

    Channels are averaged, other rates resampled by soxr. Never decodes more than `max_seconds`. Raises AudioError
    for what is missing, empty, not audio, cut short, too long, too short, silent, or not finite.
    """
    with _opened(file) as (sound, name):
        return _decode(sound, name, max_seconds)


def blocks(file: str | os.PathLike | io.IOBase) -> Iterator[np.ndarray]:
    """What `read` gives, block by block, of a recording of any length. Raises AudioError as `read` does: for one that
    is cut short, or silent, once its end is reached."""
    with _opened(file) as (sound, name):
        yield from _decode_blocks(sound, name)


def told_seconds(file: str | os.PathLike) -> float | None:
    """How long a recording is by its header; None where that does not say, or there is none."""
    try:
        with _opened(file) as (sound, _):
            return sound.frames / sound.samplerate if sound.frames < _UNKNOWN_LENGTH else None
    except AudioError:
        return None


@contextlib.contextmanager
def _opened(file: str | os.PathLike | io.IOBase) -> Iterator[tuple[soundfile.SoundFile, str]]:
    """A file that libsndfile reads, and its name; what goes wrong while it is open is told of it."""
    source: Any = os.fspath(file) if isinstance(file, os.PathLike) else file
    name = source if isinstance(source, str) else str(getattr(source, "name", "recording"))
    try:
        if isinstance(source, str):
            # What storage that fails says of it is no answer to whether there is such a file.
            if not stat.S_ISREG(os.stat(source).st_mode):
                raise AudioError(f"{name}: it is no file")
            with open(source, "rb") as opened:
                _check_bytes(opened, name)
        else:
            _check_bytes(source, name)
        # As bytes, which a name need not be text to have.
        path: Any = os.fsencode(source) if isinstance(source, str) else _Seekable(source)
        with soundfile.SoundFile(path) as sound:
            yield sound, name
    except AudioError:
        raise
    except (FileNotFoundError, NotADirectoryError):
        raise AudioError(f"{name}: there is no such file") from None
    except (soundfile.SoundFileError, OSError, TypeError, ValueError) as error:
        if getattr(error, "code", None) == _SYSTEM_ERROR:
            error = OSError(errno.EIO, os.strerror(errno.EIO))
        reason = " ".join(str(getattr(error, "error_string", error)).split())
        raise AudioError(f"{name}: cannot be read as audio ({reason})") from error


class _Seekable:
    """A file in which libsndfile may look for a place before the beginning, as damaged ones have it do: it stays where
    it was. An exception would be printed by what stands between the two, and lost."""

    def __init__(self, file: Any):
        self.read, self.readinto, self.tell, self._seek = file.read, file.readinto, file.tell, file.seek

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            return self._seek(offset, whence)
        except (ValueError, OSError):
            return self.tell()


def write(file: str | os.PathLike, samples: np.ndarray) -> None:
    """Writes int16 "N" at 16 kHz as the format that the file's name ends in: WAV, FLAC, ..."""
    soundfile.write(os.fspath(file), samples, batch.SAMPLE_RATE, subtype="PCM_16")


def from_samples(
    samples: np.ndarray, rate: int, *, name: str = "recording", max_seconds: float = MAX_SECONDS
) -> np.ndarray:
    """int16 "N", mono at 16 kHz, of 16-bit samples "N" or "N C" of any integer type at `rate` Hz, made as by `read`.

    Raises AudioError for what is too long, too short, silent, not integers, or beyond 16 bits.
    """
    if samples.ndim not in (1, 2) or samples.dtype.kind not in "iu":
        raise AudioError(f"{name}: wanted integer samples of rank 1 or 2, found {samples.dtype} of rank {samples.ndim}")
    _check_rate(rate, name)
    if len(samples) > math.ceil(max_seconds * rate):
        raise _too_long(name, f"{len(samples) / rate:.1f} s", max_seconds)
    if samples.size and (samples.max() >= _FULL_SCALE or samples.min() < -_FULL_SCALE):
        raise AudioError(f"{name}: samples from {samples.min()} to {samples.max()}, wanted 16 bits")
    if samples.ndim == 1 and rate == batch.SAMPLE_RATE:
        return _check_speech(samples.astype(np.int16), name)
    wave_N = (samples / np.float32(_FULL_SCALE)).astype(np.float32)
    if samples.ndim == 2:
        wave_N = wave_N.mean(axis=1)
    return _check_speech(_to_int16(wave_N, rate, name) if len(wave_N) else wave_N, name)


def num_frames(num_samples: int) -> int:
    """Speech frames of a recording of `num_samples` samples; 0 where it is too short to fill a slot."""
    return num_samples // batch.HOP if num_samples > EDGE else 0


def slot_samples(num_samples: int, frames_per_position: int) -> int:
    """Samples of the slot that a recording of `num_samples` samples takes in an audio lane."""
    return batch.slot_positions(num_frames(num_samples), frames_per_position) * frames_per_position * batch.HOP


def slot(samples: np.ndarray, frames_per_position: int) -> tuple[np.ndarray, int]:
    """The slot (int16) of a recording (int16 "N"), and its number of frames.

    Raises AudioError where the recording is too short to have a frame.
    """
    out = np.empty(slot_samples(len(samples), frames_per_position), np.int16)
    slot_into(out, samples)
    return out, num_frames(len(samples))


def slot_into(out: np.ndarray, samples: np.ndarray) -> None:
    """Writes the slot of a recording (int16 "N") into its room in a row (int16).

    T = N // HOP frames: the recording mirrored by WINDOW // 2 at both ends, of which (T - 1) HOP + WINDOW samples
    are kept, then zeros to the end of the room. Frame t is samples [HOP t, HOP t + WINDOW) of the slot, which is
    frame t of librosa's centred frames with pad_mode="reflect". Raises AudioError where the recording is too short.
    """
    if samples.dtype != np.int16 or samples.ndim != 1:
        raise ValueError(f"a slot is cut from int16 samples of rank 1, found {samples.dtype} of rank {samples.ndim}.")
    length = len(samples)
    frames = num_frames(length)
    if not frames:
        raise AudioError(f"{length} samples are too short for a frame, which needs more than {EDGE}")
    kept = (frames - 1) * batch.HOP + batch.WINDOW
    if len(out) < kept:
        raise ValueError(f"a slot of {frames} frames holds {kept} samples, its room {len(out)}.")
    end = min(EDGE + length, kept)
    out[:EDGE] = samples[EDGE:0:-1]
    out[EDGE:end] = samples[: end - EDGE]
    out[end:kept] = samples[length - 2 : length - 2 - (kept - end) : -1]
    out[kept:] = 0


def _check_bytes(file: Any, name: str) -> None:
    """Raises AudioError for an empty file, and for an Ogg file that ends within a page, which libsndfile accepts."""
    size = file.seek(0, os.SEEK_END)
    if size == 0:
        raise AudioError(f"{name}: the file is empty")
    file.seek(0)
    if file.read(4) == b"OggS":
        file.seek(max(0, size - _OGG_TAIL_BYTES))
        tail = file.read(_OGG_TAIL_BYTES)
        page = tail.rfind(b"OggS")
        lacing = tail[page + 27 : page + 27 + tail[page + 26]] if page >= 0 and page + 26 < len(tail) else b""
        if not lacing or page + 27 + len(lacing) + sum(lacing) > len(tail):
            raise AudioError(f"{name}: the file is cut short (it ends within an Ogg page)")
    file.seek(0)


def _decode(sound: soundfile.SoundFile, name: str, max_seconds: float) -> np.ndarray:
    rate, promised = sound.samplerate, _promised(sound, name)
    limit = math.ceil(max_seconds * rate)
    if promised is not None and promised > limit:
        raise _too_long(name, f"{promised / rate:.1f} s", max_seconds)
    plain = sound.subtype == "PCM_16" and sound.channels == 1 and rate == batch.SAMPLE_RATE
    wave_N = _mono(sound, limit + 1 if promised is None else promised, "int16" if plain else "float32")
    if promised is None and len(wave_N) > limit:
        raise _too_long(name, f"more than {limit / rate:.1f} s", max_seconds)
    _check_whole(sound, name, len(wave_N), len(wave_N) if promised is None else promised)
    return _check_speech(wave_N if plain or not len(wave_N) else _to_int16(wave_N, rate, name), name)


def _decode_blocks(sound: soundfile.SoundFile, name: str) -> Iterator[np.ndarray]:
    rate, promised = sound.samplerate, _promised(sound, name)
    found, written, heard = 0, 0, False
    stream = None if rate == batch.SAMPLE_RATE else soxr.ResampleStream(rate, batch.SAMPLE_RATE, 1, quality="HQ")
    # What goes wrong in a block loses all of it: short ones.
    length = _STREAMED_SECONDS * rate
    for wave_N in _mono_blocks(sound, _UNKNOWN_LENGTH if promised is None else promised, "float32", length):
        found += len(wave_N)
        heard = heard or bool(wave_N.any())
        _check_wave(wave_N, name)
        samples = _scaled(wave_N if stream is None else stream.resample_chunk(wave_N))
        written += len(samples)
        yield samples
    _check_whole(sound, name, found, found if promised is None else promised)
    if stream is not None and found:
        samples = _scaled(stream.resample_chunk(np.zeros(0, np.float32), last=True))
        written += len(samples)
        yield samples
    _check_length(written, name)
    if not heard:
        raise _silent(name)


def _promised(sound: soundfile.SoundFile, name: str) -> int | None:
    """The frames that a header of a usable rate tells of; None where it tells of no end."""
    _check_rate(sound.samplerate, name)
    if sound.frames < _UNKNOWN_LENGTH:
        return sound.frames
    # soundfile seeks after each read, which fails at an end that the header does not name.
    sound.seekable = lambda: False
    return None


def _check_rate(rate: int, name: str) -> None:
    if not _RATES_HZ[0] <= rate <= _RATES_HZ[1]:
        raise AudioError(f"{name}: a sampling rate of {rate} Hz, wanted {_RATES_HZ[0]} to {_RATES_HZ[1]}")


def _check_speech(wave_N: np.ndarray, name: str) -> np.ndarray:
    """The recording itself, at 16 kHz. Raises AudioError where it is empty, too short, or silent."""
    _check_length(len(wave_N), name)
    if not wave_N.any():
        raise _silent(name)
    return wave_N


def _check_length(samples: int, name: str) -> None:
    if samples == 0:
        raise AudioError(f"{name}: there are no samples in it")
    if samples <= EDGE:
        raise AudioError(f"{name}: {samples} samples are too short for a frame, which needs more than {EDGE}")


def _mono(sound: soundfile.SoundFile, max_frames: int, dtype: Literal["int16", "float32"]) -> np.ndarray:
    """At most `max_frames` frames."""
    found = list(_mono_blocks(sound, max_frames, dtype))
    if len(found) == 1:
        return found[0]
    return np.concatenate(found) if found else np.zeros(0, dtype)


def _mono_blocks(
    sound: soundfile.SoundFile, max_frames: int, dtype: Literal["int16", "float32"], block_frames: int = _BLOCK_VALUES
) -> Iterator[np.ndarray]:
    """At most `max_frames` frames in blocks, so that a header cannot make this allocate what the file lacks."""
    block_frames = min(block_frames, max(1, _BLOCK_VALUES // sound.channels))
    left = max_frames
    while left > 0:
        block_NC = sound.read(min(left, block_frames), dtype=dtype, always_2d=True)
        if len(block_NC) == 0:
            break
        left -= len(block_NC)
        mono_N = block_NC[:, 0]
        if sound.channels > 1:
            mono_N = mono_N.copy()
            for channel in range(1, sound.channels):
                mono_N += block_NC[:, channel]
            mono_N /= sound.channels
        yield mono_N


def _check_whole(sound: soundfile.SoundFile, name: str, found: int, promised: int) -> None:
    """Raises AudioError where the file holds fewer samples than its header says."""
    if sound.format in ("WAV", "WAVEX", "AIFF"):
        # libsndfile mends the length of the data silently; sizes near 2 or 4 GiB stand for "unknown" in streams.
        mended = re.search(r"^\s*(?:data|SSND)\s*: (\d+) \(should be (\d+)\)", sound.extra_info, re.MULTILINE)
        if mended and int(mended[2]) < int(mended[1]) < 0x7FFF_F000:
            raise AudioError(f"{name}: the file is cut short (its header says {mended[1]} bytes, found {mended[2]})")
    # Without a Xing header the length of an MP3 is an estimate from its bit rate.
    wanted = 0.98 * promised - 2 * _MP3_FRAME if sound.format == "MP3" else promised
    if found < wanted:
        raise AudioError(f"{name}: the file is cut short (its header says {promised} samples, found {found})")


def _to_int16(wave_N: np.ndarray, rate: int, name: str) -> np.ndarray:
    _check_wave(wave_N, name)
    if rate != batch.SAMPLE_RATE:
        wave_N = soxr.resample(wave_N, rate, batch.SAMPLE_RATE, quality="HQ")
    return _scaled(wave_N)


def _check_wave(wave_N: np.ndarray, name: str) -> None:
    if not np.isfinite(wave_N).all():
        raise AudioError(f"{name}: some samples are not finite numbers")
    peak = max(float(wave_N.max()), -float(wave_N.min()))
    if peak > _BROKEN_PEAK:
        raise AudioError(f"{name}: samples reach {peak:g} where full scale is 1")


def _scaled(wave_N: np.ndarray) -> np.ndarray:
    scaled_N = np.rint(wave_N * np.float32(_FULL_SCALE))
    return np.clip(scaled_N, -_FULL_SCALE, _FULL_SCALE - 1, out=scaled_N).astype(np.int16)


def _silent(name: str) -> AudioError:
    return AudioError(f"{name}: silent, every sample is zero")


def _too_long(name: str, length: str, max_seconds: float) -> AudioError:
    return AudioError(
        f"{name}: {length} of audio, above max_seconds={max_seconds:g}. Cut it, or raise max_seconds of its source"
    )
