"""The steps of a checkpoints folder: which are there, which are whole, and which are as they were written."""

import json
import logging
import os
import pathlib
from collections.abc import Sequence

import jax
from etils import epath
from jax.experimental import multihost_utils

from speechlm_jax import checksums, peers, storage, whole_files

NAME = "checkpoints"
"""The folder in a run's folder."""

NOTES = ("_CHECKPOINT_METADATA", "commit_success.txt")
"""What orbax writes while a step gets its name, when the checksums of all else stand already."""
META = "meta/metadata"
"""Where a step says of itself what it is."""
_WHOLE = (*NOTES, checksums.NAME, "state/_METADATA", "stream/metadata", META)
UNFINISHED, _BROKEN, _UNDONE = ".orbax-checkpoint-tmp", ".broken", ".undone"
"""What stands behind a step's number while it is being written, and once it was set aside: because it is not as it was
written, or because the run went back behind it."""
_log = logging.getLogger(__name__)


def absolute(path: str | epath.PathLike) -> epath.Path:
    """Orbax wants whole paths; those with a scheme, such as gs://, are."""
    return epath.Path(path) if "://" in str(path) else epath.Path(path).absolute()


def among(path: str | epath.PathLike) -> list[epath.Path]:
    """The steps that `path` means, whole or not, the oldest first: those of a run's folder or of its checkpoints
    folder, or the one that it is."""
    given = absolute(path)
    if given.name.isdigit() and _is_there(given / "state"):
        return [given]
    folder = given / NAME if _is_there(given / NAME) else given
    return [folder / str(step) for step in numbers(folder)]


def latest(folder: str | epath.PathLike) -> int | None:
    """The newest step in a checkpoints folder whose files are all there; what they hold is not looked at."""
    steps = numbers(epath.Path(folder))
    return max((step for step in steps if _is_whole(epath.Path(folder) / str(step))), default=None)


def find(path: str | epath.PathLike) -> epath.Path:
    """The folder of the step that `path` means, which is as it was written: a run's folder, its checkpoints folder, or
    one step. Of a folder it is the newest such. Raises ValueError where there is none."""
    given, steps = absolute(path), among(path)
    if steps == [given]:
        check(given)
        return given
    if not steps:
        raise ValueError(
            f"reading a checkpoint from {given}: found none, or none yet. Wanted a run's folder, its checkpoints "
            "folder, or one step."
        )
    for step in reversed(steps):
        found = faults(step)
        if not found:
            return step
        _log.warning("checkpoint %s is passed over: %s", step, in_words(found))
    raise ValueError(
        f"reading a checkpoint from {given}: none of its {len(steps)} steps is as it was written. Bring back what they "
        "were, or name another run."
    )


def numbers(folder: epath.Path) -> list[int]:
    """Folders named as a step, whole or not."""
    if not _is_there(folder):
        return []
    return sorted(int(entry.name) for entry in folder.iterdir() if entry.name.isdigit())


def others(folder: epath.Path) -> list[str]:
    """What is no step: steps that were set aside, and what is left of saves that failed."""
    names = (entry.name for entry in folder.iterdir() if entry.is_dir())
    return sorted(name for name in names if any(kind in name for kind in (UNFINISHED, _BROKEN, _UNDONE)))


def _is_whole(folder: epath.Path) -> bool:
    whole = not missing(folder)
    if not whole:
        _log.warning("checkpoint %s is not whole: it is passed over", folder)
    return whole


def missing(folder: epath.Path) -> list[str]:
    """What a step's folder lacks, a line for each file."""
    return [f"{part}: missing" for part in _WHOLE if not _is_there(folder / part)]


def _is_there(path: epath.Path) -> bool:
    """Whether a path is there, to which `exists` says no where storage does not answer, too."""
    if path.exists():
        return True
    try:
        storage.patiently(path.stat, f"looking for {path}", lambda: list(path.parent.iterdir()))
    except storage.NoAnswer:
        raise
    except Exception:  # Stores have kinds of their own for what is not there.
        return False
    return True


def faults(folder: epath.Path, share: float = 1.0) -> list[str]:
    """What of a step's folder is not as it was written, a line for each file; of the bytes a share is compared."""
    return missing(folder) or checksums.differences(folder, share=share, without=NOTES) or _misplaced(folder)


