"""How a batch of a run was laid out, kept in its folder: of some rows the segment that each place belongs to."""

import os
import pathlib
from collections.abc import Mapping

import numpy as np

from speechlm_jax import array_files, batch

FILE = "rows.npz"
_MOST = 8
"""Rows that are kept."""


def ids(rows: batch.Batch) -> dict[str, np.ndarray]:
    """Of each lane those of the first rows that lie on this process's first device, "B S"."""
    return {
        name: np.asarray(lane.addressable_shards[0].data if hasattr(lane, "addressable_shards") else lane)[:_MOST]
        for name, lane in rows.segment_ids().items()
    }


def write(path: pathlib.Path, lanes: Mapping[str, np.ndarray]) -> None:
    """Replaces the file."""
    array_files.write(path, {name: lane.astype(np.int32) for name, lane in lanes.items()})


def read(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """By lane. Raises ValueError for a file that is none of `write`."""
    doing = "reading how rows of a run are laid out"
    lanes, _ = array_files.read(path, doing)
    strange = [name for name, lane in lanes.items() if lane.ndim != 2 or lane.dtype.kind not in "iu"]
    if strange:
        raise ValueError(f"{doing}: {path} has lanes that are none: {', '.join(strange)}.")
    return lanes
