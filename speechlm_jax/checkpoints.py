"""Checkpoints of a run: orbax behind a thin layer that decides which step counts, and restores all of it or nothing.

A run's folder holds checkpoints/<step>/{state,stream,meta}. In `state` every array stands under its path, such as
'params/encoder/stack/attention/query'; `meta` tells shape, dtype and words of each, so that parameters can be read
without the program that wrote them.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from flax import nnx
from jax.experimental import multihost_utils
from jax.sharding import Mesh, SingleDeviceSharding

from speechlm_jax import parameters, provenance, sharding

SCHEMA = 1
"""The version of what stands in a step's folder."""

NAME = "checkpoints"
"""The folder in a run's folder."""

_ITEMS = ("state", "stream", "meta")
_WHOLE = ("_CHECKPOINT_METADATA", "state/_METADATA", "stream/metadata", "meta/metadata")
_log = logging.getLogger(__name__)


class Restored(NamedTuple):
    """A step of a run, as it was saved."""

    step: int
    state: Any
    stream: dict[str, Any]
    meta: dict[str, Any]


class Weights(NamedTuple):
    """The parameters of a step, and the step's meta."""

    step: int
    params: nnx.State
    meta: dict[str, Any]


class Folder:
    """The checkpoints of a run, to write and to go on from. Every process of the run opens it."""

    def __init__(self, folder: str | epath.PathLike, *, keep: int = 3):
        """`folder`: the run's. Only the last `keep` steps are kept."""
        if keep < 1:
            raise ValueError(f"at least one checkpoint is kept, found {keep}. Set Checkpoints.keep.")
        self.path = _absolute(folder) / NAME
        _set_aside_broken(self.path)
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, enable_async_checkpointing=True)
        self._manager = ocp.CheckpointManager(self.path, options=options, item_names=_ITEMS)
        self._saved = self.latest()

    def save(self, step: int, state: Any, *, stream: Mapping[str, Any], meta: Mapping[str, Any]) -> None:
        """Saves in the background; the state may be donated as soon as this returns. A step is saved once.

        Args:
            state: any pytree of arrays; those of parameters stand under 'params' and 'ema'.
            stream: JSON: where the data stand, of all processes.
            meta: JSON that the caller knows: 'vocabulary' (hash), 'recipe' (text), 'model' (dict), and what it likes.
        """
        if step == self._saved:
            return
        leaves = parameters.by_path(state)
        arrays = {path: parameters.array(leaf) for path, leaf in leaves.items()}
        self._manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.PyTreeSave(_nested(arrays)),
                stream=ocp.args.JsonSave(dict(stream)),
                meta=ocp.args.JsonSave({**meta, **_own_meta(leaves)}),
            ),
            force=True,
        )
        self._saved = step

    def wait(self) -> None:
        """Returns when what was saved is on disk; raises what went wrong in the background."""
        self._manager.wait_until_finished()

    def latest(self, *, before: int | None = None) -> int | None:
        """The step to go on from; the last one before another, where that is given."""
        return latest(self.path, before=before)

    def told(self, abstract: Any, *, step: int | None = None, vocabulary: str | None = None) -> Restored:
        """A step as `restore` gives it, and with what that raises, but for the arrays: the state is `abstract`."""
        step = self.latest() if step is None else step
        if step is None:
            raise ValueError(f"restoring from {self.path}: there is no checkpoint. Set Recipe.run_dir.")
        folder = self.path / str(step)
        meta = read_meta(folder)
        check_vocabulary(meta, vocabulary, doing=f"restoring {folder}")
        wanted = {path: parameters.describe(leaf) for path, leaf in parameters.by_path(abstract).items()}
        parameters.raise_differences(
            parameters.differences(wanted, {path: leaf["array"] for path, leaf in meta["leaves"].items()}),
            doing=f"restoring {folder}",
            mend="Bring back the model and optimizer of the run, or start a new one from it with Finetune.checkpoint.",
        )
        return Restored(step, abstract, _read_json(folder / "stream"), meta)

    def restore(self, abstract: Any, *, step: int | None = None, vocabulary: str | None = None) -> Restored:
        """The whole state of a step (the latest, if None), laid out as `abstract` says.

        Args:
            abstract: the state as ShapeDtypeStructs with shardings; another mesh than it was saved from will do.
            vocabulary: the hash that the checkpoint must bear.

        Raises:
            ValueError: there is no such step, or it bears another vocabulary, or an array is missing, is not wanted,
                or has another shape or dtype; all of them are named.
        """
        told = self.told(abstract, step=step, vocabulary=vocabulary)
        wanted = {path: parameters.array(leaf) for path, leaf in parameters.by_path(abstract).items()}
        arrays = _read(self.path / str(told.step), wanted, told.meta["leaves"])
        return told._replace(state=parameters.rebuild(abstract, arrays))

    def close(self) -> None:
        """Waits, and frees the threads."""
        self._manager.close()