def _misplaced(folder: epath.Path) -> list[str]:
    """What tells that a step stands under the number of another: it would be gone on from as if so many were done."""
    if not folder.name.isdigit():
        return []
    path = pathlib.Path(folder / META)
    try:
        text = storage.patiently(lambda: whole_files.read_text(path), f"reading {path}", lambda: os.listdir(folder))
        told = json.loads(text)
    except (OSError, ValueError) as error:
        return [f"{META}: {error}"]
    step = told.get("step") if isinstance(told, dict) else None
    return [] if step in (None, int(folder.name)) else [f"{META}: it is of step {step}"]


def check(folder: epath.Path, share: float = 1.0) -> None:
    """Raises ValueError where a step's folder is not as it was written."""
    if found := faults(folder, share):
        raise ValueError(
            f"reading checkpoint {folder}: it is not as it was written ({in_words(found)}). Name another step."
        )


def in_words(found: Sequence[str]) -> str:
    """The first few faults, on one line."""
    return "; ".join(found[:3]) + (f"; and {len(found) - 3} more" if len(found) > 3 else "")


def set_aside_broken(folder: epath.Path, share: float) -> None:
    """Renames steps that are not whole, which orbax would count as its latest, deleting good ones in their favour; and
    from the newest on those that are not as they were written, until one is. Every process of a run calls it.

    Raises ValueError, and renames nothing, where there are steps and none is as it was written: the run would begin
    anew where somebody thinks that it goes on.
    """
    broken, good = _judged(folder, share) if jax.process_index() == 0 else ({}, True)
    if not peers.said_by_the_first(good):
        told = "; ".join(f"{step}: {in_words(found)}" for step, found in list(broken.items())[:3])
        raise ValueError(
            f"going on from {folder}: none of its steps is as it was written ({told or 'the first process says why'}). "
            "Bring back what it was, set Recipe.run_dir to another folder, or remove this one to begin anew."
        )
    for step, found in broken.items():
        _set_aside(folder / str(step), _BROKEN, in_words(found))
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(f"broken checkpoints of {folder} are set aside")


def set_aside_undone(folder: epath.Path, *, first: int) -> None:
    """Renames the steps from `first` on, behind which a run goes back. Every process of a run calls it."""
    if jax.process_index() == 0:
        # The newest first: a process that is killed meanwhile must not leave one for the run to go on from.
        for step in reversed(numbers(folder)):
            if step >= first:
                _set_aside(folder / str(step), _UNDONE, "the run goes back behind it")
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(f"checkpoints of {folder} from step {first} on are set aside")


def check_room(folder: epath.Path) -> None:
    """Raises ValueError where the first process can make nothing in a folder, or rename no folder that is not empty, as
    some mounted buckets let nobody: a step gets its name so. Every process of a run calls it, so that no other begins
    what needs the first one."""
    why = ""
    if jax.process_index() == 0:
        try:
            probe, renamed = (folder / f"{name}{UNFINISHED}" for name in ("probe", "renamed"))
            probe.mkdir(exist_ok=True)
            (probe / "file").touch()
            probe.rename(renamed)
            renamed.rmtree()
        except Exception as error:  # Stores have kinds of their own.
            why = f"{error}"
    if not peers.said_by_the_first(not why):
        raise ValueError(why or "the first process can make nothing there")


def newest_good(folder: epath.Path, share: float, *, before: int) -> int | None:
    """The last step before another that is as it was written. Every process of a run calls it; the first one looks."""
    found = -1
    if jax.process_index() == 0:
        earlier = (step for step in reversed(numbers(folder)) if step < before)
        found = next((step for step in earlier if not faults(folder / str(step), share)), -1)
    found = peers.said_by_the_first(found)
    return None if found < 0 else found


def _set_aside(step: epath.Path, kind: str, why: str) -> None:
    name, number = f"{step.name}{kind}", 1
    while (step.parent / name).exists():
        name, number = f"{step.name}{kind}{number}", number + 1
    _log.warning("checkpoint %s is set aside as %s: %s", step, name, why)
    step.rename(step.parent / name)


def _judged(folder: epath.Path, share: float) -> tuple[dict[int, list[str]], bool]:
    """What is wrong with which steps, from the newest on, and whether there is a good one, or none at all."""
    broken: dict[int, list[str]] = {}
    newest_is_good = False
    for step in reversed(numbers(folder)):
        found = missing(folder / str(step)) if newest_is_good else faults(folder / str(step), share)
        if found:
            broken[step] = found
        else:
            newest_is_good = True
    return broken, newest_is_good or not broken
