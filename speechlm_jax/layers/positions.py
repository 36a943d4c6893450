"""Rotary positions, which restart in every segment and lane (arXiv 2104.09864)."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

BASE = 10_000.0


class Rotation(NamedTuple):
    """Cosines and sines of the angles at each position, float32 "B S R", R half the width of a head."""

    cosines: Float[Array, "B S R"]
    sines: Float[Array, "B S R"]


def rotation(positions: Int[Array, "B S"], head_width: int) -> Rotation:
    """The angles by which channel pairs turn at `positions`."""
    half = head_width // 2
    rates_R = BASE ** (-jnp.arange(half, dtype=jnp.float32) / half)
    angles_BSR = positions.astype(jnp.float32)[:, :, None] * rates_R[None, None, :]
    return Rotation(jnp.cos(angles_BSR), jnp.sin(angles_BSR))


def rotate(x: Float[Array, "B S H K"], by: Rotation) -> Float[Array, "B S H K"]:
    """`x` with channel k and channel k + K/2 of each head turned as a pair."""
    left_BSHR, right_BSHR = jnp.split(x, 2, axis=-1)
    cosines_BS1R = by.cosines[:, :, None, :].astype(x.dtype)
    sines_BS1R = by.sines[:, :, None, :].astype(x.dtype)
    return jnp.concatenate(
        [
            left_BSHR * cosines_BS1R - right_BSHR * sines_BS1R,
            right_BSHR * cosines_BS1R + left_BSHR * sines_BS1R,
        ],
        axis=-1,
    )
