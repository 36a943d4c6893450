"""Manifests: tables that list the examples of a corpus, with recordings that lie beside them.

An example's recording is `audio` (or `target_audio`), a path relative to the manifest, or `clips`, several paths that
are put in a row with `gap_ms` milliseconds of silence before, between and after them. All other fields pass through.
"""

import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from speechlm_jax import audio, batch
from speechlm_jax.data import fields as kinds
from speechlm_jax.data import order, tables

AUDIO_FIELDS = ("audio", "target_audio")
"""Fields that name a recording."""

_SCALARS = ("text", "int", "float")


@dataclasses.dataclass(frozen=True)
class Lines:
    """Which lines of a manifest. A value is text, a number, or a tuple of them."""

    where: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Those with one of the values in each of these fields,"""
    exclude: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """with none of the values in any of these fields,"""
    share: tuple[float, float] = (0.0, 1.0)
    """and with a hash of the id in this part of [0, 1): (0, 0.9) and (0.9, 1) cut a manifest in two for good."""
    limit: int | None = None
    """At most so many, from the first."""

    def __post_init__(self):
        if not 0 <= self.share[0] < self.share[1] <= 1:
            raise ValueError(f"choosing lines of a manifest: wanted 0 <= low < high <= 1, found share={self.share}.")

    def in_words(self) -> str:
        """Such as "with split = 'test' and with a hash of its id in [0, 0.5)"."""
        low, high = self.share
        parts = [f"with {field} = {value!r}" for field, value in self.where.items()]
        parts += [f"without {field} = {value!r}" for field, value in self.exclude.items()]
        if self.share != (0.0, 1.0):
            parts.append(f"with a hash of its id in [{low:g}, {high:g})")
        return " and ".join(parts) or "of any kind"


class Manifest:
    """A manifest, read whole and checked; no recording is opened.

    Raises ValueError where the file cannot be read (see `tables.read`), an id stands twice, or a path leaves the
    manifest's folder. Examples without an id are named after their line.
    """

    def __init__(self, path: str | os.PathLike):
        self._table = tables.read(path)
        self.path = self._table.path
        self.fields = dict(self._table.fields)
        """The kind of each field of an example."""
        self._columns: dict[str, list[Any]] = dict(self._table.columns)
        self._name_lines()
        for name in AUDIO_FIELDS:
            if self.fields.get(name, "text") != "text":
                raise self._table.error(0, f"the field '{name}' is {self.fields[name]}, wanted a path")
        self._join_clips()
        self.fields |= {name: kinds.AUDIO for name in AUDIO_FIELDS if name in self.fields}
        self._check_paths()

    def __len__(self) -> int:
        return len(self._table.lines)

    def __str__(self) -> str:
        return str(self.path)

    def column(self, name: str) -> list:
        """What the manifest says in one field, line by line, None where it says nothing. A recording is its path, or
        (paths, gaps in ms)."""
        return self._columns[name]

    def select(self, lines: Lines) -> np.ndarray:
        """Indices (int64, in order) of the wanted lines.

        Raises ValueError where a field or a value is not in the manifest, or no line is left.
        """
        keep_N = np.ones(len(self), bool)
        for field, wanted in lines.where.items():
            keep_N &= self._has(field, wanted)
        for field, unwanted in lines.exclude.items():
            keep_N &= ~self._has(field, unwanted)
        if lines.share != (0.0, 1.0):
            low, high = lines.share
            keep_N &= (low <= self._places_N) & (self._places_N < high)
        if not keep_N.any():
            raise ValueError(
                f"manifest {self.path}: none of its {len(self)} lines is one {lines.in_words()}. Choose others, by "
                "Manifest.train, .validation, .test and .held_out where a recipe reads it, or mend the manifest."
            )
        return np.flatnonzero(keep_N)[: lines.limit]

    @functools.cached_property
    def _places_N(self) -> np.ndarray:
        """A hash of each line's id in [0, 1): every split that is cut by it asks for all of them."""
        places = (order.uniform(order.key("share", name), 0) for name in self._columns["id"])
        return np.fromiter(places, np.float64, len(self))

    def _has(self, field: str, wanted: Any) -> np.ndarray:
        known = [name for name, kind in self.fields.items() if kind in _SCALARS]
        if field not in known:
            raise ValueError(
                f"manifest {self.path}: no field '{field}' to choose lines by. {kinds.nearest(field, known)}"
            )
        values = set(wanted) if isinstance(wanted, (tuple, list, set, frozenset)) else {wanted}
        found = set(self._columns[field])
        for value in values - found:
            there = (str(known) for known in found if known is not None)
            mend = " Manifest.train, .validation and .test say what splits are called." if field == "split" else ""
            raise ValueError(
                f"manifest {self.path}: no line has {field} = {value!r}. {kinds.nearest(str(value), there)}{mend}"
            )
        return np.fromiter((value in values for value in self._columns[field]), bool, len(self))

    def _name_lines(self) -> None:
        kind = self.fields.get("id", "text")
        if kind not in ("text", "int"):
            raise self._table.error(0, f"the field 'id' is {kind}, wanted text or int")
        given = self._columns.get("id") or [None] * len(self)
        lines = self._table.lines
        ids = [f"line-{line}" if name in (None, "") else str(name) for name, line in zip(given, lines, strict=True)]
        self.fields["id"], self._columns["id"] = "text", ids
        if len(set(ids)) < len(ids):
            first: dict[str, int] = {}
            for index, name in enumerate(ids):
                if first.setdefault(name, index) != index:
                    raise self._table.error(index, f"the id '{name}' stands in line {lines[first[name]]} too")

    def _join_clips(self) -> None:
        """Makes `audio` of `clips` and `gap_ms`: a tuple (paths, gaps) where a line has clips."""
        if "clips" not in self.fields:
            return
        kind = self.fields.pop("clips")
        gap_kind = self.fields.pop("gap_ms", "ints")
        clips = self._columns.pop("clips")
        gaps = self._columns.pop("gap_ms", [None] * len(self))
        if kind != "texts" or gap_kind not in ("ints", "floats"):
            raise self._table.error(0, f"'clips' is {kind} and 'gap_ms' {gap_kind}, wanted texts, and ints or floats")
        single = self._columns.get("audio", [None] * len(self))
        joined: list[Any] = []
        for index, (paths, gaps_ms, path) in enumerate(zip(clips, gaps, single, strict=True)):
            if not paths:
                joined.append(path)
                continue
            gaps_ms = gaps_ms or [0] * (len(paths) + 1)
            if path:
                raise self._table.error(index, "both 'audio' and 'clips', wanted one of them")
            if len(gaps_ms) != len(paths) + 1 or min(gaps_ms) < 0:
                raise self._table.error(
                    index, f"{len(paths)} clips and gap_ms {gaps_ms}, wanted one gap more, none below 0"
                )
            joined.append((tuple(paths), tuple(gaps_ms)))
        self.fields["audio"] = "text"
        self._columns["audio"] = joined

    def _paths(self) -> Iterator[tuple[int, str]]:
        for name in AUDIO_FIELDS:
            for index, value in enumerate(self._columns.get(name, ())):
                for path in () if not value else (value,) if isinstance(value, str) else value[0]:
                    yield index, path

    def _check_paths(self) -> None:
        folder = self.path.parent
        root = os.path.realpath(folder)

        def leaves(path: str) -> bool:
            return os.path.commonpath((root, os.path.realpath(os.path.join(folder, path)))) != root

        parents: dict[str, int] = {}
        for index, path in self._paths():
            if os.path.isabs(path):
                raise self._table.error(index, f"the path {path!r} is absolute: paths are relative to the manifest")
            if "\0" in path or ".." in path.split("/"):
                raise self._table.error(index, f"the path {path!r} is not one below the manifest's folder")
            parents.setdefault(os.path.dirname(os.path.normpath(path)), index)
        links = set()
        for parent, index in parents.items():
            if leaves(parent):
                raise self._table.error(index, f"the folder '{parent}' is a link out of the manifest's folder")
            try:
                with os.scandir(folder / parent) as entries:
                    links.update(os.path.join(parent, entry.name) for entry in entries if entry.is_symlink())
            except OSError:
                # A folder that is not there is found when a recording is read.
                continue
        if links:
            for index, path in self._paths():
                if os.path.normpath(path) in links and leaves(path):
                    raise self._table.error(index, f"the path '{path}' is a link out of the manifest's folder")


