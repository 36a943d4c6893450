"""What there is to know of checkpoints from their files alone, as JSON and as lines for people ('lines')."""

import difflib
import pathlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from speechlm_jax import checkpoint_meta, checkpoint_steps, checkpoints, parameters, whole_files

_AT_ONCE_BYTES = 1 << 30
"""Arrays that are compared are read about so much at a time, of each checkpoint."""


def inspect(path: str) -> dict[str, Any]:
    """The steps that are there, and what the newest good one, or the one that is named, holds."""
    folder = checkpoint_steps.find(path)
    meta = checkpoint_meta.read(folder)
    leaves = meta["leaves"]
    sizes = {name: _size(leaf["array"]) for name, leaf in leaves.items()}
    roots: dict[str, list[str]] = {}
    for name in leaves:
        roots.setdefault(name.partition("/")[0], []).append(name)
    steps = {step: _files(folder.parent / str(step)) for step in checkpoint_steps.numbers(folder.parent)}
    lines = [f"{folder.parent}"]
    for step, own in steps.items():
        here = "  <- this one" if step == int(folder.name) else ""
        lines.append(f"  step {step:>9}  {own['saved']}  {own['bytes'] / 1e6:>12,.1f} MB{here}")
    lines += [f"  {name}, set aside or left over" for name in checkpoint_steps.others(folder.parent)]
    lines.append(f"step {folder.name}, written with " + ", ".join(f"{k} {v}" for k, v in meta["versions"].items()))
    words = meta.get("vocabulary")
    lines.append(f"  schema {meta['schema']}, mesh {_mesh(meta)}, {meta['processes']} processes, vocabulary {words}")
    if "batches" in meta:
        lines.append(f"  chain of the batches until then: {meta['batches']}")
    lines.append("  model: " + ", ".join(f"{k} {v}" for k, v in meta.get("model", {}).items()))
    for root, names in roots.items():
        numbers, size = (sum(sizes[name][k] for name in names) for k in (0, 1))
        lines.append(f"  {root}: {len(names)} arrays, {numbers:,} numbers, {size / 1e6:,.1f} MB")
        for name in names:
            words = " ".join(word or "-" for word in leaves[name]["axes"])
            lines.append(f"    {name:<72} {leaves[name]['array']:<24} {words}".rstrip())
    return {"folder": str(folder), "step": int(folder.name), "steps": steps, "meta": meta, "lines": lines}


def verify(path: str) -> dict[str, Any]:
    """Each step's content against its checksums, of the newest first."""
    folders = checkpoint_steps.among(path)
    if not folders:
        raise ValueError(f"verifying {path}: found no step. Name a run's folder, its checkpoints folder, or one step.")
    steps = {int(folder.name): checkpoint_steps.faults(folder) for folder in reversed(folders)}
    lines = []
    for step, found in steps.items():
        lines.append(f"step {step}: " + ("as it was written" if not found else f"{len(found)} files are not"))
        lines += [f"  {fault}" for fault in found]
    return {"steps": steps, "broken": [step for step, found in steps.items() if found], "lines": lines}


def diff(path: str, other: str, *, values: bool) -> dict[str, Any]:
    """In what two checkpoints differ; the first is what was wanted, the second what was found."""
    folders = [checkpoint_steps.find(one) for one in (path, other)]
    metas = [checkpoint_meta.read(folder) for folder in folders]
    described = [{name: leaf["array"] for name, leaf in meta["leaves"].items()} for meta in metas]
    arrays = parameters.differences(*described)
    found: dict[str, Any] = {"folders": [*map(str, folders)], "arrays": arrays}
    lines = [f"- {folders[0]}", f"+ {folders[1]}", *arrays]
    for key in ("schema", "vocabulary", "versions", "mesh", "processes", "losses", "batches"):
        pair = [meta.get(key) for meta in metas]
        if pair[0] != pair[1]:
            found[key] = pair
            lines.append(f"{key}: {pair[0]} -> {pair[1]}")
    texts = [meta.get("recipe", "").splitlines() for meta in metas]
    # Behind the names of the two.
    recipe = [line for line in [*difflib.unified_diff(*texts, n=0, lineterm="")][2:] if not line.startswith("@@")]
    found["recipe"] = recipe
    lines += recipe
    if values:
        alike = [name for name in described[0] if described[0][name] == described[1].get(name)]
        changed = dict(_changes(folders, metas, alike))
        found["values"] = {"compared": len(alike), "changed": changed}
        lines.append(f"{len(alike) - len(changed)} of {len(alike)} arrays are the same, bit for bit")
        lines += [f"  {name}: differs by up to {one:.3g}" for name, one in changed.items()]
    if len(lines) == 2:
        lines.append("no difference" + ("" if values else " but, perhaps, in their numbers: --values"))
    return {**found, "lines": lines}


