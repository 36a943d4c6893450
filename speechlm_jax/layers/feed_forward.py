"""The gated feed-forward layer."""

import jax
from flax import nnx
from jaxtyping import Array, Float

from speechlm_jax import axes
from speechlm_jax.layers import products, weights


class FeedForward(nnx.Module):
    """SwiGLU: out(silu(gate(x)) * value(x)) (arXiv 2002.05202)."""

    def __init__(
        self,
        width: int,
        mlp_width: int,
        *,
        out_scale: float = 1.0,
        numbers: products.Numbers = "full",
        rngs: nnx.Rngs,
    ):
        """`numbers` is Model.products."""
        self.numbers: products.Numbers = numbers
        self.gate_DF = weights.matrix(rngs, (width, mlp_width), (axes.EMBED, axes.MLP), fan_in=width)
        self.value_DF = weights.matrix(rngs, (width, mlp_width), (axes.EMBED, axes.MLP), fan_in=width)
        self.out_FD = weights.matrix(
            rngs, (mlp_width, width), (axes.MLP, axes.EMBED), fan_in=mlp_width, scale=out_scale
        )

    def __call__(self, x: Float[Array, "B S D"]) -> Float[Array, "B S D"]:
        gate_BSF = products.product("BSD,DF->BSF", x, self.gate_DF, self.numbers)
        value_BSF = products.product("BSD,DF->BSF", x, self.value_DF, self.numbers)
        return products.product("BSF,FD->BSD", jax.nn.silu(gate_BSF) * value_BSF, self.out_FD, self.numbers)
