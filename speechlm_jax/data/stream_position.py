"""Where a stream stands, and what the order of its rows depends on: known without TensorFlow."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from speechlm_jax import batch
from speechlm_jax.data import config

State = dict[str, Any]
"""Data shard (as a string, for JSON) -> {"draws", "counts", "open", "ages", "pending"}."""


class Step(NamedTuple):
    """What the training loop takes at a time."""

    batch: batch.Batch
    """numpy, the rows of this host's data shards in their order."""
    state: State
    """Where this host's shards stand after this batch: a restart from here goes on with the next one."""


def layout(data: config.Data, *, seed: int, vocabulary: str) -> dict[str, Any]:
    """What the order of a stream depends on beside its tasks and their records. vocabulary: its hash."""
    augmentation = data.augmentation
    row = dataclasses.asdict(data.row)
    if not data.row.padded_seconds:
        # As it was before there was any.
        del row["padded_seconds"]
    return {
        "seed": seed,
        "rows": data.rows,
        "data_shards": data.stream.data_shards,
        "open_rows": data.stream.open_rows,
        "row": row,
        "vocabulary": vocabulary,
        # One that changes nothing is none.
        "augmentation": dataclasses.asdict(augmentation) if augmentation and augmentation.shares else None,
    }


def check(
    saved: Mapping[str, Any],
    now: Mapping[str, Any],
    doing: str = "resuming the stream: what its order depends on has changed since the checkpoint",
    mend: str = "Bring it back, or start a new run (Recipe.run_dir), taking the weights by Recipe.finetune.",
) -> None:
    """Raises ValueError that names what changed between two fingerprints."""
    saved, now = json.loads(json.dumps(saved)), json.loads(json.dumps(now))
    # Fingerprints without a list of tasks have their rates in its order.
    if "rates" in saved:
        saved = {"tasks": list(saved["rates"]), **saved}
    changed = []
    for name in sorted(saved.keys() | now.keys()):
        before, after = saved.get(name), now.get(name)
        if isinstance(before, dict) and isinstance(after, dict):
            fields = sorted(before.keys() | after.keys())
            changed += [
                f"{name}.{field}: {before.get(field)} -> {after.get(field)}"
                for field in fields
                if before.get(field) != after.get(field)
            ]
        elif before != after:
            changed.append(f"{name}: {before} -> {after}")
    if changed:
        raise ValueError(f"{doing}: {'; '.join(changed)}. {mend}")
