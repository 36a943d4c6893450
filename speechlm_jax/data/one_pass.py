"""One pass over a split in its order: what evaluation reads."""

from collections.abc import Iterator

import seqio

from speechlm_jax.data import pipeline
from speechlm_jax.data.quarantine import Quarantine


def examples(
    task: seqio.Task, split: str, *, quarantine: Quarantine, limit: int | None = None, spread: bool = False
) -> Iterator[dict]:
    """The examples of a split once, unshuffled; of `limit` records only, where that is given: the first, or as many
    spread over the split."""
    there = pipeline.source_of(task).num_input_examples(split)
    records = range(there)
    if limit is not None:
        records = records[:: max(1, there // limit) if spread else 1][:limit]
    reader = pipeline.Reader(task, split, lambda: iter(records), seed=0, quarantine=quarantine, shuffle=False)
    for position in records:
        for piece, example in enumerate(reader.take(position)):
            yield {**example, "origin": (0, position, piece)}
    quarantine.check()
