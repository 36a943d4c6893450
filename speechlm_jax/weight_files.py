"""Weights by their names in safetensors files, in one or in several, as transformers lays them out in a folder."""

import json
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from speechlm_jax import whole_files

ALL, INDEX = "model.safetensors", "model.safetensors.index.json"
WRITTEN = "what was written. Export again."
"""For `check_same`: what an export should read back."""
Arrays = dict[str, np.ndarray]


def write(folder: pathlib.Path, arrays: Mapping[str, np.ndarray], *, shard_bytes: int = 5 * 10**9) -> None:
    """Writes arrays in as many files as it takes, none larger than `shard_bytes` unless one array is."""
    from safetensors import numpy as safetensors

    folder.mkdir(parents=True, exist_ok=True)
    shards = list(_shards(arrays, shard_bytes))
    names = [ALL]
    if len(shards) > 1:
        count = len(shards)
        names = [f"model-{number:05}-of-{count:05}.safetensors" for number in range(1, count + 1)]
    for name, shard in zip(names, shards, strict=True):
        with whole_files.whole(folder / name) as part:
            part.touch()
            mode = part.stat().st_mode
            safetensors.save_file(shard, part, metadata={"format": "pt"})
            # The library leaves what its owner alone may read, and what is exported is for others.
            part.chmod(mode)
    if len(shards) > 1:
        places = {weight: name for name, shard in zip(names, shards, strict=True) for weight in shard}
        size = sum(array.nbytes for array in arrays.values())
        whole_files.write_json(folder / INDEX, {"metadata": {"total_size": size}, "weight_map": places})


def read(folder: pathlib.Path, doing: str) -> Arrays:
    """All arrays of a folder. Raises ValueError where there are none, or one of its files is damaged."""
    from safetensors import numpy as safetensors

    files = [folder / ALL]
    if (folder / INDEX).exists():
        places = read_json(folder / INDEX).get("weight_map")
        names = {*map(str, places.values())} if isinstance(places, dict) else {"weight_map"}
        files = [folder / name for name in sorted(names)]
    found: Arrays = {}
    for file in files:
        if file.parent != folder or file.name == ".." or not file.is_file():
            raise ValueError(f"{doing}: there is no {file}. Save it as safetensors first.")
        try:
            found |= safetensors.load_file(file)
        except Exception as error:  # The library raises one of its own.
            raise ValueError(f"{doing}: {file} is damaged ({error}). Fetch it again.") from error
    return found


def check_same(found: Arrays, wanted: Iterable[tuple[str, np.ndarray]], doing: str, otherwise: str) -> None:
    """Raises ValueError, which names the first of them and says what to do otherwise, where arrays are not those that
    are wanted."""
    for name, array in wanted:
        if name not in found or not np.array_equal(found[name], array):
            raise ValueError(f"{doing}: {name} is not {otherwise}")


def read_json(path: pathlib.Path) -> dict[str, Any]:
    """An object of JSON that transformers has written. Raises ValueError for what is none."""
    try:
        told = json.loads(whole_files.read_text(path))
    except (OSError, ValueError) as error:
        raise ValueError(f"reading {path}: {error}. Name a folder that transformers has written.") from error
    if not isinstance(told, dict):
        raise ValueError(f"reading {path}: wanted an object of JSON, found {type(told).__name__}.")
    return told


def _shards(arrays: Mapping[str, np.ndarray], most: int) -> Iterator[Arrays]:
    """Arrays in groups of so many bytes at most, or of one array."""
    shard: Arrays = {}
    for name, array in arrays.items():
        if shard and sum(other.nbytes for other in shard.values()) + array.nbytes > most:
            yield shard
            shard = {}
        shard[name] = array
    yield shard
