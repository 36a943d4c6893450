"""A source whose examples are several of another, said one after the other: for models that are to hear more than
single sentences, as they stand in the pieces of a long recording."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from speechlm_jax import batch
from speechlm_jax.data import fields as kinds
from speechlm_jax.data import order, others, sources

NOISE_DB = (-75.0, -45.0)
"""Of full scale: how loud a pause is, for no room is as silent as zeros."""


class Joined(sources.RandomAccessSource):
    """Examples of `source`, up to `most` of a split in one recording, with pauses between them.

    Which ones, and how long the pauses are, is a function of the place of the first; each is the first of one example.
    An example has the recording, the texts, `same`, and nothing else.

    texts: fields that are joined by blanks. same: a field that all of them have in common, such as 'lang'. One that
    lacks a recording or a text stands alone, and is what it was.
    max_seconds: of the whole; what would make it longer is left out. One that is longer by itself stays as it is.
    pause_seconds: the shortest and the longest.
    """

    def __init__(
        self,
        source: sources.RandomAccessSource,
        texts: Sequence[str],
        *,
        max_seconds: float,
        most: int = 4,
        pause_seconds: tuple[float, float] = (0.1, 1.2),
        same: str | None = None,
        recording: str = "audio",
    ):
        low, high = pause_seconds
        if most < 2 or max_seconds <= 0 or not 0 <= low <= high:
            raise ValueError(
                f"joining examples of {source!r}: wanted 2 or more at most, seconds above 0 and pauses from a shortest "
                f"to a longest, found most={most}, max_seconds={max_seconds}, pause_seconds={pause_seconds}."
            )
        self.source, self._how = source, _How(tuple(texts), max_seconds, most, (low, high), same, recording)
        super().__init__(source.splits)

    def open(self, split: str) -> sources.Reader:
        """The examples of a split. Raises ValueError where a field is not there, or is not of its kind."""
        return _Reader(split, self.source.reader(split), self._how)

    def __repr__(self) -> str:
        return f"Joined({self.source!r}, {tuple(self._how)})"


class _How(NamedTuple):
    """What `Joined` was told."""

    texts: tuple[str, ...]
    max_seconds: float
    most: int
    pause_seconds: tuple[float, float]
    same: str | None
    recording: str


class _Reader:
    def __init__(self, split: str, inner: sources.Reader, how: _How):
        doing, common = f"joining examples of split '{split}'", [how.same] if how.same else []
        others.check_fields(doing, inner, (how.recording, *how.texts, *common))
        for name, kind in {how.recording: kinds.AUDIO, **dict.fromkeys(how.texts, "text")}.items():
            if inner.fields[name] != kind:
                raise ValueError(f"{doing}: wanted field '{name}' to be {kind}, found {inner.fields[name]}.")
        self._inner, self._how = inner, how
        self._max_samples = int(how.max_seconds * batch.SAMPLE_RATE)
        self._pauses = [int(seconds * batch.SAMPLE_RATE) for seconds in how.pause_seconds]
        self._choice, self._key = others.Choice(split, inner, how.same), order.key(0, "joined", split)
        self.fields = {name: inner.fields[name] for name in (how.recording, *how.texts, *common)}

    def __len__(self) -> int:
        return len(self._inner)

    def __getitem__(self, index: int) -> dict[str, Any]:
        first = self._inner[index]
        random = np.random.default_rng(order.key(self._key, index))
        parts, waves, samples = [first], [first[self._how.recording]], len(first[self._how.recording])
        for part in self._others(index, first, int(random.integers(self._how.most))):
            pause_N = _pause(random, *self._pauses)
            wave_N = part[self._how.recording]
            if samples + len(pause_N) + len(wave_N) > self._max_samples:
                break
            parts.append(part)
            waves += [pause_N, wave_N]
            samples += len(pause_N) + len(wave_N)
        joined = {name: " ".join(part[name] for part in parts) for name in self._how.texts}
        return {**{name: first[name] for name in self.fields}, **joined, self._how.recording: np.concatenate(waves)}

    def _others(self, index: int, first: Mapping[str, Any], count: int) -> Iterator[Mapping[str, Any]]:
        """Those that follow the first: at most so many."""
        if not self._is_whole(first):
            return
        for other in self._choice.of(index, first, self._how.most - 1)[:count]:
            part = self._inner.values(other, tuple(self.fields))
            if self._is_whole(part):
                yield part

    def _is_whole(self, part: Mapping[str, Any]) -> bool:
        """Whether what is heard is what is read."""
        return bool(len(part[self._how.recording])) and all(part[name].strip() for name in self._how.texts)

    def values(self, index: int, names: Sequence[str]) -> Mapping[str, Any]:
        """Some fields. Those that are joined take the recordings: how long they are says how many there are."""
        if set(names) <= {"id", self._how.same}:
            return self._inner.values(index, names)
        found = self[index]
        return {name: found[name] for name in names}

    def name(self, index: int) -> str:
        """That of the first."""
        return self._inner.name(index)

    def fingerprint(self) -> str:
        """Changes when the records do, or how they are joined."""
        return f"{self._inner.fingerprint()}-joined-{tuple(self._how)}"


def _pause(random: np.random.Generator, shortest: int, longest: int) -> np.ndarray:
    """Faint noise, int16 "N"."""
    level = 10 ** (random.uniform(*NOISE_DB) / 20) * np.iinfo(np.int16).max
    return np.round(random.normal(0, level, random.integers(shortest, longest + 1))).astype(np.int16)