def latest(folder: str | epath.PathLike, *, before: int | None = None) -> int | None:
    """The newest step in a checkpoints folder that can be restored: the one place which decides."""
    steps = [step for step in _steps(epath.Path(folder)) if before is None or step < before]
    return max((step for step in steps if _is_whole(epath.Path(folder) / str(step))), default=None)


def find(path: str | epath.PathLike) -> epath.Path:
    """The folder of the step that `path` means: a run's folder, its checkpoints folder, or one step."""
    given = _absolute(path)
    if given.name.isdigit() and (given / "state").exists():
        if not _is_whole(given):
            raise ValueError(f"reading checkpoint {given}: it is not whole. Name another step.")
        return given
    folder = given / NAME if (given / NAME).exists() else given
    step = latest(folder)
    if step is None:
        raise ValueError(
            f"reading a checkpoint from {given}: found none. Wanted a run's folder, its checkpoints folder, or one "
            "step. Set Finetune.checkpoint, or --checkpoint."
        )
    return folder / str(step)


def restore_params(
    path: str | epath.PathLike,
    *,
    mesh: Mesh | None = None,
    use_ema: bool = True,
    only: Callable[[str], bool] = lambda path: True,
) -> Weights:
    """The parameters of a checkpoint, without the rest of its state; the program that wrote them is not needed.

    Args:
        path: a run's folder, its checkpoints folder, or one step.
        mesh: where they are laid out; None: on one device.
        use_ema: the moving average, of the parameters that have one.
        only: the paths that are read.
    """
    folder = find(path)
    meta = read_meta(folder)
    leaves, chosen = meta["leaves"], {}
    for name in leaves:
        root, _, rest = name.partition("/")
        if root == "params" and only(rest):
            chosen[rest] = f"ema/{rest}" if use_ema and f"ema/{rest}" in leaves else name
    abstract = {rest: _abstract(leaves[name]) for rest, name in chosen.items()}
    one = SingleDeviceSharding(jax.local_devices()[0])
    places = dict.fromkeys(chosen, one) if mesh is None else sharding.param_shardings(mesh, abstract)
    wanted = {
        name: jax.ShapeDtypeStruct(
            parameters.array(abstract[rest]).shape,
            parameters.array(abstract[rest]).dtype,
            sharding=parameters.array(places[rest]),
        )
        for rest, name in chosen.items()
    }
    arrays = _read(folder, wanted, leaves)
    params = {rest: abstract[rest].replace(arrays[name]) for rest, name in chosen.items()}
    return Weights(int(folder.name), parameters.from_paths(params), meta)


def _absolute(path: str | epath.PathLike) -> epath.Path:
    """Orbax wants whole paths; those with a scheme, such as gs://, are."""
    return epath.Path(path) if "://" in str(path) else epath.Path(path).absolute()


