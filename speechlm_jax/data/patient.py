"""Records that are asked for again where storage does not answer."""

from collections.abc import Mapping, Sequence
from typing import Any

from speechlm_jax import storage


def read(reader: Any, index: int, names: Sequence[str] | None = None) -> Mapping[str, Any]:
    """A record of a reader, or some of its fields; the one beside it says whether storage answers at all.

    Raises storage.NoAnswer where it does not, for good; else what the reader raises.
    """

    def at(place: int) -> Mapping[str, Any]:
        return reader[place] if names is None else reader.values(place, names)

    beside = (index + 1) % len(reader)
    return storage.patiently(lambda: at(index), f"reading {reader.name(index)}", lambda: at(beside))