def prune(path: str, *, keep: int, remove: bool) -> dict[str, Any]:
    """Removes, or tells, what is not among the `keep` newest good steps of a run, unless there is no good one. What the
    run keeps besides, as the best one, is not known here."""
    steps = checkpoint_steps.among(path)
    if not steps or steps == [checkpoint_steps.absolute(path)]:
        raise ValueError(f"pruning {path}: wanted a run's folder or its checkpoints folder, found no steps in it.")
    folder = steps[0].parent
    with whole_files.alone(pathlib.Path(folder.parent), "pruning the checkpoints of"):
        good: list[int] = []
        for step in reversed(steps):
            if len(good) < keep and not checkpoint_steps.faults(step):
                good.append(int(step.name))
        if not good:
            raise ValueError(
                f"pruning {folder}: none of its {len(steps)} steps is as it was written; nothing is removed."
            )
        going = [*(step.name for step in steps if int(step.name) not in good), *checkpoint_steps.others(folder)]
        size = sum(_files(folder / name)["bytes"] for name in going)
        for name in going if remove else ():
            (folder / name).rmtree()
    lines = [f"{'removed' if remove else 'would remove'} {name}" for name in going]
    lines.append(f"{size / 1e6:,.1f} MB; steps that stay: {', '.join(map(str, sorted(good)))}")
    if going and not remove:
        lines.append("--remove does it")
    return {"kept": sorted(good), "gone": going, "bytes": size, "removed": remove, "lines": lines}


def _files(folder: epath.Path) -> dict[str, Any]:
    files = [path.stat() for path in pathlib.Path(folder).rglob("*") if path.is_file()]
    newest = max((file.st_mtime for file in files), default=0)
    return {
        "bytes": sum(file.st_size for file in files),
        "saved": time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(newest)),
    }


def _size(described: str) -> tuple[int, int]:
    """(numbers, bytes) of an array such as 'float32[512,2048]'."""
    array = parameters.described(described)
    return array.size, array.size * array.dtype.itemsize


def _mesh(meta: Mapping[str, Any]) -> str:
    return " x ".join(f"{axis} {size}" for axis, size in meta["mesh"].items()) or "of one device"


def _changes(folders: list[epath.Path], metas: list[dict[str, Any]], names: list[str]) -> Iterator[tuple[str, float]]:
    """(array, largest difference) of those that differ in a bit."""
    part: list[str] = []
    size = 0
    for place, name in enumerate(names, 1):
        part.append(name)
        size += _size(metas[0]["leaves"][name]["array"])[1]
        if size < _AT_ONCE_BYTES and place < len(names):
            continue
        places = dict.fromkeys(part, ocp.RestoreArgs(restore_type=np.ndarray))
        one, other = (
            checkpoints.read_arrays(folder, places, meta["leaves"]) for folder, meta in zip(folders, metas, strict=True)
        )
        for name in part:
            if np.asarray(one[name]).tobytes() != np.asarray(other[name]).tobytes():
                first, second = (np.asarray(arrays[name], np.float64) for arrays in (one, other))
                yield name, float(np.max(np.abs(first - second)))
        part, size = [], 0