def read_meta(folder: epath.Path) -> dict[str, Any]:
    """The meta of one step's folder. Raises ValueError where it was written by another version of this layer."""
    if not _is_whole(folder):
        raise ValueError(f"reading checkpoint {folder}: it is not there, or not whole.")
    meta = _read_json(folder / "meta")
    if meta.get("schema") != SCHEMA:
        raise ValueError(f"reading checkpoint {folder}: wanted schema {SCHEMA}, found {meta.get('schema')}.")
    return meta


def check_vocabulary(meta: Mapping[str, Any], wanted: str | None, *, doing: str) -> None:
    """Raises ValueError where a checkpoint was trained with another vocabulary than `wanted`; both are hashes."""
    found = meta.get("vocabulary")
    if wanted is not None and found != wanted:
        raise ValueError(
            f"{doing}: wanted a checkpoint of vocabulary {wanted}, found {found}. Bring back the vocabulary file that "
            "the checkpoint was trained with."
        )


def _own_meta(leaves: Mapping[str, Any]) -> dict[str, Any]:
    meshes = [parameters.array(leaf).sharding for leaf in leaves.values()]
    mesh = next((dict(place.mesh.shape) for place in meshes if hasattr(place, "mesh")), {})
    return {
        "schema": SCHEMA,
        "versions": provenance.versions(),
        "mesh": mesh,
        "processes": jax.process_count(),
        "leaves": {
            path: {"array": parameters.describe(leaf), "axes": parameters.words(leaf)} for path, leaf in leaves.items()
        },
    }


def _abstract(leaf: Mapping[str, Any]) -> nnx.Param:
    """A parameter's description, from its line in `meta`."""
    dtype, _, sizes = leaf["array"].rstrip("]").partition("[")
    shape = tuple(int(size) for size in sizes.split(",") if size)
    return nnx.Param(jax.ShapeDtypeStruct(shape, np.dtype(dtype)), axes=tuple(leaf["axes"]))


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path, value in values.items():
        *parents, last = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
    return tree


def _read(folder: epath.Path, wanted: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, jax.Array]:
    """Path -> array, for the `wanted` among the `stored`; the others are not touched."""
    items = {path: wanted.get(path, ocp.PLACEHOLDER) for path in stored}
    places = {
        path: ocp.ArrayRestoreArgs(sharding=leaf.sharding, global_shape=leaf.shape, dtype=leaf.dtype)
        if (leaf := wanted.get(path)) is not None
        else ocp.RestoreArgs()
        for path in stored
    }
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
        restored = reader.restore(
            folder / "state", args=ocp.args.PyTreeRestore(_nested(items), restore_args=_nested(places))
        )
    arrays = parameters.by_path(restored)
    lost = [path for path in wanted if not isinstance(arrays.get(path), jax.Array)]
    assert not lost, f"orbax gave no array for {lost}"
    return {path: arrays[path] for path in wanted}


def _read_json(folder: epath.Path) -> dict[str, Any]:
    with ocp.Checkpointer(ocp.JsonCheckpointHandler()) as reader:
        return reader.restore(folder)


def _steps(folder: epath.Path) -> list[int]:
    """Folders named as a step, whole or not."""
    if not folder.exists():
        return []
    return sorted(int(entry.name) for entry in folder.iterdir() if entry.name.isdigit())


def _is_whole(folder: epath.Path) -> bool:
    whole = all((folder / part).exists() for part in _WHOLE)
    if not whole:
        _log.warning("checkpoint %s is not whole: it is passed over", folder)
    return whole


def _set_aside_broken(folder: epath.Path) -> None:
    """Renames steps that are not whole: orbax would count them as its latest, and delete good ones in their favour."""
    if jax.process_index() == 0:
        for step in _steps(folder):
            if not _is_whole(folder / str(step)):
                name, number = f"{step}.broken", 1
                while (folder / name).exists():
                    name, number = f"{step}.broken{number}", number + 1
                _log.warning("checkpoint %s is set aside as %s", folder / str(step), name)
                (folder / str(step)).rename(folder / name)
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(f"broken checkpoints of {folder} are set aside")
