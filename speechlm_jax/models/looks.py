"""Where the decoder looks among encoder positions: attention written out, as no fused kernel has it."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from speechlm_jax.layers import attention, dot_products, masks
from speechlm_jax.models import config, decoder


class Looks(NamedTuple):
    """Of the most decided head of each layer, row by row; of one layer without the axis "L"."""

    shares: Float[Array, "L B U S"]
    """How much of its look each step gives to each position; zeros for steps that look at nothing."""
    heads: Int[Array, "L B"]
    """Which head it is."""
    decided: Float[Array, "L B"]
    """The largest share of a step, on average over those that look at something."""


def strays(distance: Float[Array, "B U S"], choice: config.Model) -> decoder.Watch:
    """Of each step the mean `distance` to where the guided heads of a block look, "B U"."""
    assert choice.speech_out is not None
    count = choice.speech_out.guided_heads

    def watch(
        attends: attention.Attention, asks: Float[Array, "B U D"], memory: attention.Memory, mask: masks.SegmentMask
    ) -> Float[Array, "B U"]:
        queries_BUHK, keys_BSHK = attends.queries(asks)[:, :, :count], memory.keys[:, :, :count]
        looks_BHUS = dot_products.probabilities(queries_BUHK, keys_BSHK, mask.pairs())
        return jnp.einsum("BHUS,BUS->BU", looks_BHUS, distance) / count

    return watch


def most_decided(
    attends: attention.Attention, asks: Float[Array, "B U D"], memory: attention.Memory, mask: masks.SegmentMask
) -> Looks:
    """A decoder.Watch. Its result lacks the axis "L", which a stack of layers adds."""
    looks_BHUS = dot_products.probabilities(attends.queries(asks), memory.keys, mask.pairs())
    sees_BU = mask.sees()
    largest_BHU = jnp.max(looks_BHUS, axis=-1)
    decided_BH = jnp.sum(largest_BHU, axis=-1) / jnp.maximum(jnp.sum(sees_BU, axis=-1), 1)[:, None]
    heads_B = jnp.argmax(decided_BH, axis=-1)
    shares_BUS = jnp.take_along_axis(looks_BHUS, heads_B[:, None, None, None], axis=1)[:, 0]
    return Looks(shares_BUS, heads_B, jnp.max(decided_BH, axis=-1))
