"""Laying examples into rows: online best fit over vectors of room, and the writing of a row's arrays."""

from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from speechlm_jax import audio, batch, vocabulary

Example = Mapping[str, Any]
Item = TypeVar("Item")

DIMENSIONS = ("audio", "inputs", "targets", "target_audio", "segments")
"""What an example takes room in, in the order of demand and capacity vectors."""

BINDINGS = ("Row.audio_seconds", "Row.inputs", "Row.targets", "Row.target_audio_seconds", "Row.segments")


def capacity(row: batch.Row) -> np.ndarray:
    """Room of a row in each of DIMENSIONS, int64."""
    return np.array(
        [row.audio_positions, row.inputs, row.targets, row.target_audio_steps, row.segments],
        np.int64,
    )


def demand(example: Example, row: batch.Row) -> np.ndarray:
    """Room that an example takes in each of DIMENSIONS, alignment and gaps included, int64."""
    return np.array(
        [
            batch.slot_positions(_samples(example, row) // batch.HOP, row.subsampling),
            len(example["inputs"]),
            len(example["prompt"]) + len(example["targets"]),
            batch.slot_positions(len(example["target_audio"]) // batch.HOP, row.reduction),
            1,
        ],
        np.int64,
    )


def misfit(needed: np.ndarray, row: batch.Row) -> str | None:
    """Why an example of this demand fits in no row, or None where it does."""
    room = capacity(row)
    if np.all(needed <= room):
        return None
    frames = {"audio": row.subsampling, "target_audio": row.reduction}

    def amount(number: int, lane: str) -> str:
        if lane in frames:
            return f"{number * frames[lane] * batch.HOP / batch.SAMPLE_RATE:.2f} s"
        return f"{number} {'examples' if lane == 'segments' else 'tokens'}"

    told = zip(DIMENSIONS, BINDINGS, needed.tolist(), room.tolist(), strict=True)
    return "; ".join(
        f"lane {lane}: needs {amount(wanted, lane)}, a row holds {amount(there, lane)} ({binding})"
        for lane, binding, wanted, there in told
        if wanted > there
    )


class Packer(Generic[Item]):
    """Best fit over open rows: an example goes where it leaves the least room in a lane.

    When it fits nowhere the fullest row is closed, or one that has seen many others close: a row that is almost full
    would block a place for ever.
    """

    PATIENCE = 16
    """A row sees at most this many times `open_rows` others close."""

    def __init__(self, room: np.ndarray, open_rows: int):
        self.open: list[list[Item]] = []
        self.ages: list[int] = []
        """How many rows closed since each was opened."""
        self._room = room
        self._left = np.empty((open_rows, len(room)), np.int64)
        self._scale = 1.0 / np.maximum(room, 1)

    def add(self, item: Item, needed: np.ndarray) -> list[Item] | None:
        """Lays an item of demand `needed` (at most a row's room) into a row; returns the row that closed, if any."""
        closed = None
        left = self._left[: len(self.open)]
        after = left - needed
        fits = (after >= 0).all(axis=1)
        if fits.any():
            # The room left in the lane that would be fullest, of those the item uses; segments are plentiful.
            shares = np.where(needed > 0, after * self._scale, np.inf)[:, :-1].min(axis=1)
            index = int(np.where(fits, shares, np.inf).argmin())
        elif len(self.open) < len(self._left):
            index = self._open_row()
        else:
            index = self._to_close(left)
            closed, self.open[index] = self.open[index], []
            self._left[index] = self._room
            self.ages = [age + 1 for age in self.ages]
            self.ages[index] = 0
        self.open[index].append(item)
        self._left[index] -= needed
        return closed

    def resume(self, items: Sequence[Item], demands: Sequence[np.ndarray], age: int) -> None:
        """Opens a row that holds these items already."""
        index = self._open_row()
        self.ages[index] = age
        self.open[index].extend(items)
        self._left[index] -= np.sum(demands, axis=0, dtype=np.int64)

    def flush(self) -> list[list[Item]]:
        """Closes all rows."""
        rows, self.open, self.ages = [row for row in self.open if row], [], []
        return rows

    def _to_close(self, left: np.ndarray) -> int:
        oldest = int(np.argmax(self.ages))
        if self.ages[oldest] >= self.PATIENCE * len(self._left):
            return oldest
        # The row that is nearest to its end in any lane, or in segments.
        return int((left * self._scale)[:, self._room > 0].min(axis=1).argmin())

    def _open_row(self) -> int:
        self.open.append([])
        self.ages.append(0)
        self._left[len(self.open) - 1] = self._room
        return len(self.open) - 1


def write_row(out: batch.Batch, index: int, examples: Sequence[Example], row: batch.Row) -> None:
    """Writes examples side by side into row `index` of a batch of zeros (see batch.empty).

    An example carries, beside its lanes, `task` (its number in the mixture) and `origin` (three ints).
    """
    at = dict.fromkeys(DIMENSIONS, 0)
    for line, example in enumerate(examples):
        segment = line + 1
        if out.audio is not None:
            heard = np.pad(example["audio"], (0, _samples(example, row) - len(example["audio"])))
            at["audio"] += _write_audio(out.audio, index, at["audio"], heard, segment, row.subsampling)
        if out.target_audio is not None:
            at["target_audio"] += _write_audio(
                out.target_audio, index, at["target_audio"], example["target_audio"], segment, row.reduction
            )
        if out.inputs is not None:
            span = _write_tokens(out.inputs, index, at["inputs"], example["inputs"], segment)
            if len(example["masked_tokens"]):
                out.inputs.masked_tokens[index, span] = example["masked_tokens"]
                out.inputs.masked_weights[index, span] = example["masked_weights"]
            at["inputs"] = span.stop
        if out.targets is not None:
            prompt = _write_tokens(out.targets, index, at["targets"], example["prompt"], segment)
            target = _write_tokens(
                out.targets, index, prompt.stop, example["targets"], segment, first=len(example["prompt"])
            )
            out.targets.weights[index, target] = 1.0
            at["targets"] = target.stop
        segments = out.segments
        segments.task_ids[index, line] = example["task"]
        segments.weights[index, line] = example["weight"][0]
        segments.ctc[index, line] = example["ctc"][0] * _can_be_aligned(example, row)
        segments.claims[index, line] = example["claim"][0]
        segments.mask_shares[index, line] = example["mask_share"][0]
        segments.origins[index, line] = example["origin"]


def _can_be_aligned(example: Example, row: batch.Row) -> bool:
    """As losses.ctc.feasible has it, told before there are positions: whether CTC has one for each label, and one for
    a blank between any two that are the same."""
    labels = example["targets"][example["targets"] != vocabulary.EOS]
    needed = max(1, len(labels) + int((labels[1:] == labels[:-1]).sum()))
    return -(-(_samples(example, row) // batch.HOP) // row.subsampling) >= needed


def _samples(example: Example, row: batch.Row) -> int:
    """Of an example's speech, the silence behind it included."""
    length = len(example["audio"])
    return max(length, round(row.padded_seconds * batch.SAMPLE_RATE)) if length else 0


def _write_tokens(lane: Any, index: int, start: int, tokens: np.ndarray, segment: int, first: int = 0) -> slice:
    span = slice(start, start + len(tokens))
    lane.tokens[index, span] = tokens
    lane.segment_ids[index, span] = segment
    lane.positions[index, span] = np.arange(first, first + len(tokens), dtype=np.int32)
    return span


def _write_audio(
    lane: batch.AudioLane, index: int, start: int, samples: np.ndarray, segment: int, frames_per_position: int
) -> int:
    """Writes one slot at frame `start`; returns the frames it takes."""
    frames = len(samples) // batch.HOP
    if not frames:
        return 0
    taken = batch.slot_positions(frames, frames_per_position) * frames_per_position
    audio.slot_into(lane.samples[index, start * batch.HOP : (start + taken) * batch.HOP], samples)
    lane.segment_ids[index, start : start + frames] = segment
    lane.positions[index, start : start + frames] = np.arange(frames, dtype=np.int32)
    return taken
