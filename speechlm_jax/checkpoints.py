"""Checkpoints of a run: orbax behind a thin layer that decides which step counts, and restores all of it or nothing.

A run's folder holds checkpoints/<step>/{state,stream,meta}. In `state` every array stands under its path, such as
'params/encoder/stack/attention/query'; `meta` tells shape, dtype and words of each, so that parameters can be read
without the program that wrote them. Checksums of all files stand in a step before it bears its name, and no step is
read that is not as they say.
"""

import contextlib
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp
from etils import epath
from flax import nnx, traverse_util
from jax.sharding import Mesh, SingleDeviceSharding
from orbax.checkpoint.checkpoint_managers import preservation_policy as preservation

from speechlm_jax import checkpoint_meetings, checkpoint_meta, checkpoint_steps, checksums, parameters, peers, sharding

_SLICE_BYTES = 2**20
"""At least, of what each of several devices writes of an array that they all have: to cut a small one costs more than
to write it."""
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

    def __init__(
        self,
        folder: str | epath.PathLike,
        *,
        keep: int = 3,
        besides: Sequence[preservation.PreservationPolicy] = (),
        verified: float = 1.0,
        max_failed: int = 3,
        limit_seconds: int = 1200,
    ):
        """`folder`: the run's. Only the last `keep` steps are kept, and what else is wanted `besides`. Steps that are
        not whole, and the newest ones until one is as it was written, are set aside; raises ValueError where that
        leaves none.

        verified: of the bytes of a step, the share whose content is compared before it is read. max_failed: so many
        saves in a row that fail are an error; before that they are told, and the run goes on. limit_seconds: of a save.
        """
        if keep < 2:
            raise ValueError(
                f"keeping checkpoints: wanted 2 or more, so that two stand while the next is written, found {keep}. "
                "Set Checkpoints.keep."
            )
        self.path = checkpoint_steps.absolute(folder) / checkpoint_steps.NAME
        self._share, self._max_failed, self._failed = verified, max_failed, 0
        self._lost: ValueError | None = None
        self._meetings = checkpoint_meetings.Meetings()
        # Not left to orbax: its thread may find what the first save tries the folder with, and fails every save then.
        self._remove_remains()
        checkpoint_steps.set_aside_broken(self.path, verified)
        options = ocp.CheckpointManagerOptions(
            preservation_policy=preservation.AnyPreservationPolicy([preservation.LatestN(keep), *besides]),
            async_options=ocp.AsyncOptions(
                timeout_secs=limit_seconds,
                post_finalization_callback=self._sum_up,
                barrier_sync_fn=self._meetings.meet,
            ),
        )
        self._manager = ocp.CheckpointManager(self.path, options=options, handler_registry=_handlers())
        # The newest that is left has just been compared.
        self._saved = self._sealed = self._compared = self._agreed_latest()

    def save(self, step: int, state: Any, *, stream: Mapping[str, Any], meta: Mapping[str, Any]) -> None:
        """Saves in the background; the state may be donated as soon as this returns. A step is saved once. Raises
        ValueError where this and the saves before it have failed.

        Args:
            state: any pytree of arrays; those of parameters stand under 'params' and 'ema'.
            stream: JSON: where the data stand, of all processes.
            meta: JSON that the caller knows: 'vocabulary' (hash), 'recipe' (text), 'model' (dict), and what it likes.
        """
        if step == self._saved:
            return
        with self._surviving():
            self._finish()
        self._lost = None
        leaves = parameters.by_path(state)
        arrays = {path: parameters.array(leaf) for path, leaf in leaves.items()}
        items = ocp.args.Composite(
            state=ocp.args.PyTreeSave(traverse_util.unflatten_dict(arrays, sep="/")),
            stream=ocp.args.JsonSave(dict(stream)),
            meta=ocp.args.JsonSave({**meta, **checkpoint_meta.own(step, leaves)}),
        )
        self._saved = step
        self._meetings.begin()
        ready = False
        with self._surviving(), self._explained():
            checkpoint_steps.check_room(self.path)
            # Nobody writes to them any more: every process has come here.
            self._remove_remains()
            ready = True
        # What fails in here in one process of several leaves the others in a collective: the run cannot go on.
        survives = self._surviving() if jax.process_count() == 1 else contextlib.nullcontext()
        if ready:
            with survives, self._explained():
                self._manager.save(step, args=items, force=True)

    def _sum_up(self) -> None:
        """Writes the checksums of the step that is being written; then orbax gives it its name."""
        (folder,) = self.path.glob(f"{self._saved}{checkpoint_steps.UNFINISHED}*")
        checksums.write(folder, without=checkpoint_steps.NOTES)

    def tend(self) -> None:
        """Looks after what is saved in the background; to be called between steps. Waits for nothing that takes long.
        Raises as `save` does."""
        if self._saved != self._sealed and not self._manager.is_saving_in_progress():
            with self._surviving():
                self._finish()

    def wait(self) -> None:
        """Returns when the last step that was to be saved is on disk. Raises ValueError where it will never be."""
        self._finish()
        if self._lost is not None:
            raise self._lost

    def _finish(self) -> None:
        """Waits for the step that is being saved, if one is."""
        if self._saved == self._sealed:
            return
        with self._explained():
            self._manager.wait_until_finished()
        if jax.process_index() == 0:
            # Orbax writes its notes on a step last. It is whole without them in the table.
            try:
                checksums.add(self.path / str(self._saved), checkpoint_steps.NOTES)
            except (OSError, ValueError) as error:
                _log.warning("adding to the checksums of step %d in %s: %s", self._saved, self.path, error)
        self._sealed, self._failed = self._saved, 0

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Says of an error that a step was being saved, which then it is not."""
        try:
            yield
        except Exception as error:
            step, self._saved = self._saved, self._sealed
            self._meetings.fail(error)
            with contextlib.suppress(OSError):
                # Orbax has struck off what it would have removed once this step was there.
                self._manager.reload()
            # Where others may still write to them, they would wait for ever for what is gone.
            if jax.process_count() == 1:
                self._remove_remains()
            raise ValueError(
                f"saving step {step} to {self.path}: {error}. Make room there, or mend what keeps it from being written"
            ) from error

    def _remove_remains(self) -> None:
        """Removes what was written of steps that failed, which may be what fills the disk."""
        for left in self.path.glob(f"*{checkpoint_steps.UNFINISHED}*") if jax.process_index() == 0 else ():
            with contextlib.suppress(OSError):
                left.rmtree(missing_ok=True)

    @contextlib.contextmanager
    def _surviving(self) -> Iterator[None]:
        """Lets a run go on without a save that failed, but not for ever."""
        try:
            yield
        except ValueError as error:
            self._failed, self._lost = self._failed + 1, error
            if self._failed >= self._max_failed:
                raise ValueError(
                    f"{error}. It is the failure number {self._failed} in a row; Checkpoints.max_failed says how often "
                    "a run goes on without."
                ) from error
            _log.error("%s. The run goes on without (%d of %d)", error, self._failed, self._max_failed)

    def _agreed_latest(self) -> int | None:
        """The latest step as the first process sees it: of what one has renamed, others may see the former name."""
        return peers.said_by_the_first(self.latest() or 0) or None

    @property
    def published(self) -> int | None:
        """The last step that this process knows to be whole on the disk."""
        return self._sealed

    def latest(self) -> int | None:
        """The step to go on from."""
        return checkpoint_steps.latest(self.path)

    def told(self, abstract: Any, *, step: int | None = None, vocabulary: str | None = None) -> Restored:
        """A step as `restore` gives it, and with what that raises, but for the arrays: the state is `abstract`."""
        step = self.latest() if step is None else step
        if step is None:
            raise ValueError(f"restoring from {self.path}: there is no checkpoint. Set Recipe.run_dir.")
        folder = self.path / str(step)
        if step != self._compared:
            checkpoint_steps.check(folder, self._share)
        meta = checkpoint_meta.read(folder)
        checkpoint_meta.check_vocabulary(meta, vocabulary, doing=f"restoring {folder}")
        wanted = {path: parameters.describe(leaf) for path, leaf in parameters.by_path(abstract).items()}
        parameters.raise_differences(
            parameters.differences(wanted, {path: leaf["array"] for path, leaf in meta["leaves"].items()}),
            doing=f"restoring {folder}",
            mend="Bring back the model and optimizer of the run, or start a new one from it with Finetune.checkpoint.",
        )
        return Restored(step, abstract, checkpoint_meta.read_json(folder / "stream"), meta)

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

    def restore_before(self, abstract: Any, before: int, *, vocabulary: str | None = None) -> Restored:
        """The state of the newest step before another that is as it was written. Arguments are those of `restore`.
        Raises ValueError where there is none, or as `restore` and `save` do."""
        with self._surviving():
            self._finish()
        if (found := checkpoint_steps.newest_good(self.path, self._share, before=before)) is None:
            raise ValueError(f"going back behind step {before}: there is no checkpoint before it in {self.path}")
        self._compared = found
        return self.restore(abstract, step=found, vocabulary=vocabulary)

    def undo(self, first: int) -> None:
        """Sets the steps from `first` on aside, which may then be saved again."""
        checkpoint_steps.set_aside_undone(self.path, first=first)
        self._manager.reload()
        self._saved = self._sealed = self._agreed_latest()

    def close(self) -> None:
        """Waits, and frees the threads. Where something else has ended the run, a save that failed is only told."""
        ended = sys.exc_info()[1]
        try:
            self._finish()
        except ValueError as error:
            if ended is None:
                raise
            _log.error("%s", error)
        finally:
            self._close_manager(told=sys.exc_info()[1] is not None or self._lost is not None)

    def _close_manager(self, *, told: bool) -> None:
        """`told`: whether somebody has said what went wrong; orbax keeps by what a save has failed, and raises it."""
        try:
            self._manager.close()
        except Exception as error:
            if not told:
                raise ValueError(f"closing {self.path}: {error}") from error
            _log.info("closing %s: %s", self.path, error)


def restore_params(
    folder: epath.Path,
    *,
    mesh: Mesh | None = None,
    use_ema: bool = True,
    only: Callable[[str], bool] = lambda path: True,
) -> Weights:
    """The parameters of a checkpoint, without the rest of its state; the program that wrote them is not needed.

    Args:
        folder: of one step, as `checkpoint_steps.find` gives it.
        mesh: where they are laid out; None: on one device.
        use_ema: the moving average, of the parameters that have one.
        only: the paths that are read.
    """
    meta = checkpoint_meta.read(folder)
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


def _abstract(leaf: Mapping[str, Any]) -> nnx.Param:
    """A parameter's description, from its line in `meta`."""
    return nnx.Param(parameters.described(leaf["array"]), axes=tuple(leaf["axes"]))


