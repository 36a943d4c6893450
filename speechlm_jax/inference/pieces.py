"""Recordings of any length in pieces that a row of the model holds, cut where little is heard. Needs no JAX."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int16

from speechlm_jax import batch

PAUSE_SECONDS = 0.25
"""A cut is where so long a stretch holds the least power."""
MARGIN_SECONDS = 1.0
"""What a piece is heard with of its neighbours, where words say which of them they belong to."""
_FRAME = batch.SAMPLE_RATE // 100
_PAUSE_FRAMES = round(PAUSE_SECONDS * batch.SAMPLE_RATE / _FRAME)
_HEARD = 1e-4
"""Of the loudest power: 40 dB below it."""
_SPEECH = 10**-2.5
"""Of loud speech: 25 dB below it no word begins."""
_MOMENT_FRAMES = 6
_LEAST_POWER = 1e-6 * 32_768**2
"""60 dB below full scale: less is silence."""


class Piece(NamedTuple):
    """A part of a recording; places are samples of the recording."""

    samples: Int16[np.ndarray, "N"]
    start: int
    """Where `samples` begin."""
    own: tuple[int, int]
    """From where to where the piece tells what was said; the rest of it is heard beside it."""
    last: bool
    """Whether the recording ends with it."""

    @property
    def end(self) -> int:
        """Behind the last sample."""
        return self.start + len(self.samples)


def cut(blocks: Iterable[np.ndarray], *, longest: int, margin: int = 0) -> Iterator[Piece]:
    """The pieces of a recording, whose own parts follow each other without a gap.

    Never holds more than a piece, an eighth of one and a block.

    Args:
        blocks: int16 "N", one behind the other.
        longest: samples of a piece at most, its margins included; more than eight margins.
        margin: samples of its neighbours that a piece is heard with.
    """
    if longest <= 8 * margin or longest < 8 * _FRAME:
        raise ValueError(
            f"cutting a recording: wanted pieces of more than {max(8 * margin, 8 * _FRAME)} samples, found {longest}."
        )
    # A last piece is not to be a scrap.
    rest = longest // 8
    held, held_start, own_start = np.zeros(0, np.int16), 0, 0
    coming = iter(blocks)
    while True:
        parts, whole, ended = [held], len(held), False
        while whole < longest + rest and not ended:
            block = next(coming, None)
            ended = block is None
            if block is not None:
                parts.append(block)
                whole += len(block)
        held = np.concatenate(parts)
        if ended and len(held) <= longest:
            yield Piece(held, held_start, (own_start, held_start + len(held)), last=True)
            return
        first = own_start + (longest - 2 * margin) // 2
        most = held_start + longest - margin
        if ended:
            most = min(most, held_start + len(held) - rest)
        place = first + _quietest(held[first - held_start : most - held_start])
        end = place + margin - held_start
        yield Piece(held[:end], held_start, (own_start, place), last=False)
        own_start = place
        held = held[place - margin - held_start :]
        held_start = place - margin


def _quietest(samples: Int16[np.ndarray, "N"]) -> int:
    """The middle of the stretch of a pause's length that holds the least power, the first one of equals."""
    power_T = _frame_power(samples)
    if len(power_T) <= _PAUSE_FRAMES:
        return len(samples) // 2
    sums_T = np.convolve(power_T, np.ones(_PAUSE_FRAMES), "valid")
    return int(np.argmin(sums_T)) * _FRAME + _PAUSE_FRAMES * _FRAME // 2


def sound(piece: Piece) -> list[tuple[float, float]]:
    """From when to when something is heard in a piece's own part, in seconds of the recording: what is not much weaker
    than the loudest of the piece. Short silences do not part it."""
    power_T = _frame_power(piece.samples)
    first, behind = (round((place - piece.start) / _FRAME) for place in piece.own)
    return _stretches(piece, power_T, power_T.max(initial=0) * _HEARD, _PAUSE_FRAMES, first, behind)


def speech(piece: Piece) -> list[tuple[float, float]]:
    """From when to when there is speech between moments of near silence, in seconds of the recording, in all of the
    piece."""
    power_T = _frame_power(piece.samples)
    loud = float(np.percentile(power_T, 95)) if len(power_T) else 0.0
    return _stretches(piece, power_T, loud * _SPEECH, _MOMENT_FRAMES, 0, len(power_T))


def _stretches(
    piece: Piece, power_T: Float[np.ndarray, "T"], floor: float, gap: int, first: int, behind: int
) -> list[tuple[float, float]]:
    """From when to when the power of frames is above a floor, without gaps of more than so many."""
    heard = np.flatnonzero(power_T[first:behind] > max(floor, _LEAST_POWER)) + first
    parts = np.split(heard, np.flatnonzero(np.diff(heard) > gap) + 1) if len(heard) else []
    at = piece.start / batch.SAMPLE_RATE
    second = batch.SAMPLE_RATE // _FRAME
    spans = [(float(part[0]) / second, float(part[-1] + 1) / second) for part in parts]
    return [(round(at + start, 2), round(at + end, 2)) for start, end in spans]


def _frame_power(samples: Int16[np.ndarray, "N"]) -> Float[np.ndarray, "T"]:
    """Mean square of each hundredth of a second."""
    whole = len(samples) // _FRAME * _FRAME
    return np.mean(np.square(samples[:whole].reshape(-1, _FRAME).astype(np.float64)), axis=1)
