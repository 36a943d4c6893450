"""One pass over a split in its order: what evaluation reads."""

from collections.abc import Iterator

import seqio

from speechlm_jax.data import pipeline
from speechlm_jax.data.quarantine import Quarantine


def examples(task: seqio.Task, split: str, *, quarantine: Quarantine, limit: int | None = None) -> Iterator[dict]:
    """The examples of a split once, unshuffled; of its first `limit` records only, where that is given."""
    records = pipeline.source_of(task).num_input_examples(split)
    records = records if limit is None else min(records, limit)
    reader = pipeline.Reader(task, split, lambda: iter(range(records)), seed=0, quarantine=quarantine, shuffle=False)
    for position in range(records):
        for piece, example in enumerate(reader.take(position)):
            yield {**example, "origin": (0, position, piece)}
    quarantine.check()
