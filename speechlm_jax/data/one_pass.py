"""One pass over a split in its order: what evaluation reads."""

import math
from collections.abc import Iterator
from typing import Any

import seqio

from speechlm_jax.data import pipeline
from speechlm_jax.data.quarantine import Quarantine


def examples(
    task: seqio.Task, split: str, *, quarantine: Quarantine, limit: int | None = None, spread: bool = False
) -> Iterator[dict]:
    """The examples of a split once, unshuffled; of `limit` records at most, where that is given: the first, or some
    that are spread evenly over the split."""
    records = range(pipeline.source_of(task).num_input_examples(split))
    if limit is not None:
        records = records[:: max(1, math.ceil(len(records) / limit))] if spread else records[:limit]
    reader = pipeline.Reader(task, split, lambda: iter(records), seed=0, quarantine=quarantine, shuffle=False)
    try:
        for position in records:
            for piece, example in enumerate(reader.take(position)):
                yield {**example, "origin": (0, position, piece)}
    finally:
        # It stands in a circle with what it reads; until that is found, its threads would stay.
        reader.free()
    quarantine.check()


def text_of(value: Any) -> str:
    """A text of an example, which holds it in UTF-8, or one that is a text already."""
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)
