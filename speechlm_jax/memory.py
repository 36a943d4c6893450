"""Memory of a device: what a compiled program needs of it, and how much there is."""

import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

GB = 10**9
MEND = (
    "To make it fit: fewer Data.rows, a higher Optimizer.accumulate, Model.remat = 'full', Layout.fsdp or .tensor over "
    "more devices, or a smaller model."
)


def gb(size: float) -> str:
    """Bytes for people."""
    return f"{size / GB:.2f} GB"


def held(tree: Any) -> int:
    """Bytes of one device's part of a pytree of ShapeDtypeStructs with shardings."""
    return sum(
        int(np.prod(leaf.sharding.shard_shape(leaf.shape), dtype=np.int64)) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(tree)
    )


def peak(compiled: Any) -> int:
    """Bytes of arguments, results that lie elsewhere, temporaries and the program itself; 0 where the compiler does not
    tell."""
    told = compiled.memory_analysis()
    if told is None:
        return 0
    return int(
        told.argument_size_in_bytes
        + told.output_size_in_bytes
        - told.alias_size_in_bytes
        + told.temp_size_in_bytes
        + told.generated_code_size_in_bytes
    )


def of_host(compiled: Any) -> int:
    """Bytes that a program keeps in the memory of the host."""
    told = compiled.memory_analysis()
    return 0 if told is None else int(told.host_temp_size_in_bytes)


_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SIZE = r"([\d.]+)([KMGT]?)"
_IN_ALL = re.compile(rf"Used {_SIZE} of {_SIZE} hbm")
_TEMPORARIES = re.compile(rf"HLO temporaries \({_SIZE}\) exceeds available HBM \({_SIZE}\)")


def refused(error: Exception, kept: int) -> tuple[int, int] | None:
    """(bytes needed, bytes there) of a program that the compiler found no room for; None of any other error.

    kept: bytes of its arguments, which the compiler may leave out.
    """
    in_all, temporaries = _IN_ALL.search(str(error)), _TEMPORARIES.search(str(error))
    found = in_all or temporaries
    if "RESOURCE_EXHAUSTED" not in str(error) or found is None:
        return None
    needed, there = (int(float(size) * _UNITS[unit]) for size, unit in (found.group(1, 2), found.group(3, 4)))
    return needed + (0 if in_all else kept), there


def of_device(device: Any) -> int | None:
    """Bytes that this process may have of one of its devices. Those of a CPU share what its computer has, or what the
    process's control group (a container, a job of Slurm's) may have of it. None where nobody tells."""
    if device.platform == "cpu":
        pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return min(pages, *_group_limits()) // jax.local_device_count("cpu")
    try:
        told: Mapping[str, int] = device.memory_stats() or {}
    except jax.errors.JaxRuntimeError:  # It is another process's, or not there.
        return None
    return told.get("bytes_limit")


_GROUPS = pathlib.Path("/sys/fs/cgroup")
_LIMITS = ("memory.max", "memory.limit_in_bytes")
"""The files in which Linux tells what a group of processes may have, in version 2 and 1 of its control groups."""


def _group_limits(groups: pathlib.Path = _GROUPS, of: pathlib.Path = pathlib.Path("/proc/self/cgroup")) -> list[int]:
    """What the groups may have that this process belongs to, from the innermost out."""
    if not of.exists():
        return []
    found = []
    for line in of.read_text().splitlines():
        _, kind, path = line.split(":", 2)
        if kind not in ("", "memory"):
            continue
        root = groups / kind
        inner = root / path.lstrip("/")
        for folder in (inner, *inner.parents):
            texts = [(folder / name).read_text().strip() for name in _LIMITS if (folder / name).exists()]
            found += [int(text) for text in texts if text.isdigit()]
            if folder == root:
                break
    return found


def check(needed: int, there: int | None, doing: str) -> None:
    """Raises ValueError where a program needs more of a device than there is."""
    if there is not None and needed > there:
        raise ValueError(f"{doing} needs {gb(needed)} of each device, which has {gb(there)}. {MEND}")
