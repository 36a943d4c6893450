"""Records that are asked for again where storage does not answer."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from speechlm_jax import storage


def read(
    reader: Any, index: int, names: Sequence[str] | None = None, ended: threading.Event | None = None
) -> Mapping[str, Any]:
    """A record of a reader, or some of its fields; another, which lies far from it, says whether storage answers at
    all.

    ended: tells while it waits that nobody wants the record any more. Raises storage.NoAnswer where storage does not
    answer, for good or until then; else what the reader raises.
    """

    def at(place: int) -> Mapping[str, Any]:
        return reader[place] if names is None else reader.values(place, names)

    other = (index + max(1, len(reader) // 2)) % len(reader)
    return storage.patiently(lambda: at(index), f"reading {reader.name(index)}", lambda: at(other), ended)


def fields(reader: Any, index: int, names: Sequence[str]) -> Mapping[str, Any] | None:
    """Some fields of a record; None of one that cannot be read, which is told when it is asked for. Raises
    storage.NoAnswer."""
    try:
        return read(reader, index, names)
    except storage.NoAnswer:
        raise
    except Exception:
        return None


def handed_on(said: str, doing: str) -> None:
    """Raises storage.NoAnswer where TensorFlow says that one was raised in what it has called, by an error of its
    own."""
    _, gone, why = said.partition(f"{storage.NoAnswer.__name__}: ")
    if gone:
        raise storage.NoAnswer(f"{doing}: {why.splitlines()[0]}")
