"""Sums, maxima and look-ups over the segments of a row.

Line e of a table belongs to segment id e + 1, and id 0 to nobody. All is done by comparison with every id, not by
scatter and gather: rows may then be cut over devices without any exchange, and sums stay float32 on every device.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num, PRNGKeyArray


def own_key(key: PRNGKeyArray, origin: Int[Array, "3"]) -> PRNGKeyArray:
    """The key of one segment: what is drawn by it follows from where the example came from, not from its row."""
    return functools.reduce(jax.random.fold_in, origin, key)


def members(segment_ids: Int[Array, "B T"], num_segments: int) -> Bool[Array, "B E T"]:
    """Where each segment lies."""
    ids_E = jnp.arange(1, num_segments + 1, dtype=segment_ids.dtype)
    return segment_ids[:, None, :] == ids_E[None, :, None]


def total(values: Num[Array, "B T"], segment_ids: Int[Array, "B T"], num_segments: int) -> Num[Array, "B E"]:
    """The sum of `values` over each segment."""
    return jnp.sum(jnp.where(members(segment_ids, num_segments), values[:, None, :], 0), axis=-1)


def length(segment_ids: Int[Array, "B T"], num_segments: int) -> Int[Array, "B E"]:
    """How many places of the lane each segment takes."""
    return jnp.sum(members(segment_ids, num_segments), axis=-1, dtype=jnp.int32)


def maximum(values: Float[Array, "B T"], segment_ids: Int[Array, "B T"], num_segments: int) -> Float[Array, "B E"]:
    """The largest of `values` over each segment; minus infinity for a segment without places."""
    return jnp.max(jnp.where(members(segment_ids, num_segments), values[:, None, :], -jnp.inf), axis=-1)


def look_up(table: Num[Array, "B E"], segment_ids: Int[Array, "B T"]) -> Num[Array, "B T"]:
    """At each place the line of its segment; 0 where there is none."""
    return jnp.sum(jnp.where(members(segment_ids, table.shape[1]), table[:, :, None], 0), axis=1)
