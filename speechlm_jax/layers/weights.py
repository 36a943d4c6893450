"""Parameters of layers and how they start."""

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float


def matrix(
    rngs: nnx.Rngs, shape: tuple[int, ...], axes: tuple[str | None, ...], *, fan_in: int, scale: float = 1.0
) -> nnx.Param:
    """A float32 parameter drawn from a truncated normal of standard deviation scale / sqrt(fan_in)."""
    # A normal cut at two standard deviations has 0.87962566 of its width.
    deviation = scale / math.sqrt(fan_in) / 0.87962566
    return nnx.Param(deviation * jax.random.truncated_normal(rngs.params(), -2.0, 2.0, shape, jnp.float32), axes=axes)


def lean(param: nnx.Param, wanted: Float[Array, "..."], share: float) -> None:
    """Has `param` start as `share` of `wanted`; the rest of its variance stays as it was drawn."""
    param[...] = share * wanted + math.sqrt(1 - share**2) * param[...]


def constant(value: float, shape: tuple[int, ...], axes: tuple[str | None, ...]) -> nnx.Param:
    """A float32 parameter that starts at one value everywhere."""
    return nnx.Param(jnp.full(shape, value, jnp.float32), axes=axes)


def shifted(x: Float[Array, "B S ..."], bias: nnx.Param) -> Float[Array, "B S ..."]:
    """`x` with a bias added at every place."""
    return x + bias[...].astype(x.dtype)[None, None]
