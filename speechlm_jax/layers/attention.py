"""Attention within segments."""

from typing import NamedTuple

from flax import nnx
from jaxtyping import Array, Float

from speechlm_jax import axes
from speechlm_jax.layers import kernels, masks, positions, products, weights


class Memory(NamedTuple):
    """What queries look at."""

    keys: Float[Array, "B S H K"]
    values: Float[Array, "B S H K"]


class Attention(nnx.Module):
    """Multi-head attention in three parts, so that a decoder may keep the memory from step to step."""

    def __init__(
        self,
        width: int,
        num_heads: int,
        *,
        out_scale: float = 1.0,
        likeness: float = 0.0,
        kernel: kernels.Choice = "auto",
        numbers: products.Numbers = "full",
        biases: bool = False,
        rngs: nnx.Rngs,
    ):
        """`likeness`: how far keys start as queries do, so that from the start one finds what is like it
        (arXiv 2305.09828). `kernel` is Model.attention_kernel, `numbers` is Model.products. biases: of queries, values
        and what comes out; one of keys would change nothing."""
        self.kernel: kernels.Choice = kernel
        self.numbers: products.Numbers = numbers
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
        self.biases = biases
        if biases:
            heads = (num_heads, head_width), (axes.HEADS, axes.HEAD_WIDTH)
            self.query_bias_HK = weights.constant(0.0, *heads)
            self.value_bias_HK = weights.constant(0.0, *heads)
            self.out_bias_D = weights.constant(0.0, (width,), (axes.EMBED,))

    def queries(self, x: Float[Array, "B U D"], rotation: positions.Rotation | None = None) -> Float[Array, "B U H K"]:
        """Queries of `x`, turned by `rotation`."""
        queries_BUHK = products.product("BUD,DHK->BUHK", x, self.query_DHK, self.numbers)
        if self.biases:
            queries_BUHK = weights.shifted(queries_BUHK, self.query_bias_HK)
        return queries_BUHK if rotation is None else positions.rotate(queries_BUHK, rotation)

    def memory(self, x: Float[Array, "B S D"], rotation: positions.Rotation | None = None) -> Memory:
        """Keys of `x`, turned by `rotation`, and values."""
        keys_BSHK = products.product("BSD,DHK->BSHK", x, self.key_DHK, self.numbers)
        values_BSHK = products.product("BSD,DHK->BSHK", x, self.value_DHK, self.numbers)
        if self.biases:
            values_BSHK = weights.shifted(values_BSHK, self.value_bias_HK)
        return Memory(keys_BSHK if rotation is None else positions.rotate(keys_BSHK, rotation), values_BSHK)

    def out(self, attended: Float[Array, "B U H K"]) -> Float[Array, "B U D"]:
        """What the heads saw, back in the width of the trunk."""
        out_BUD = products.product("BUHK,HKD->BUD", attended, self.out_HKD, self.numbers)
        return weights.shifted(out_BUD, self.out_bias_D) if self.biases else out_BUD

    def __call__(
        self,
        x: Float[Array, "B U D"],
        memory: Memory,
        mask: masks.SegmentMask,
        rotation: positions.Rotation | None = None,
    ) -> Float[Array, "B U D"]:
        """Each position of `x` looks at `memory` where `mask` lets it."""
        return self.out(kernels.attend(self.queries(x, rotation), memory.keys, memory.values, mask, self.kernel))
