"""Attention within segments, by the kernel that suits the devices and the shapes."""

from collections.abc import Callable, Mapping
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from speechlm_jax import sharding
from speechlm_jax.layers import dot_products, masks, splash

Choice = Literal["auto", "reference", "cudnn", "splash"]


def attend(
    queries: Float[Array, "B U H K"],
    keys: Float[Array, "B S H K"],
    values: Float[Array, "B S H K"],
    mask: masks.SegmentMask,
    choice: Choice = "auto",
) -> Float[Array, "B U H K"]:
    """Softmax attention where `mask` looks; zeros for a query that looks at nothing.

    Raises ValueError for a kernel that the devices do not have.
    """
    platform = sharding.platform()
    if choice == "auto":
        choice = suited(platform, queries, keys)
    if choice in _PLATFORMS and platform != _PLATFORMS[choice]:
        raise ValueError(
            f"attention: wanted a {_PLATFORMS[choice].upper()} for Model.attention_kernel = {choice!r}, found a "
            f"{platform.upper()}. Set it to 'auto', which takes what there is."
        )
    return _KERNELS[choice](queries, keys, values, mask)


def suited(platform: str, queries: Float[Array, "B U H K"], keys: Float[Array, "B S H K"]) -> Choice:
    """What 'auto' takes: a kernel that holds no array of all pairs, where there is one for these shapes."""
    long_enough = min(queries.shape[1], keys.shape[1]) >= splash.SHORTEST
    if platform == "tpu" and long_enough:
        return "splash"
    half = queries.dtype in (jnp.bfloat16, jnp.float16)
    if platform == "gpu" and long_enough and half and queries.shape[3] % 8 == 0 and queries.shape[3] <= 128:
        return "cudnn"
    return "reference"


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
    "cudnn": _cudnn,
    "splash": splash.attend,
}
_PLATFORMS = {"cudnn": "gpu", "splash": "tpu"}
"""What a kernel runs on; the reference runs anywhere."""
