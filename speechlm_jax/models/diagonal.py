"""The diagonal between speech out and its text: speech says its text from the beginning to the end."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from speechlm_jax.layers import segments


def distance(
    step_ids: Int[Array, "B Y"],
    step_positions: Int[Array, "B Y"],
    text_ids: Int[Array, "B W"],
    text_positions: Int[Array, "B W"],
    num_segments: int,
    width: float,
) -> Float[Array, "B Y W"]:
    """0 where a step of speech and a place of its text stand at one share of their segments, almost 1 where these are
    `width` or more apart: the matrix W of guided attention (arXiv 1710.08969, section 4), of which width is g. What
    stands in other segments means nothing."""
    apart_BYW = (
        _share(step_ids, step_positions, num_segments)[:, :, None]
        - _share(text_ids, text_positions, num_segments)[:, None, :]
    )
    return 1.0 - jnp.exp(-jnp.square(apart_BYW) / (2 * width**2))


def _share(ids: Int[Array, "B S"], positions: Int[Array, "B S"], num_segments: int) -> Float[Array, "B S"]:
    """How much of its segment lies before each place."""
    lengths_BS = segments.look_up(segments.length(ids, num_segments), ids)
    return positions / jnp.maximum(lengths_BS, 1)
