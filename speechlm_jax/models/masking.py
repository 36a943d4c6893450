"""Masked speech (BEST-RQ, arXiv 2202.01855): spans hidden from the encoder, and the codes of what stood there.

A quantiser projects the features of a position by a random matrix and takes the nearest of random codes; it is drawn
from a seed and never trained.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from speechlm_jax import axes, batch
from speechlm_jax.layers import segments, weights
from speechlm_jax.models import config

QUIET = 1e-5
"""The least variance that features are divided by."""


class Masked(NamedTuple):
    """What was hidden, and what the model makes of it."""

    hidden: Bool[Array, "B P"]
    """Encoder audio positions that were hidden."""
    codes: Int[Array, "B P Q"]
    """What stood at each position, by each codebook; of every position, hidden or not."""
    logits: Float[Array, "B P Q Z"]


def spans(
    lane: batch.AudioLane, lines: batch.Segments, subsampling: int, span: int, key: PRNGKeyArray
) -> Bool[Array, "B P"]:
    """The encoder positions to hide: of each segment about its `mask_shares`, in spans of `span` positions.

    A span starts at each position, and at each of the span - 1 before the first, with one chance, such that every
    position is hidden with the same probability. What is drawn follows from the key, from where the example came
    from and from the place in it, not from the row that it lies in.
    """
    ids_BP = lane.segment_ids[:, ::subsampling]
    positions_BP = lane.positions[:, ::subsampling] // subsampling
    origins_BP3 = jnp.stack([segments.look_up(lines.origins[:, :, part], ids_BP) for part in range(3)], axis=-1)
    share_BP = segments.look_up(lines.mask_shares, ids_BP)
    chance_BP = 1.0 - (1.0 - jnp.minimum(share_BP, 1.0)) ** (1.0 / span)

    def starts(origin: Int[Array, "3"], position: Int[Array, ""], chance: Float[Array, ""]) -> Bool[Array, ""]:
        """Whether a span that reaches the position started at any of the places where it may have."""
        own_key = segments.own_key(key, origin)
        # Places are counted from the first at which a span can start.
        keys = jax.vmap(lambda place: jax.random.fold_in(own_key, place))(position + jnp.arange(span))
        return jnp.any(jax.vmap(jax.random.uniform)(keys) < chance)

    return jax.vmap(jax.vmap(starts))(origins_BP3, positions_BP, chance_BP) & (ids_BP > 0)


class MaskedSpeech(nnx.Module):
    """Puts a learned frame in place of hidden ones, and tells the codes of what stood there."""

    def __init__(self, choice: config.Model, masks: config.MaskedSpeech, *, rngs: nnx.Rngs):
        self.choice, self.masks = choice, masks
        self.frame_M = weights.constant(0.0, (choice.mels,), (axes.MELS,))
        self.kernel_DQZ = weights.matrix(
            rngs, (choice.width, masks.codebooks, masks.codes), (axes.EMBED, None, axes.CODES), fan_in=choice.width
        )

    def hide(self, features: Float[Array, "B T M"], hidden: Bool[Array, "B P"]) -> Float[Array, "B T M"]:
        """`features` with the frames of hidden positions replaced."""
        hidden_BT1 = jnp.repeat(hidden, self.choice.subsampling, axis=1)[:, :, None]
        return jnp.where(hidden_BT1, self.frame_M[...][None, None, :].astype(features.dtype), features)

    def codes(self, features: Float[Array, "B T M"], lane: batch.AudioLane, num_segments: int) -> Int[Array, "B P Q"]:
        """The nearest code to the features of each position, in each codebook.

        Every channel of a segment has mean 0 and variance 1 beforehand, without which few codes are ever used.
        """
        masks, (num_rows, num_frames, mels) = self.masks, features.shape
        normal_BTM = _normalised(features, lane.segment_ids, num_segments)
        stacked_BPI = normal_BTM.reshape(num_rows, num_frames // self.choice.subsampling, -1)
        projection_key, codes_key = jax.random.split(jax.random.key(masks.seed))
        width = self.choice.subsampling * mels
        projection_QIC = jax.random.normal(projection_key, (masks.codebooks, width, masks.code_width)) / width**0.5
        codes_QZC = jax.random.normal(codes_key, (masks.codebooks, masks.codes, masks.code_width))
        codes_QZC /= jnp.linalg.norm(codes_QZC, axis=-1, keepdims=True)
        projected_BPQC = jnp.einsum("BPI,QIC->BPQC", stacked_BPI, projection_QIC, precision=jax.lax.Precision.HIGHEST)
        # Among codes of one length the nearest is the one of the largest product.
        return jnp.einsum("BPQC,QZC->BPQZ", projected_BPQC, codes_QZC).argmax(-1).astype(jnp.int32)

    def logits(self, encoded: Float[Array, "B P D"]) -> Float[Array, "B P Q Z"]:
        """float32 logits over the codes of each codebook."""
        kernel_DQZ = self.kernel_DQZ[...].astype(encoded.dtype)
        return jnp.einsum("BPD,DQZ->BPQZ", encoded, kernel_DQZ, preferred_element_type=jnp.float32)


def _normalised(
    features: Float[Array, "B T M"], segment_ids: Int[Array, "B T"], num_segments: int
) -> Float[Array, "B T M"]:
    """`features` with mean 0 and variance 1 over each segment and channel; zeros at dead frames."""
    members_BET = segments.members(segment_ids, num_segments).astype(jnp.float32)
    count_BE1 = jnp.maximum(members_BET.sum(-1), 1.0)[:, :, None]

    def mean_by_segment(values_BTM: Array) -> Array:
        sums_BEM = jnp.einsum("BET,BTM->BEM", members_BET, values_BTM, precision=jax.lax.Precision.HIGHEST)
        return jnp.einsum("BET,BEM->BTM", members_BET, sums_BEM / count_BE1, precision=jax.lax.Precision.HIGHEST)

    centred_BTM = jnp.where((segment_ids > 0)[:, :, None], features - mean_by_segment(features), 0.0)
    return centred_BTM * jax.lax.rsqrt(mean_by_segment(jnp.square(centred_BTM)) + QUIET)
