"""Files that bear their name once they are whole, or never."""

import contextlib
import json
import os
import pathlib
import re
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

PART = re.compile(r"\..+\.[0-9a-f]{32}\.part")
"""The name of a file that is being written; what bears it when nobody writes is left over from one who was killed."""


@contextlib.contextmanager
def whole(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields another path to write a file to; it bears its own name once it is whole and on the disk, or never."""
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        yield part
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_json(path: str | os.PathLike[str], found: Mapping[str, Any]) -> None:
    """Writes what was found as JSON; folders are made."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as part:
        part.write_text(json.dumps(found, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
