"""What a run takes from another's checkpoint, what starts anew, and what stands still."""

import logging
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax
from flax import nnx
from jax.sharding import Mesh

from speechlm_jax import axes, checkpoint_meta, checkpoint_steps, checkpoints, low_rank, parameters, sharding
from speechlm_jax.training import config, lora

_log = logging.getLogger(__name__)


def frozen(params: nnx.State, choices: config.Finetune) -> frozenset[str]:
    """Paths of the parameters that are not trained.

    With low-rank updates all others are frozen, except those that start anew: they have nothing to keep.
    Raises ValueError for a rule that matches no parameter, and where nothing is left to train.
    """
    paths = list(parameters.by_path(params))
    still = set(_matching(choices.frozen, paths, "Finetune.frozen"))
    fresh = set(_matching(choices.fresh, paths, "Finetune.fresh"))
    if choices.lora is not None:
        still |= {path for path in paths if not lora.is_trained(path) and path not in fresh}
    if len(still) == len(paths):
        raise ValueError(f"Finetune.frozen {choices.frozen} leaves no parameter to train.")
    return frozenset(still)


class Origin(NamedTuple):
    """A checkpoint that a run starts from, and was compared with."""

    folder: Any
    """Of the checkpoint's step."""
    paths: frozenset[str]
    """The run's parameters that come from it."""
    has_updates: bool
    """Whether low-rank updates stand beside them."""
    use_ema: bool


def find(params: nnx.State, choices: config.Finetune, *, vocabulary: str | None = None) -> Origin:
    """The checkpoint that a run starts from; its files are compared with their checksums, no array is read.

    Args:
        params: the run's parameters, as arrays or ShapeDtypeStructs.
        vocabulary: this run's hash; with another one, embeddings and heads over tokens cannot be taken.

    Raises:
        ValueError: a rule matches no parameter, or one is not `fresh` and the checkpoint lacks it, has it in another
            shape, or numbers its tokens otherwise. All of them are named.
    """
    paths = parameters.by_path(params)
    fresh = set(_matching(choices.fresh, paths, "Finetune.fresh"))
    wanted = {
        path: leaf for path, leaf in paths.items() if path not in fresh and not path.startswith(f"{low_rank.ROOT}/")
    }
    doing = f"taking parameters from {choices.checkpoint}"
    folder = checkpoint_steps.find(choices.checkpoint)
    meta = checkpoint_meta.read(folder)
    if any(axes.VOCABULARY in parameters.words(leaf) for leaf in wanted.values()):
        checkpoint_meta.check_vocabulary(meta, vocabulary, doing=doing)
    stored = [name.removeprefix("params/") for name in meta["leaves"] if name.startswith("params/")]
    lines = parameters.differences(
        {path: parameters.describe(leaf) for path, leaf in wanted.items()},
        {path: meta["leaves"][f"params/{path}"]["array"] for path in stored if path in wanted},
    )
    lines = [f"{line} (nearest there: {_near(line, stored)})" if line.startswith("missing") else line for line in lines]
    mend = "Bring the model to the checkpoint's size, or name what is to start anew in Finetune.fresh."
    parameters.raise_differences(lines, doing=doing, mend=mend)
    updates = [path for path in stored if path.startswith(f"{low_rank.ROOT}/")]
    unused = [path for path in stored if path not in paths and path not in updates]
    if unused:
        _log.warning("%s: the model has no place for %s", doing, ", ".join(unused))
    return Origin(folder, frozenset(wanted), bool(updates), choices.use_ema)


def take(origin: Origin, *, mesh: Mesh) -> dict[str, jax.Array]:
    """Path -> array, on the mesh, of every parameter that comes from the checkpoint; for `state.build`.

    Low-rank updates in the checkpoint are merged into its matrices.
    """
    # A low-rank update is only told from what it belongs to: with any, all is read.
    weights = checkpoints.restore_params(
        origin.folder, mesh=mesh, use_ema=origin.use_ema, only=lambda path: origin.has_updates or path in origin.paths
    )
    merged = weights.params
    if origin.has_updates:
        places = sharding.param_shardings(mesh, jax.eval_shape(low_rank.merge, merged))
        merged = jax.jit(low_rank.merge, out_shardings=places)(merged)
    arrays = parameters.by_path(merged)
    return {path: parameters.array(arrays[path]) for path in origin.paths}


def _matching(rules: Sequence[str], paths: Iterable[str], binding: str) -> list[str]:
    """The paths that some rule matches anywhere. Raises ValueError for a rule that matches none."""
    paths, found = list(paths), []
    for rule in rules:
        try:
            matched = [path for path in paths if re.search(rule, path)]
        except re.error as error:
            raise ValueError(f"{binding} has {rule!r}, which is no regular expression: {error}.") from error
        if not matched:
            near = parameters.nearest(rule, paths)
            raise ValueError(f"{binding} has {rule!r}, which matches no parameter. Nearest: {near}.")
        found += matched
    return found


def _near(line: str, stored: Sequence[str]) -> str:
    return ", ".join(parameters.nearest(line.split()[1], stored, count=1)) or "none"