def _read(folder: epath.Path, wanted: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, jax.Array]:
    """Path -> array, for the `wanted` among the `stored`; the others are not touched."""
    places = {
        path: ocp.ArrayRestoreArgs(sharding=leaf.sharding, global_shape=leaf.shape, dtype=leaf.dtype)
        for path, leaf in wanted.items()
    }
    arrays = read_arrays(folder, places, stored)
    lost = [path for path in wanted if not isinstance(arrays.get(path), jax.Array)]
    assert not lost, f"orbax gave no array for {lost}"
    return arrays


def _handlers() -> ocp.handlers.CheckpointHandlerRegistry:
    """By which the items of a step are written. Without orbax's own metadata of arrays: `meta` tells more of them."""
    handler = ocp.type_handlers.ArrayHandler(min_slice_bytes_for_replica_parallel=_SLICE_BYTES)
    arrays = ocp.type_handlers.create_type_handler_registry((jax.Array, handler))
    handlers = ocp.handlers.DefaultCheckpointHandlerRegistry()
    handlers.add("state", ocp.args.PyTreeSave, ocp.PyTreeCheckpointHandler(type_handler_registry=arrays))
    for item in ("stream", "meta"):
        handlers.add(item, ocp.args.JsonSave, ocp.JsonCheckpointHandler())
    return handlers


def read_arrays(folder: epath.Path, places: Mapping[str, ocp.RestoreArgs], stored: Iterable[str]) -> dict[str, Any]:
    """Path -> array, for those among the `stored` that have a place to be read to; the others are not touched."""
    items = traverse_util.unflatten_dict({p: 0 if p in places else ocp.PLACEHOLDER for p in stored}, sep="/")
    own = traverse_util.unflatten_dict({path: places.get(path, ocp.RestoreArgs()) for path in stored}, sep="/")
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
        try:
            restored = reader.restore(folder / "state", args=ocp.args.PyTreeRestore(items, restore_args=own))
        except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
            raise ValueError(
                f"reading the arrays of {folder}: {type(error).__name__}: {str(error)[:500]}. Bring back what it was."
            ) from error
    arrays = parameters.by_path(restored)
    return {path: arrays[path] for path in places if path in arrays}
