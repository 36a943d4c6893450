"""Low-rank updates of matrices (LoRA, arXiv 2106.09685): W + alpha / rank * down @ up.

They stand beside the model's parameters under 'lora', so one checkpoint holds both:
'lora/encoder/stack/attention/query/down', '.../up', and the scalar 'lora/alpha', which is not trained.
"""

import math
import re

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from speechlm_jax import axes, parameters
from speechlm_jax.training import config, optimizers

ROOT = "lora"
ALPHA = f"{ROOT}/alpha"


def targets(params: nnx.State, choices: config.Lora) -> list[str]:
    """Paths of the matrices that get an update. Raises ValueError where the pattern matches none."""
    leaves = {path: leaf for path, leaf in parameters.by_path(params).items() if not path.startswith(f"{ROOT}/")}
    matrices = [path for path, leaf in leaves.items() if _is_target(parameters.words(leaf))]
    found = [path for path in matrices if re.search(choices.pattern, path)]
    if not found:
        near = parameters.nearest(choices.pattern, matrices)
        raise ValueError(f"Lora.pattern {choices.pattern!r} matches no matrix of the model. Nearest: {near}.")
    return found


def _is_target(words: parameters.Words) -> bool:
    return optimizers.is_matrix(words) and axes.KERNEL not in words


def _num_in(words: parameters.Words) -> int:
    """How many axes, behind that of the layers, a matrix reads: heads and their width are one."""
    own = words[words[:1] == (axes.LAYERS,) :]
    return 2 if own[:2] == (axes.HEADS, axes.HEAD_WIDTH) else 1


def attach(params: nnx.State, choices: config.Lora, key: PRNGKeyArray) -> nnx.State:
    """`params` with low-rank updates beside them: `down` normal with variance 1 / inputs, `up` zero, so that the model
    is unchanged. Runs under jit and eval_shape.

    Raises:
        ValueError: the pattern matches nothing, or the rank is not below both sides of a matrix.
    """
    leaves = dict(parameters.by_path(params))
    found = targets(params, choices)
    leaves[ALPHA] = nnx.Param(jnp.asarray(choices.alpha, jnp.float32), axes=())
    for number, path in enumerate(found):
        words, shape = parameters.words(leaves[path]), parameters.array(leaves[path]).shape
        stacked = int(words[:1] == (axes.LAYERS,))
        cut = stacked + _num_in(words)
        inputs, outputs = math.prod(shape[stacked:cut]), math.prod(shape[cut:])
        if not 0 < choices.rank < min(inputs, outputs):
            raise ValueError(
                f"a low-rank update of {path} ({inputs} to {outputs}) wants a rank from 1 to "
                f"{min(inputs, outputs) - 1}, found {choices.rank}. Set Lora.rank."
            )
        down = jax.random.normal(jax.random.fold_in(key, number), (*shape[:cut], choices.rank)) * inputs**-0.5
        up = jnp.zeros((*shape[:stacked], choices.rank, *shape[cut:]))
        leaves[f"{ROOT}/{path}/down"] = nnx.Param(down, axes=(*words[:cut], None))
        leaves[f"{ROOT}/{path}/up"] = nnx.Param(up, axes=(*words[:stacked], None, *words[cut:]))
    return parameters.from_paths(leaves)


def is_trained(path: str) -> bool:
    """True for the leaves of a low-rank update that are trained."""
    return path.startswith(f"{ROOT}/") and path != ALPHA


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
