"""Any sequence of dicts as the records of a split."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from speechlm_jax.data import fields as kinds

Items = Sequence[Any]
"""Dicts of Python and numpy values, which may be made as they are asked for."""


class Reader:
    """The items of a sequence, as they are.

    fields: the kind of each field; where it is not given, all items are looked at to find it. Raises ValueError,
    naming the item, where a value is of no kind, or of another kind than in an item before.
    """

    def __init__(self, split: str, items: Items, fields: Mapping[str, str] | None = None):
        self._split, self._items = split, items
        self._given = fields is not None
        self.fields = dict(fields) if fields is not None else _found(split, items)

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        return self._items[index]

    def values(self, index: int, names: Sequence[str]) -> Mapping[str, Any]:
        """Some fields of an item."""
        return {name: self._items[index][name] for name in names}

    def name(self, index: int) -> str:
        """The split and the place in it."""
        return f"{self._split}[{index}]"

    def fingerprint(self) -> str:
        """A text that changes when the items do; where the fields were given, with their number alone."""
        digest = hashlib.blake2b(repr(sorted(self.fields.items())).encode("utf-8"), digest_size=16)
        for item in () if self._given else self._items:
            for name, value in sorted(item.items()):
                digest.update(name.encode("utf-8"))
                digest.update(value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode("utf-8"))
        return f"{len(self)}-{digest.hexdigest()}"


def _found(split: str, items: Items) -> dict[str, str]:
    found: dict[str, str | None] = {}
    for index in range(len(items)):
        for name, value in items[index].items():
            before = found.setdefault(name, None)
            try:
                kind = kinds.kind_of(value)
            except ValueError as error:
                raise ValueError(f"{split}[{index}], field '{name}': {error}") from error
            if kind is not None and kind != before:
                found[name] = kinds.common((before, kind))
                if found[name] is None:
                    raise ValueError(f"{split}[{index}]: the field '{name}' is {kind}, and {before} in an item before.")
    return {name: kind or "text" for name, kind in found.items()}
