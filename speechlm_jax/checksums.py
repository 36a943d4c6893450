"""Checksums of the files of a folder, written beside them: what was written is what is read, or it is told."""

import hashlib
import json
import os
import pathlib
import random
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent import futures
from typing import Any

from speechlm_jax import provenance, storage, whole_files

NAME = "CHECKSUMS.json"
"""The file of a folder that tells of its others."""

_DIGEST = "sha256"


def write(folder: str | os.PathLike[str], *, without: Collection[str] = ()) -> None:
    """Writes NAME into a folder, which tells the size and the SHA-256 of every file below it, `without` some."""
    root = pathlib.Path(folder)
    _write(root, dict(_measured(root, _files(root) - {*without})))


def add(folder: str | os.PathLike[str], names: Iterable[str]) -> None:
    """Adds files to those that NAME tells of. Raises ValueError where it is not as it was written."""
    root = pathlib.Path(folder)
    _write(root, {**_table(root), **dict(_measured(root, names))})


def _write(root: pathlib.Path, files: dict[str, Mapping[str, Any]]) -> None:
    files = dict(sorted(files.items()))
    whole_files.write_json(root / NAME, {"files": files, _DIGEST: _of_table(files)})


def differences(
    folder: str | os.PathLike[str], *, share: float = 1.0, seed: int | None = None, without: Collection[str] = ()
) -> list[str]:
    """What is not as it was when `write` was called, a line for each file: missing, new, of another size or content.

    share: of the bytes whose content is looked at, in whole files drawn by `seed` (None: others each time); names and
    sizes are compared in any case. without: files that need not have been told of. What cannot be read is a
    difference, too. Raises storage.NoAnswer where storage does not answer at all.
    """
    root = pathlib.Path(folder)
    try:
        wanted = storage.patiently(lambda: _table(root), f"reading {root / NAME}", lambda: os.listdir(root))
    except (OSError, ValueError) as error:
        return [f"{NAME}: {error}"]
    try:
        there = storage.patiently(lambda: _files(root), f"listing {root}", lambda: _table(root))
    except OSError as error:
        return [f"{error.filename or root}: {error.strerror}"]
    there -= {*without} - wanted.keys()
    found = [f"{name}: missing" for name in sorted(wanted.keys() - there)]
    found += [f"{name}: not there when the others were written" for name in sorted(there - wanted.keys())]
    sizes: dict[str, int] = {}
    for name in sorted(wanted.keys() & there):
        try:
            sizes[name] = _patiently(root, name, lambda name=name: (root / name).stat().st_size)
        except OSError as error:
            found.append(f"{name}: {error.strerror}")
    cut = {name for name, size in sizes.items() if size != wanted[name]["bytes"]}
    found += [f"{name}: wanted {wanted[name]['bytes']:,} bytes, found {sizes[name]:,}" for name in sorted(cut)]
    looked_at = _drawn({name: size for name, size in sizes.items() if name not in cut}, share, seed)
    with futures.ThreadPoolExecutor(provenance.cpus()) as threads:
        judged = threads.map(lambda name: _difference(root, name, wanted[name]), looked_at)
        return found + [told for told in judged if told]


def _difference(root: pathlib.Path, name: str, wanted: Mapping[str, Any]) -> str:
    """What is wrong with the content of a file, if anything."""
    try:
        own = _patiently(root, name, lambda: _digest(root, name))
    except OSError as error:
        return f"{name}: {error.strerror}"
    return "" if own == wanted else f"{name}: its {own['bytes']:,} bytes are not those that were written"


def _patiently(root: pathlib.Path, name: str, call: Callable[[], storage.Found]) -> storage.Found:
    """What is read of a file, however long storage takes to answer, unless it is this file alone that it does not."""
    return storage.patiently(call, f"reading {root / name}", lambda: _table(root))


def _table(root: pathlib.Path) -> dict[str, Mapping[str, Any]]:
    """The files that NAME tells of. Raises ValueError where it is not as it was written."""
    text = whole_files.read_text(root / NAME)
    told = json.loads(text)
    if not isinstance(told, dict) or not isinstance(told.get("files"), dict):
        raise ValueError("it is no table of files")
    if told.get(_DIGEST) != _of_table(told["files"]) or text != whole_files.json_text(told):
        raise ValueError("its own content is not that which was written")
    for name, file in told["files"].items():
        if not isinstance(file, dict) or not isinstance(file.get("bytes"), int) or file.keys() != {"bytes", _DIGEST}:
            raise ValueError(f"it is no table of files: of {name} it says {file}")
    return told["files"]


def _files(root: pathlib.Path) -> set[str]:
    """All but the table itself, and what is left of one whose writer was killed."""
    # What cannot be listed is an error, as it is not to pathlib, by which it would be missing.
    walked = os.walk(root, onerror=_raise)
    files = {os.path.relpath(os.path.join(place, name), root) for place, _, names in walked for name in names} - {NAME}
    return {name for name in files if not (name.startswith(f".{NAME}.") and whole_files.PART.fullmatch(name))}


def _raise(error: OSError) -> None:
    raise error


def _drawn(sizes: Mapping[str, int], share: float, seed: int | None) -> list[str]:
    """Files that hold about so much of the bytes, at least one."""
    if share >= 1:
        return list(sizes)
    names, chosen, left = list(sizes), [], share * sum(sizes.values())
    random.Random(seed).shuffle(names)
    for name in names:
        chosen.append(name)
        left -= sizes[name]
        if left <= 0:
            break
    return chosen


def _measured(root: pathlib.Path, names: Iterable[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each file with its size and digest; hashing holds no lock, so that threads share the processors."""
    names = list(names)
    with futures.ThreadPoolExecutor(provenance.cpus()) as threads:
        yield from zip(names, threads.map(lambda name: _digest(root, name), names), strict=True)


def _digest(root: pathlib.Path, name: str) -> dict[str, Any]:
    """The size and digest of a file."""
    with open(root / name, "rb") as file:
        digest = hashlib.file_digest(file, _DIGEST).hexdigest()
        return {"bytes": file.tell(), _DIGEST: digest}


def _of_table(files: Mapping[str, Any]) -> str:
    return hashlib.new(_DIGEST, json.dumps(files, sort_keys=True).encode()).hexdigest()
