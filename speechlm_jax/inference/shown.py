"""Examples that are kept to be looked at: what was heard, said, written and spoken, and where the model looked. Needs
no JAX."""

import json
import os
import pathlib
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int16

from speechlm_jax import batch, whole_files

FILE = "examples.npz"
"""Of a run's folder: those of its last evaluation."""
_ABOUT = "about"


class Look(NamedTuple):
    """Where the most decided head of the decoder looked, with what was wanted before each step."""

    shares: Float[np.ndarray, "U S"]
    """How much of its look each step gave to each position: those of speech, then those of text."""
    steps: list[str]
    """What was wanted of each step; no more than there are for text, the others are speech."""
    places: list[str]
    """The text that is read, behind the positions of speech."""
    seconds: float
    """That a position of speech takes."""
    layer: int
    head: int
    """Both from 0."""


class Shown(NamedTuple):
    """One example."""

    task: str
    id: str
    why: str
    """It was chosen."""
    wanted: str
    written: str | None
    by_ctc: str | None
    likelihood: float | None
    """log P of what is wanted, of each token in the mean."""
    heard: Int16[np.ndarray, "N"] | None
    """At 16 kHz, as `wanted_speech` and `spoken` are."""
    words: list[tuple[str, float, float]]
    """What was wanted, with the seconds from which to which the CTC head hears it; none where nobody can tell."""
    look: Look | None
    wanted_speech: Int16[np.ndarray, "N"] | None = None
    spoken: Int16[np.ndarray, "N"] | None = None


_SPEECH = ("heard", "wanted_speech", "spoken")


def write(path: pathlib.Path, step: int, found: Sequence[Shown]) -> None:
    """Replaces the file by one of these examples, of a run's step."""
    arrays: dict[str, np.ndarray] = {}
    lines = []
    for number, one in enumerate(found):
        line = {name: value for name, value in one._asdict().items() if name not in (*_SPEECH, "look")}
        if one.look is not None:
            line["look"] = {name: value for name, value in one.look._asdict().items() if name != "shares"}
            arrays[f"{number}/shares"] = one.look.shares.astype(np.float16)
        arrays |= {f"{number}/{name}": getattr(one, name) for name in _SPEECH if getattr(one, name) is not None}
        lines.append(line)
    about = json.dumps({"step": step, "examples": lines}).encode()
    with whole_files.whole(path) as part, open(part, "wb") as file:
        np.savez_compressed(file, allow_pickle=False, **{_ABOUT: np.frombuffer(about, np.uint8)}, **arrays)


def read(path: str | os.PathLike[str]) -> tuple[int, list[Shown]]:
    """The step and its examples. Raises ValueError for a file that is none of `write`."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            about = json.loads(arrays[_ABOUT].tobytes())
            found = [_read(line, arrays, number) for number, line in enumerate(about["examples"])]
            return int(about["step"]), found
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"reading the examples of {path}: the file is damaged ({error}).") from None


def _read(line: Mapping[str, Any], arrays: Any, number: int) -> Shown:
    given: dict[str, Any] = {**line, "words": [(text, start, end) for text, start, end in line["words"]]}
    for name in _SPEECH:
        given[name] = arrays.get(f"{number}/{name}")
    told = line.get("look")
    look = None if told is None else Look(arrays[f"{number}/shares"].astype(np.float32), **told)
    return Shown(**{**given, "look": look})


_MELS = 80
_RANGE_DB = 70.0


def log_mel(samples: Int16[np.ndarray, "N"]) -> Float[np.ndarray, "M T"]:
    """A picture of speech: the power of mel channels in dB below the loudest, a column for every 10 ms."""
    import librosa

    wave = samples.astype(np.float32) / 2**15
    power = librosa.feature.melspectrogram(
        y=wave, sr=batch.SAMPLE_RATE, n_fft=batch.WINDOW, hop_length=batch.HOP, n_mels=_MELS
    )
    return librosa.power_to_db(power, ref=np.max, top_db=_RANGE_DB)
