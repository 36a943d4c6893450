"""How much of a row is useful, and how much room a mixture wants in each lane."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from speechlm_jax import batch
from speechlm_jax.data import packing

LANES = packing.DIMENSIONS[:-1]


def content(example: packing.Example, row: batch.Row) -> np.ndarray:
    """What an example truly holds in each of LANES, in the lane's unit, without gaps and alignment; float64."""
    return np.array(
        [
            len(example["audio"]) / (batch.HOP * row.subsampling),
            len(example["inputs"]),
            len(example["prompt"]) + len(example["targets"]),
            len(example["target_audio"]) / (batch.HOP * row.reduction),
        ]
    )


def useful_shares(contents: np.ndarray, demands: np.ndarray, row: batch.Row, open_rows: int) -> dict[str, float]:
    """The share of each lane's room that holds content, when these examples are packed in this order.

    contents: "n 4", demands: "n 5". Rows still open at the end are not counted, as in an endless stream, unless the
    examples are too few to close another.
    """
    packer: packing.Packer[int] = packing.Packer(packing.capacity(row), open_rows)
    closed = [members for index, needed in enumerate(demands) if (members := packer.add(index, needed))]
    rows = closed or packer.open
    total = sum((contents[members].sum(axis=0) for members in rows), start=np.zeros(len(LANES)))
    room = packing.capacity(row)[:-1] * max(len(rows), 1)
    return {lane: float(total[i] / room[i]) for i, lane in enumerate(LANES) if room[i]}


@dataclasses.dataclass(frozen=True)
class Proposal:
    """A row for a mixture, and what it would hold."""

    row: batch.Row
    shares: dict[str, float]
    examples_per_row: float

    def bindings(self) -> list[str]:
        """The gin bindings that say it."""
        row = self.row
        return [
            f"Row.audio_seconds = {row.audio_seconds:g}",
            f"Row.inputs = {row.inputs}",
            f"Row.targets = {row.targets}",
            f"Row.target_audio_seconds = {row.target_audio_seconds:g}",
            f"Row.segments = {row.segments}",
        ]


HEADROOMS = (1.0, 1.05, 1.1, 1.2, 1.35, 1.5, 1.75, 2.0)


def propose(
    contents: np.ndarray, demands: np.ndarray, row: batch.Row, open_rows: int, lane: str | None = None
) -> Proposal:
    """A row whose `lane` keeps its room while the others get what the mixture's mean example asks for.

    lane: the one that shall bind; the audio lane where the mixture has one, else the largest. Its room is at least
    twice the longest example. Of several headrooms for the other lanes the one is taken that needs the fewest
    positions for an example.
    """
    if not len(demands):
        raise ValueError("proposing a row: the mixture yielded no example to measure.")
    mean, longest = demands.mean(axis=0), demands.max(axis=0)
    binding = _binding_lane(mean, lane)
    anchor = max(int(packing.capacity(row)[binding]), 2 * int(longest[binding]))
    best: tuple[float, Proposal] | None = None
    for headroom in HEADROOMS:
        room = np.maximum(np.ceil(headroom * anchor * mean / mean[binding]), longest)
        room[binding] = anchor
        candidate = _row_of(np.where(mean > 0, room, 0), row)
        shares = useful_shares(contents, demands, candidate, open_rows)
        size = packing.capacity(candidate)[:-1].sum()
        per_row = _examples_per_row(shares, contents, candidate)
        cost = size / max(per_row, 1e-9)
        if best is None or cost < best[0]:
            best = cost, Proposal(candidate, shares, per_row)
    assert best is not None
    return best[1]


def _binding_lane(mean: np.ndarray, lane: str | None) -> int:
    if lane is None:
        return 0 if mean[0] else int(mean[:-1].argmax())
    if lane not in LANES or not mean[LANES.index(lane)]:
        filled = [name for i, name in enumerate(LANES) if mean[i]]
        raise ValueError(f"proposing a row that lane '{lane}' binds: the mixture fills {filled}.")
    return LANES.index(lane)


def _row_of(room: np.ndarray, row: batch.Row) -> batch.Row:
    """The row with at least this room, token lanes in multiples of 8."""
    seconds = batch.HOP / batch.SAMPLE_RATE
    return dataclasses.replace(
        row,
        audio_seconds=float(room[0]) * row.subsampling * seconds,
        inputs=_round_up(room[1], 8),
        targets=_round_up(room[2], 8),
        target_audio_seconds=float(room[3]) * row.reduction * seconds,
        segments=_round_up(room[4], 8),
    )


def _round_up(value: float, multiple: int) -> int:
    return -(-int(value) // multiple) * multiple


def _examples_per_row(shares: dict[str, float], contents: np.ndarray, row: batch.Row) -> float:
    lane = max(shares, key=lambda name: shares[name])
    index = LANES.index(lane)
    return float(shares[lane] * packing.capacity(row)[index] / contents[:, index].mean())


def lengths(values: Sequence[float] | np.ndarray) -> dict[str, Any]:
    """Mean and percentiles of a lane's lengths over the examples that fill it."""
    filled = np.asarray([value for value in values if value > 0])
    if not len(filled):
        return {"filled": 0}
    p50, p95 = np.percentile(filled, [50, 95])
    return {
        "filled": len(filled),
        "mean": round(float(filled.mean()), 2),
        "p50": round(float(p50), 2),
        "p95": round(float(p95), 2),
        "max": round(float(filled.max()), 2),
    }
