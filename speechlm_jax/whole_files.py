"""Files that bear their name once they are whole, or never, and folders that one command at a time writes to."""

import contextlib
import fcntl
import json
import logging
import math
import os
import pathlib
import re
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

_log = logging.getLogger(__name__)

PART = re.compile(r"\..+\.[0-9a-f]{32}\.part")
"""The name of a file that is being written; what bears it when nobody writes is left over from one who was killed."""
_KEPT_BYTES = 200
"""Of a file's name, in that."""


@contextlib.contextmanager
def whole(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields another path to write a file to; it bears its own name once it is whole and on the disk, or never."""
    if _is_special(path):
        raise ValueError(f"writing {path}: it is a device or a pipe, which a file would replace. Name a file.")
    # A name may be as long as file systems take, and this one is longer.
    kept = os.fsencode(path.name)[:_KEPT_BYTES].decode("utf-8", "ignore")
    part = path.with_name(f".{kept}.{uuid.uuid4().hex}.part")
    try:
        yield part
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
        sync_folder(path.parent)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes a file of text, as `whole` does."""
    with whole(path) as part:
        part.write_text(text, encoding="utf-8")


MOST_BYTES = 256 * 2**20
"""Of a file of text that is read at once: many times what this project writes, and little enough for any computer."""


def read_text(path: pathlib.Path) -> str:
    """A file of text, as somebody may have written it. Raises ValueError where it is larger than this project's are."""
    check_size(path.stat().st_size)
    return path.read_text(encoding="utf-8")


def check_size(size: int) -> None:
    """Raises ValueError where a file of so many bytes is too large to be read at once."""
    if size > MOST_BYTES:
        raise ValueError(f"it has {size:,} bytes, wanted {MOST_BYTES:,} at most")


def sync_folder(folder: str | os.PathLike[str]) -> None:
    """Returns when the names in a folder are on the disk, too, where its file system can say so."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Lines:
    """A file that grows by lines. What a process that was killed has left unfinished stands for itself; what cannot be
    written is told to the log, and those who write go on: nothing ends for want of a line about itself."""

    def __init__(self, path: str | os.PathLike[str]):
        self._path, self._unfinished = pathlib.Path(path), False
        if self._path.exists() and self._path.stat().st_size:
            with self._path.open("rb") as file:
                file.seek(-1, os.SEEK_END)
                self._unfinished = file.read() != b"\n"

    def add(self, line: str) -> bool:
        """Writes a line; returns whether it could."""
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write("\n" * self._unfinished + line + "\n")
        except OSError as error:
            self._unfinished = self._path.exists()
            _log.error("writing to %s: %s. A line is missing there", self._path, error.strerror)
            return False
        self._unfinished = False
        return True


def check_file(path: str | os.PathLike[str] | None, flag: str) -> None:
    """Raises ValueError where the file that a flag names could not be written, which is better known before the work.
    None: it is not asked for."""
    if path is None:
        return
    if os.path.isdir(path):
        raise ValueError(f"writing {flag}={path}: it is a folder. Name a file.")
    if _is_special(pathlib.Path(path)):
        raise ValueError(f"writing {flag}={path}: it is a device or a pipe, which a file would replace. Name a file.")
    _check_writable(pathlib.Path(path).parent, f"{flag}={path}")


def check_folder(path: str | os.PathLike[str] | None, flag: str) -> None:
    """Raises ValueError where no file could be written to the folder that a flag names, once it is made. None: it is
    not asked for."""
    if path is not None:
        _check_writable(pathlib.Path(path), f"{flag}={path}")


def _is_special(path: pathlib.Path) -> bool:
    """Whether a path is there and names no file of its own, such as /dev/null and /dev/stdout."""
    real = path.resolve()
    return (real.exists() and not real.is_file() and not real.is_dir()) or path.absolute().parent in _DEVICES


_DEVICES = (pathlib.Path("/dev"), pathlib.Path("/dev/fd"), pathlib.Path("/proc/self/fd"))


def _check_writable(folder: pathlib.Path, told: str) -> None:
    there = next(place for place in (folder, *folder.parents) if place.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise ValueError(f"writing {told}: {there}: {error.strerror}. Name another place.") from error


@contextlib.contextmanager
def alone(folder: pathlib.Path, doing: str) -> Iterator[None]:
    """Holds a folder, which is made if need be, against other commands that would write there. Raises ValueError where
    one does. Where the file system has no locks, nothing is held."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        hold(handle, f"{doing} {folder}: another command is writing there. Wait for its end, or name another folder.")
        yield
    finally:
        os.close(handle)


def hold(handle: int, taken: str) -> None:
    """Holds an open file or folder, until it is closed. Raises ValueError(taken) where another holds it. Where the file
    system has no locks, nothing is held."""
    with contextlib.suppress(OSError):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(taken) from None


def write_json(path: str | os.PathLike[str], found: Mapping[str, Any]) -> None:
    """Writes what was found as JSON, where a number that is none is null; folders are made."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json_text(found))


def json_text(found: Mapping[str, Any]) -> str:
    """What `write_json` writes."""
    return json.dumps(_finite(found), ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def _finite(found: Any) -> Any:
    if isinstance(found, Mapping):
        return {name: _finite(value) for name, value in found.items()}
    if isinstance(found, list | tuple):
        return [_finite(value) for value in found]
    return None if isinstance(found, float) and not math.isfinite(found) else found
