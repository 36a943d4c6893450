"""Low-rank updates that stand beside a model's parameters under 'lora', and how they are added to its matrices."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from speechlm_jax import axes, parameters

ROOT = "lora"
ALPHA = f"{ROOT}/alpha"


def merge(params: nnx.State) -> nnx.State:
    """The model's own parameters with their low-rank updates added; `params` itself where there are none.
    Differentiable."""
    if ROOT not in params:
        return params
    leaves = parameters.by_path(params)
    alpha = parameters.array(leaves[ALPHA])
    merged = {path: leaf for path, leaf in leaves.items() if not path.startswith(f"{ROOT}/")}
    for path, leaf in merged.items():
        if (down := leaves.get(f"{ROOT}/{path}/down")) is not None:
            up = leaves[f"{ROOT}/{path}/up"]
            stacked = parameters.words(leaf)[:1] == (axes.LAYERS,)
            product = _stacked_product if stacked else _product
            update = product(parameters.array(down), parameters.array(up))
            rank = parameters.array(down).shape[-1]
            merged[path] = leaf.replace(parameters.array(leaf) + alpha / rank * update)
    return parameters.from_paths(merged)


def _product(down: Float[Array, "*In r"], up: Float[Array, "r *Out"]) -> Float[Array, "..."]:
    # Accelerators would multiply in bfloat16 by default.
    return jnp.tensordot(down, up, axes=1, precision=jax.lax.Precision.HIGHEST)


_stacked_product = jax.vmap(_product)
