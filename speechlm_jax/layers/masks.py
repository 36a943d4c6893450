"""Who may look at whom in attention over packed rows."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Num


class SegmentMask(NamedTuple):
    """Each query looks at its own segment, and not ahead of itself if `causal`; id 0 looks at nothing.

    It is kept as ids: a kernel compares them block by block, and no array of all pairs is made.
    """

    query_ids: Int[Array, "B U"]
    memory_ids: Int[Array, "B S"]
    causal: bool = False
    """Only where queries and memory are the same places."""

    def pairs(self) -> Bool[Array, "B U S"]:
        """True where a query looks."""
        same_BUS = (self.query_ids[:, :, None] == self.memory_ids[:, None, :]) & (self.query_ids[:, :, None] > 0)
        if self.causal:
            same_BUS &= jnp.tri(self.query_ids.shape[1], self.memory_ids.shape[1], dtype=bool)[None, :, :]
        return same_BUS

    def sees(self) -> Bool[Array, "B U"]:
        """True for a query that looks at something."""
        return jnp.any(self.pairs(), axis=2)


def overlap(
    query_ids: Int[Array, "B U"], memory_ids: Int[Array, "B S"], query_block: int, place_block: int, *, causal: bool
) -> Bool[Array, "B G J"]:
    """True for a block of queries and one of places whose ranges of ids overlap: where some query may look. Lanes that
    hold no whole number of blocks are padded."""
    first_BG, last_BG = _range(query_ids, query_block)
    first_BJ, last_BJ = _range(memory_ids, place_block)
    found_BGJ = (first_BG[:, :, None] <= last_BJ[:, None, :]) & (first_BJ[:, None, :] <= last_BG[:, :, None])
    if causal:
        ends_G = (jnp.arange(found_BGJ.shape[1]) + 1) * query_block
        found_BGJ &= (ends_G[:, None] > jnp.arange(found_BGJ.shape[2])[None, :] * place_block)[None, :, :]
    return found_BGJ


def _range(ids: Int[Array, "B U"], size: int) -> tuple[Int[Array, "B G"], Int[Array, "B G"]]:
    """The first and last segment that has a place in each block; first > last where none has."""
    blocks = padded(ids, size).reshape(ids.shape[0], -1, size)
    return jnp.min(jnp.where(blocks > 0, blocks, jnp.iinfo(ids.dtype).max), axis=2), jnp.max(blocks, axis=2)


def padded(lane: Num[Array, "B U ..."], size: int) -> Num[Array, "B _ ..."]:
    """A lane with zeros, which are the ids of nobody, up to places in a multiple of `size`."""
    room = [(0, 0)] * lane.ndim
    room[1] = (0, -lane.shape[1] % size)
    return jnp.pad(lane, room)
