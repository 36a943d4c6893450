"""Attention within segments."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from speechlm_jax import axes
from speechlm_jax.layers import positions, weights


def segment_mask(
    query_ids: Int[Array, "B U"], memory_ids: Int[Array, "B S"], *, causal: bool = False
) -> Bool[Array, "B U S"]:
    """True where a query looks: at its own segment, and not ahead of itself if `causal`. Id 0 looks at nothing."""
    same_BUS = (query_ids[:, :, None] == memory_ids[:, None, :]) & (query_ids[:, :, None] > 0)
    if causal:
        same_BUS &= jnp.tri(query_ids.shape[1], memory_ids.shape[1], dtype=bool)[None, :, :]
    return same_BUS


def attend(
    queries: Float[Array, "B U H K"],
    keys: Float[Array, "B S H K"],
    values: Float[Array, "B S H K"],
    mask: Bool[Array, "B U S"],
) -> Float[Array, "B U H K"]:
    """Softmax attention, softmax in float32; a query that looks at nothing gets zeros."""
    exponents_BHUS, sums_BHU = _exponents(queries, keys, mask)
    attended_BUHK = jnp.einsum(
        "BHUS,BSHK->BUHK", exponents_BHUS.astype(values.dtype), values, preferred_element_type=jnp.float32
    )
    sums_BUH1 = jnp.swapaxes(sums_BHU, 1, 2)[:, :, :, None]
    return (attended_BUHK / sums_BUH1).astype(values.dtype)


def probabilities(
    queries: Float[Array, "B U H K"], keys: Float[Array, "B S H K"], mask: Bool[Array, "B U S"]
) -> Float[Array, "B H U S"]:
    """How much of its look each query gives to each place, float32; zeros for one that looks at nothing."""
    exponents_BHUS, sums_BHU = _exponents(queries, keys, mask)
    return exponents_BHUS / sums_BHU[:, :, :, None]


def _exponents(
    queries: Float[Array, "B U H K"], keys: Float[Array, "B S H K"], mask: Bool[Array, "B U S"]
) -> tuple[Float[Array, "B H U S"], Float[Array, "B H U"]]:
    """The numerators of a softmax over places, and its denominators, which are not 0."""
    scale = queries.shape[-1] ** -0.5
    scores_BHUS = jnp.einsum("BUHK,BSHK->BHUS", queries * scale, keys, preferred_element_type=jnp.float32)
    mask_B1US = mask[:, None, :, :]
    # The largest score stands outside the gradient, and one that is finite keeps empty rows finite.
    largest_BHU1 = jnp.max(scores_BHUS, axis=-1, keepdims=True, where=mask_B1US, initial=-1e30)
    shifted_BHUS = jnp.where(mask_B1US, scores_BHUS - jax.lax.stop_gradient(largest_BHU1), -jnp.inf)
    exponents_BHUS = jnp.exp(shifted_BHUS)
    return exponents_BHUS, jnp.maximum(jnp.sum(exponents_BHUS, axis=-1), 1e-30)


class Memory(NamedTuple):
    """What queries look at."""

    keys: Float[Array, "B S H K"]
    values: Float[Array, "B S H K"]


class Attention(nnx.Module):
    """Multi-head attention in three parts, so that a decoder may keep the memory from step to step."""

    def __init__(self, width: int, num_heads: int, *, out_scale: float = 1.0, likeness: float = 0.0, rngs: nnx.Rngs):
        """`likeness`: how far keys start as queries do, so that from the start one finds what is like it
        (arXiv 2305.09828)."""
        head_width = width // num_heads
        into = (width, num_heads, head_width), (axes.EMBED, axes.HEADS, axes.HEAD_WIDTH)
        self.query_DHK = weights.matrix(rngs, *into, fan_in=width)
        self.key_DHK = weights.matrix(rngs, *into, fan_in=width)
        weights.lean(self.key_DHK, self.query_DHK[...], likeness)
        self.value_DHK = weights.matrix(rngs, *into, fan_in=width)
        self.out_HKD = weights.matrix(
            rngs,
            (num_heads, head_width, width),
            (axes.HEADS, axes.HEAD_WIDTH, axes.EMBED),
            fan_in=width,
            scale=out_scale,
        )

    def queries(self, x: Float[Array, "B U D"], rotation: positions.Rotation | None = None) -> Float[Array, "B U H K"]:
        """Queries of `x`, turned by `rotation`."""
        queries_BUHK = jnp.einsum("BUD,DHK->BUHK", x, self.query_DHK[...].astype(x.dtype))
        return queries_BUHK if rotation is None else positions.rotate(queries_BUHK, rotation)

    def memory(self, x: Float[Array, "B S D"], rotation: positions.Rotation | None = None) -> Memory:
        """Keys of `x`, turned by `rotation`, and values."""
        keys_BSHK = jnp.einsum("BSD,DHK->BSHK", x, self.key_DHK[...].astype(x.dtype))
        values_BSHK = jnp.einsum("BSD,DHK->BSHK", x, self.value_DHK[...].astype(x.dtype))
        return Memory(keys_BSHK if rotation is None else positions.rotate(keys_BSHK, rotation), values_BSHK)

    def out(self, attended: Float[Array, "B U H K"]) -> Float[Array, "B U D"]:
        """What the heads saw, back in the width of the trunk."""
        return jnp.einsum("BUHK,HKD->BUD", attended, self.out_HKD[...].astype(attended.dtype))

    def __call__(
        self,
        x: Float[Array, "B U D"],
        memory: Memory,
        mask: Bool[Array, "B U S"],
        rotation: positions.Rotation | None = None,
    ) -> Float[Array, "B U D"]:
        """Each position of `x` looks at `memory` where `mask` is True."""
        return self.out(attend(self.queries(x, rotation), memory.keys, memory.values, mask))
