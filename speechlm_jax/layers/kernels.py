"""Attention within segments, by the kernel that suits the devices and the shapes."""

from collections.abc import Callable, Mapping
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from speechlm_jax import provenance, sharding
from speechlm_jax.layers import blocks, dot_products, masks, splash

Choice = Literal["auto", "reference", "blocks", "cudnn", "splash"]


def attend(
    queries: Float[Array, "B U H K"],
    keys: Float[Array, "B S H K"],
    values: Float[Array, "B S H K"],
    mask: masks.SegmentMask,
    choice: Choice = "auto",
) -> Float[Array, "B U H K"]:
    """Softmax attention where `mask` looks; zeros for a query that looks at nothing.

    Raises ValueError for a kernel that the devices do not have, or that has no room for these shapes.
    """
    platform = sharding.platform()
    if choice == "auto":
        choice = suited(platform, queries, keys)
    wanted = _PLATFORMS.get(choice, platform)
    if platform != wanted:
        raise ValueError(
            f"attention: wanted a {wanted.upper()} for Model.attention_kernel = {choice!r}, found a "
            f"{platform.upper()}. Set it to 'auto', which takes what there is."
        )
    if choice == "cudnn" and not _cudnn_takes(queries, keys):
        raise ValueError(
            "attention by cuDNN: wanted half precision, lanes of even length and heads of a width that 8 divides, up "
            f"to 128; found {queries.dtype}, {queries.shape[1]} queries, {keys.shape[1]} places, heads of "
            f"{queries.shape[3]}. Set Model.attention_kernel = 'auto', Model.dtype, or the room of Row."
        )
    return _KERNELS[choice](queries, keys, values, mask)


def suited(platform: str, queries: Float[Array, "B U H K"], keys: Float[Array, "B S H K"]) -> Choice:
    """What 'auto' takes: a kernel that holds no array of all pairs for every head, where there is one for these."""
    shortest = min(queries.shape[1], keys.shape[1])
    if platform == "tpu" and shortest >= splash.SHORTEST:
        return "splash"
    if platform == "gpu" and shortest >= _SHORTEST_OF_CUDNN and _cudnn_takes(queries, keys):
        return "cudnn"
    if platform == "cpu" and shortest >= blocks.SHORTEST and provenance.cpus() <= blocks.FEW_CORES:
        return "blocks"
    return "reference"


def _cudnn_takes(queries: Float[Array, "B U H K"], keys: Float[Array, "B S H K"]) -> bool:
    """As jax.nn.dot_product_attention checks for training with a mask."""
    half = queries.dtype in (jnp.bfloat16, jnp.float16)
    even = queries.shape[1] % 2 == keys.shape[1] % 2 == 0
    return half and even and queries.shape[3] % 8 == 0 and queries.shape[3] <= 128


def _reference(queries: Array, keys: Array, values: Array, mask: masks.SegmentMask) -> Array:
    return dot_products.attend(queries, keys, values, mask.pairs())


def _cudnn(queries: Array, keys: Array, values: Array, mask: masks.SegmentMask) -> Array:
    """cuDNN has no ids of segments: it reads an array of all pairs, one for all heads."""
    return library(queries, keys, values, mask, "cudnn")


def library(
    queries: Float[Array, "B U H K"],
    keys: Float[Array, "B S H K"],
    values: Float[Array, "B S H K"],
    mask: masks.SegmentMask,
    implementation: Literal["cudnn", "xla"],
) -> Float[Array, "B U H K"]:
    """By jax.nn.dot_product_attention, to which a query that looks at nothing looks at everything."""
    pairs_B1US = mask.pairs()[:, None, :, :]
    attended_BUHK = jax.nn.dot_product_attention(queries, keys, values, mask=pairs_B1US, implementation=implementation)
    return jnp.where(mask.sees()[:, :, None, None], attended_BUHK, 0)


_KERNELS: Mapping[str, Callable[[Array, Array, Array, masks.SegmentMask], Array]] = {
    "reference": _reference,
    "blocks": blocks.attend,
    "cudnn": _cudnn,
    "splash": splash.attend,
}
_PLATFORMS = {"cudnn": "gpu", "splash": "tpu"}
"""What a kernel runs on; the others run anywhere."""

_SHORTEST_OF_CUDNN = 128
"""Fewer queries or places are written out."""
