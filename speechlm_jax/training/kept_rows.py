"""How a batch of a run was laid out, kept in its folder: of some rows the segment that each place belongs to."""

import os
import pathlib
import zipfile
import zlib
from collections.abc import Mapping

import numpy as np

from speechlm_jax import batch, whole_files

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
    arrays = {name: lane.astype(np.int32) for name, lane in lanes.items()}
    with whole_files.whole(path) as part, open(part, "wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def read(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """By lane. Raises ValueError for a file that is none of `write`."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: np.atleast_2d(arrays[name]) for name in arrays.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"reading the rows of {path}: the file is damaged ({error}).") from None
