"""Who may look at whom in attention over packed rows."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int


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