Given = Manifest | str | os.PathLike | Callable[[], str | os.PathLike]


def opened(given: Given) -> Manifest:
    """A manifest, from its path or from a function that gives that; one that is open is what it is."""
    if isinstance(given, Manifest):
        return given
    return Manifest(given() if callable(given) else given)


class Reader:
    """Lines of a manifest as examples: `reader[i]` decodes the recordings and is as `fields.conform` has it.

    Any number of threads may read at once. Reading raises AudioError for a recording that cannot be used.
    """

    def __init__(self, manifest: Manifest, indices: Sequence[int] | np.ndarray, max_seconds: float = audio.MAX_SECONDS):
        self.fields = manifest.fields
        self._manifest = manifest
        self._columns = {name: manifest.column(name) for name in manifest.fields}
        self._indices = [int(index) for index in indices]
        self._max_seconds = max_seconds

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.values(index, tuple(self._columns))

    def values(self, index: int, names: Sequence[str]) -> dict[str, Any]:
        """Some fields of an example; recordings that are not among them are not decoded."""
        line = self._indices[index]
        example = {name: self._columns[name][line] for name in names}
        for name in AUDIO_FIELDS:
            if name in example:
                example[name] = self._wave(example[name])
        return kinds.conform(example, {name: self.fields[name] for name in names})

    def name(self, index: int) -> str:
        """The id of example `index`."""
        return self._columns["id"][self._indices[index]]

    def fingerprint(self) -> str:
        """A text that changes when what the manifest says of these examples does; recordings are not looked at."""
        digest = hashlib.blake2b(digest_size=16)
        for name, kind in sorted(self.fields.items()):
            column = self._columns[name]
            digest.update(repr((name, kind, [column[line] for line in self._indices])).encode("utf-8"))
        return f"{len(self)}-{digest.hexdigest()}"

    def _wave(self, recording: str | tuple | None) -> np.ndarray | None:
        folder = self._manifest.path.parent
        if not recording:
            return None
        if isinstance(recording, str):
            return audio.read(folder / recording, max_seconds=self._max_seconds)
        paths, gaps_ms = recording
        gaps = [round(gap * batch.SAMPLE_RATE / 1000) for gap in gaps_ms]
        limit = int(self._max_seconds * batch.SAMPLE_RATE)
        clips, total = [], sum(gaps)
        for path in paths:
            if total <= limit:
                clips.append(audio.read(folder / path, max_seconds=self._max_seconds))
                total += len(clips[-1])
        if total > limit:
            raise audio.AudioError(
                f"{paths[0]} and {len(paths) - 1} more clips: above max_seconds={self._max_seconds:g} together"
            )
        wave_N = np.zeros(total, np.int16)
        at = 0
        for gap, clip in zip(gaps, clips, strict=False):
            at += gap
            wave_N[at : at + len(clip)] = clip
            at += len(clip)
        return wave_N
