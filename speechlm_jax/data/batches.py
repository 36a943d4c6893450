"""Packed batches of a finite run of examples, and which examples stand in them."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from speechlm_jax import batch
from speechlm_jax.data import packing
from speechlm_jax.data.quarantine import Quarantine


class Packed(NamedTuple):
    """Rows, and the examples that stand in them."""

    batch: batch.Batch
    rows: list[list[dict[str, Any]]]
    """The examples of each row; line e of a row is segment id e + 1. Rows that fill up the last batch are empty."""


def pack(
    stream: Iterable[dict[str, Any]],
    row: batch.Row,
    *,
    rows: int,
    quarantine: Quarantine | None = None,
    open_rows: int = 16,
) -> Iterator[Packed]:
    """Packs examples into batches of `rows` rows. One that fits no row goes to the quarantine, or raises ValueError
    where there is none."""
    packer: packing.Packer[dict[str, Any]] = packing.Packer(packing.capacity(row), open_rows)
    waiting: list[list[dict[str, Any]]] = []

    def build(number: int) -> Packed:
        taken = waiting[:number]
        del waiting[:number]
        out = batch.empty(row, rows)
        for index, members in enumerate(taken):
            packing.write_row(out, index, members, row)
        return Packed(out, taken + [[] for _ in range(rows - len(taken))])

    for example in stream:
        needed = packing.demand(example, row)
        reason = packing.misfit(needed, row)
        if reason:
            if quarantine is None:
                raise ValueError(f"packing example '{example['id']}': {reason}.")
            quarantine.add(str(example.get("task", "")), example["id"], reason)
            continue
        closed = packer.add({"task": 0, **example}, needed)
        if closed:
            waiting.append(closed)
        if len(waiting) >= rows:
            yield build(rows)
    waiting.extend(packer.flush())
    while waiting:
        yield build(rows)
