"""Low-rank updates of matrices (LoRA, arXiv 2106.09685): W + alpha / rank * down @ up.

They stand beside the model's parameters under 'lora', so one checkpoint holds both:
'lora/encoder/stack/attention/query/down', '.../up', and the scalar 'lora/alpha', which is not trained.
"""

import math
import re

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import PRNGKeyArray

from speechlm_jax import axes, low_rank, parameters
from speechlm_jax.training import config, optimizers


def targets(params: nnx.State, choices: config.Lora) -> list[str]:
    """Paths of the matrices that get an update. Raises ValueError where the pattern matches none."""
    leaves = {
        path: leaf for path, leaf in parameters.by_path(params).items() if not path.startswith(f"{low_rank.ROOT}/")
    }
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
    leaves[low_rank.ALPHA] = nnx.Param(jnp.asarray(choices.alpha, jnp.float32), axes=())
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
        leaves[f"{low_rank.ROOT}/{path}/down"] = nnx.Param(down, axes=(*words[:cut], None))
        leaves[f"{low_rank.ROOT}/{path}/up"] = nnx.Param(up, axes=(*words[:stacked], None, *words[cut:]))
    return parameters.from_paths(leaves)


def is_trained(path: str) -> bool:
    """True for the leaves of a low-rank update that are trained."""
    return path.startswith(f"{low_rank.ROOT}/") and path != low_rank.ALPHA
