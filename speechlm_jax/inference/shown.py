"""Examples that are kept to be looked at: what was heard, said, written and spoken, and where the model looked. Needs
no JAX."""

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int16, UInt8

from speechlm_jax import array_files, batch

FILE = "examples.npz"
"""Of a run's folder: those of its last evaluation."""


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

    def texts(self) -> dict[str, str]:
        """What is said, by who says it."""
        told = {"wanted": self.wanted, "written": self.written, "by CTC": self.by_ctc, "id": self.id}
        return {name: text for name, text in told.items() if text is not None}

    def speech(self) -> dict[str, Int16[np.ndarray, "N"]]:
        """The recordings, by field."""
        named = {name: getattr(self, name) for name in _SPEECH}
        return {name: samples for name, samples in named.items() if samples is not None and len(samples)}


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
        arrays |= {f"{number}/{name}": samples for name, samples in one.speech().items()}
        lines.append(line)
    array_files.write(path, arrays, {"step": step, "examples": lines})


def read(path: str | os.PathLike[str]) -> tuple[int, list[Shown]]:
    """The step and its examples. Raises ValueError for a file that is none of `write`."""
    doing = "reading the examples of a run"
    arrays, told = array_files.read(path, doing)
    try:
        return int(told["step"]), [_read(line, arrays, number) for number, line in enumerate(told["examples"])]
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise ValueError(f"{doing}: {path} holds none ({error!r}).") from None


def _read(line: Mapping[str, Any], arrays: Mapping[str, np.ndarray], number: int) -> Shown:
    given: dict[str, Any] = {name: str(line[name]) for name in ("task", "id", "why", "wanted")}
    given |= {name: None if line[name] is None else str(line[name]) for name in ("written", "by_ctc")}
    given["likelihood"] = None if line["likelihood"] is None else float(line["likelihood"])
    given["words"] = [(str(text), float(start), float(end)) for text, start, end in line["words"]]
    for name in _SPEECH:
        samples = arrays.get(f"{number}/{name}")
        given[name] = None if samples is None else _of_rank(samples, 1).astype(np.int16)
    look, told = None, line.get("look")
    if told is not None:
        steps, places = (list(map(str, told[name])) for name in ("steps", "places"))
        shares = _of_rank(arrays[f"{number}/shares"], 2).astype(np.float32)
        look = Look(shares, steps, places, float(told["seconds"]), int(told["layer"]), int(told["head"]))
    return Shown(**given, look=look)


def _of_rank(values: np.ndarray, rank: int) -> np.ndarray:
    if values.ndim != rank or values.dtype.kind not in "iuf":
        raise ValueError(f"wanted numbers of rank {rank}, found {values.dtype} of rank {values.ndim}")
    return values


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


def as_bytes(values: Float[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W"]:
    """A picture: from the least to the largest value."""
    least, most = float(values.min()), float(values.max())
    return np.round(255 * (values - least) / max(most - least, 1e-9)).astype(np.uint8)


def block(size: int, most: int) -> int:
    """Of how many values `reduced` makes one, of so many."""
    return max(1, -(-size // most))


def reduced(values: Float[np.ndarray, "H W"], most: int) -> Float[np.ndarray, "H2 W2"]:
    """At most so many on each side: the largest value of each block, so that no narrow peak is lost."""
    for axis, size in enumerate(values.shape):
        edges = np.arange(0, size, block(size, most))
        values = np.maximum.reduceat(values, edges, axis=axis)
    return values
