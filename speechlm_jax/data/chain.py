"""Chains of hashes over the rows that a run has read: of equal chains, the rows were equal, in the same order."""

import hashlib
import json
import pathlib

import jax
import numpy as np

from speechlm_jax import batch, whole_files
from speechlm_jax.data import stream_position

LINK = "chain"
"""Where a data shard's state holds its last link."""


class Chain:
    """The links of the data shards of this process, made on from those in `state`, where it has any.

    A link is the SHA-256 of the one before it and of the shard's rows in a batch. A shard is read alike by whichever
    process reads it, so its chain is the same on any number of them.
    """

    def __init__(self, state: stream_position.State | None):
        self._links: dict[str, str] = {shard: own.get(LINK, "") for shard, own in (state or {}).items()}

    def add(self, step: stream_position.Step) -> stream_position.Step:
        """`step` with the next link in the state of each shard."""
        state = {}
        for number, (shard, own) in enumerate(step.state.items()):
            link = _link(self._links.get(shard, ""), step.batch, number, len(step.state))
            self._links[shard], state[shard] = link, {**own, LINK: link}
        return stream_position.Step(step.batch, state)


class Log:
    """The links of the data shards of this process, a line for each batch of a run, in a file. A batch that a run has
    read again, from a checkpoint on, has a line for each time."""

    def __init__(self, path: pathlib.Path):
        self._lines = whole_files.Lines(path)

    def write(self, number: int, state: stream_position.State) -> None:
        """Of the batch of this number, counted from the beginning of the run; `state` is where the data stand after."""
        links = {shard: own[LINK] for shard, own in state.items()}
        self._lines.add(json.dumps({"batch": number, "links": links}))


def of_all(state: stream_position.State) -> str:
    """One for all data shards together."""
    links = [(int(shard), own[LINK]) for shard, own in state.items()]
    return hashlib.sha256(repr(sorted(links)).encode()).hexdigest()


def _link(before: str, rows: batch.Batch, number: int, shards: int) -> str:
    """The next one of shard `number` of `shards`, which have the rows of a batch in their order, equally many each."""
    found = hashlib.sha256(before.encode())
    for array in jax.tree.leaves(rows):
        own = len(array) // shards
        found.update(np.asarray(array)[number * own : (number + 1) * own].tobytes())
    return found.hexdigest()
