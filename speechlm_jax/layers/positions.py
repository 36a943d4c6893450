"""Positions that restart in every segment and lane: rotary (arXiv 2104.09864), and sinusoids (arXiv 1706.03762)."""

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
    angles_BSR = _angles(positions, head_width // 2)
    return Rotation(jnp.cos(angles_BSR), jnp.sin(angles_BSR))


def sinusoids(positions: Int[Array, "B S"], width: int) -> Float[Array, "B S D"]:
    """Sines, then cosines, of the angles at each position, float32; `width` is even."""
    angles_BSR = _angles(positions, width // 2)
    return jnp.concatenate([jnp.sin(angles_BSR), jnp.cos(angles_BSR)], axis=-1)


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


def _angles(positions: Int[Array, "B S"], number: int) -> Float[Array, "B S R"]:
    rates_R = BASE ** (-jnp.arange(number, dtype=jnp.float32) / number)
    return positions.astype(jnp.float32)[:, :, None] * rates_R[None, None, :]
