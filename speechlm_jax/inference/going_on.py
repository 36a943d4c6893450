"""What a command has done before it was ended, in a file of lines: the same command goes on behind them."""

import contextlib
import hashlib
import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any, TextIO

from speechlm_jax import checkpoint_steps, checksums, runtime, whole_files


class Begun:
    """Lines beside a file that a command will write, in FILE.KEY.part."""

    def __init__(self, path: str | os.PathLike[str], does: Any):
        """`does`: what the command does, as JSON. One that does something else has lines of its own."""
        key = hashlib.sha256(json.dumps(does, sort_keys=True).encode()).hexdigest()[:12]
        self._path = pathlib.Path(f"{path}.{key}.part")
        kept = self._path.read_bytes() if self._path.exists() else b""
        # The last line may be cut off.
        self._size = kept.rfind(b"\n") + 1
        self.told = self._lines(kept[: self._size])

    @contextlib.contextmanager
    def opened(self) -> Iterator[TextIO]:
        """The file, to write further lines to."""
        if self.told:
            runtime.say(f"going on behind the {len(self.told)} lines of this command that stand in {self._path}")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self._path.open("a", encoding="utf-8") as out:
                taken = f"writing {self._path}: the same command is writing it. Wait for its end."
                whole_files.hold(out.fileno(), taken)
                out.truncate(self._size)
                yield out
                os.fsync(out.fileno())
        except BaseException:
            runtime.say(f"what was done stands in {self._path}; the same command goes on behind it")
            raise

    def read(self) -> list[Any]:
        """All lines that stand there now."""
        return self._lines(self._path.read_bytes())

    def _lines(self, kept: bytes) -> list[Any]:
        try:
            # Text may hold what Python, too, takes for an end of a line.
            return [json.loads(line) for line in kept.split(b"\n")[:-1]]
        except ValueError as error:
            raise ValueError(
                f"going on behind what stands in {self._path}: it is damaged ({error}). Remove it."
            ) from None

    def remove(self) -> None:
        """What was made of the lines stands in the file."""
        self._path.unlink()


def stamp_of_step(checkpoint: str) -> list[tuple[str, str]]:
    """What tells the newest step of a checkpoint, or the step that it is, from what stood there at another time; its
    bytes are not read. Nothing where there is none, which whoever loads it says."""
    tables = [(step, step / checksums.NAME) for step in checkpoint_steps.among(checkpoint)[-1:]]
    return [(str(step), hashlib.sha256(table.read_bytes()).hexdigest()) for step, table in tables if table.exists()]


def stamp(path: str | os.PathLike[str] | None) -> tuple[str, int, int] | None:
    """What tells a file from what it was at another time; None where there is none."""
    if path is None or not os.path.exists(path):
        return None
    about = os.stat(path)
    return str(path), about.st_size, about.st_mtime_ns
