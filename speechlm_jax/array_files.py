"""Files of a few named arrays, and of JSON beside them, that somebody else may have written."""

import json
import os
import pathlib
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from speechlm_jax import whole_files

_TOLD = "told"
"""The array that has the JSON."""


def write(path: pathlib.Path, arrays: Mapping[str, np.ndarray], told: Any = None) -> None:
    """Replaces the file, as whole_files.whole does."""
    text = np.frombuffer(json.dumps(told).encode(), np.uint8)
    with whole_files.whole(path) as part, open(part, "wb") as file:
        np.savez_compressed(file, allow_pickle=False, **{_TOLD: text}, **arrays)


def read(path: str | os.PathLike[str], doing: str) -> tuple[dict[str, np.ndarray], Any]:
    """The arrays, and the JSON. Raises ValueError, which begins with what is being done, for a file that is damaged or
    holds more than this project's do."""
    try:
        with zipfile.ZipFile(path) as members:
            whole_files.check_size(sum(member.file_size for member in members.infolist()))
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as found:
            arrays = {name: found[name] for name in found.files}
        return arrays, json.loads(arrays.pop(_TOLD).tobytes())
    except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{doing}: {path} is damaged ({error}).") from error
