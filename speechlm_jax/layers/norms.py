"""Normalisation over channels, which is exact in packed rows: no position looks at another."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from speechlm_jax import axes
from speechlm_jax.layers import weights

EPSILON, LAYER_EPSILON = 1e-6, 1e-5
"""Of either kind; the second is that of Whisper and PyTorch."""


class RmsNorm(nnx.Module):
    """Divides by the root mean square over channels, in float32 (arXiv 1910.07467)."""

    def __init__(self, width: int, *, axis: str = axes.EMBED):
        self.scale_D = weights.constant(1.0, (width,), (axis,))

    def __call__(self, x: Float[Array, "B S D"]) -> Float[Array, "B S D"]:
        x32_BSD = x.astype(jnp.float32)
        mean_square_BS1 = jnp.mean(jnp.square(x32_BSD), axis=-1, keepdims=True)
        normal_BSD = x32_BSD * jax.lax.rsqrt(mean_square_BS1 + EPSILON)
        return (normal_BSD * self.scale_D[...][None, None, :]).astype(x.dtype)


class LayerNorm(nnx.Module):
    """Takes the mean over channels away and divides by the deviation, in float32 (arXiv 1607.06450)."""

    def __init__(self, width: int, *, axis: str = axes.EMBED):
        self.scale_D = weights.constant(1.0, (width,), (axis,))
        self.bias_D = weights.constant(0.0, (width,), (axis,))

    def __call__(self, x: Float[Array, "B S D"]) -> Float[Array, "B S D"]:
        x32_BSD = x.astype(jnp.float32)
        centred_BSD = x32_BSD - jnp.mean(x32_BSD, axis=-1, keepdims=True)
        variance_BS1 = jnp.mean(jnp.square(centred_BSD), axis=-1, keepdims=True)
        normal_BSD = centred_BSD * jax.lax.rsqrt(variance_BS1 + LAYER_EPSILON)
        return (normal_BSD * self.scale_D[...][None, None, :] + self.bias_D[...][None, None, :]).astype(x.dtype)
