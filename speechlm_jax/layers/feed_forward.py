"""Feed-forward layers: a gated one, and the plain one of Whisper."""

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


class Plain(nnx.Module):
    """out(gelu(into(x))), both with biases (arXiv 1706.03762, with the GELU of arXiv 1606.08415)."""

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
        self.into_DF = weights.matrix(rngs, (width, mlp_width), (axes.EMBED, axes.MLP), fan_in=width)
        self.into_bias_F = weights.constant(0.0, (mlp_width,), (axes.MLP,))
        self.out_FD = weights.matrix(
            rngs, (mlp_width, width), (axes.MLP, axes.EMBED), fan_in=mlp_width, scale=out_scale
        )
        self.out_bias_D = weights.constant(0.0, (width,), (axes.EMBED,))

    def __call__(self, x: Float[Array, "B S D"]) -> Float[Array, "B S D"]:
        hidden_BSF = products.product("BSD,DF->BSF", x, self.into_DF, self.numbers)
        hidden_BSF = jax.nn.gelu(weights.shifted(hidden_BSF, self.into_bias_F), approximate=False)
        return weights.shifted(products.product("BSF,FD->BSD", hidden_BSF, self.out_FD, self.numbers), self.out_bias_D)
