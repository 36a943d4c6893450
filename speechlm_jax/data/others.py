"""A source whose examples bring fields of others along: texts to be told apart, another recording of a voice."""

import bisect
import collections
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from speechlm_jax.data import fields as kinds
from speechlm_jax.data import order, patient, sources


class WithOthers(sources.RandomAccessSource):
    """The examples of `source`, each with fields of others of its split under 'other_' and their names.

    Which others is a function of the example's place. With count=1 an other field is of its own kind; with more it must
    be text, and becomes a list of texts.

    fields: what is brought. same: the field that an example and its others have in common, such as 'speaker'; one whose
    value no other has is a bad record.
    """

    def __init__(
        self,
        source: sources.RandomAccessSource,
        fields: Sequence[str],
        *,
        count: int = 1,
        same: str | None = None,
    ):
        if count < 1 or not fields:
            raise ValueError(f"bringing others along: wanted fields and 1 other or more, found {fields} and {count}.")
        self.source, self._brought, self._count, self._same = source, tuple(fields), count, same
        super().__init__(source.splits)

    def open(self, split: str) -> sources.Reader:
        """The examples of a split. Raises ValueError where a field is not there, or has no list."""
        return _Reader(split, self.source.reader(split), self._brought, self._count, self._same)

    def __repr__(self) -> str:
        return f"WithOthers({self.source!r}, {self._brought}, count={self._count}, same={self._same})"


class _Reader:
    def __init__(self, split: str, inner: sources.Reader, brought: Sequence[str], count: int, same: str | None):
        check_fields(f"bringing others along in split '{split}'", inner, (*brought, *([same] if same else [])))
        self._inner, self._brought, self._count, self._same = inner, brought, count, same
        self._choice = Choice(split, inner, same)
        self.fields = {**inner.fields, **{f"other_{name}": self._kind(name) for name in brought}}

    def __len__(self) -> int:
        return len(self._inner)

    def __getitem__(self, index: int) -> dict[str, Any]:
        example = dict(self._inner[index])
        places = self._choice.of(index, example, self._count)
        if not places:
            raise ValueError(
                f"no other example has {self._same} = '{example[self._same]}'." if self._same else "there is no other."
            )
        others = [self._inner.values(other, self._brought) for other in places]
        for name in self._brought:
            example[f"other_{name}"] = (
                others[0][name] if self._count == 1 else np.array([one[name] for one in others], object)
            )
        return example

    def values(self, index: int, names: Sequence[str]) -> Mapping[str, Any]:
        """Some of the example's own fields."""
        return self._inner.values(index, names)

    def name(self, index: int) -> str:
        """The example's own."""
        return self._inner.name(index)

    def fingerprint(self) -> str:
        """Changes when the records do, or what is brought."""
        return f"{self._inner.fingerprint()}-{self._brought}-{self._count}-{self._same}"

    def _kind(self, name: str) -> str:
        kind = self._inner.fields[name]
        if self._count == 1:
            return kind
        if kind != "text":
            raise ValueError(f"bringing {self._count} others along: field '{name}' is {kind}, wanted text, or count=1.")
        return "texts"


class Choice:
    """Which others each record of a reader has: by a hash, so that every process finds the same.

    same: the field that a record and its others have in common.
    """

    def __init__(self, split: str, inner: sources.Reader, same: str | None):
        self._inner, self._same = inner, same
        self._key = order.key(0, "others", split)
        self._groups: dict[str, list[int]] = collections.defaultdict(list)
        if same:
            for index in range(len(inner)):
                self._groups[str(patient.read(inner, index, (same,))[same])].append(index)

    def of(self, index: int, example: Mapping[str, Any], count: int) -> list[int]:
        """Places of so many others, of which one may come twice; none where there is no other."""
        group: Sequence[int] = range(len(self._inner))
        if self._same:
            group = self._groups[str(example[self._same])]
        if len(group) < 2:
            return []
        own = bisect.bisect_left(group, index)  # Groups are in rising order.
        steps = [1 + int(order.uniform(self._key, index * count + n) * (len(group) - 1)) for n in range(count)]
        return [group[(own + step) % len(group)] for step in steps]


def check_fields(doing: str, reader: sources.Reader, names: Sequence[str]) -> None:
    """Raises ValueError where one is not there."""
    for name in names:
        if name not in reader.fields:
            raise ValueError(f"{doing}: there is no field '{name}'. {kinds.nearest(name, reader.fields)}")
