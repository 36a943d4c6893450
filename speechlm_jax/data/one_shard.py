"""One shard of a cache, written by whoever is handed it: a process of this machine, or a worker of Apache Beam."""

import dataclasses
import functools
import hashlib
import json
import pathlib
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import seqio
import tensorflow as tf

from speechlm_jax import whole_files
from speechlm_jax.data import config, patient, pipeline, records, registration, sources
from speechlm_jax.data import fields as kinds

Examples = Iterator[tuple[int, str, Mapping[str, Any]]]


@dataclasses.dataclass(frozen=True)
class Part:
    """One shard to write, and all that a process on any machine must know to write it."""

    data: config.Data
    task: str
    split: str
    fields: tuple[tuple[str, str], ...]
    fingerprint: str
    total: int
    """Records that the source has of the split."""
    folder: str
    index: int
    count: int
    """Which shard of how many."""

    @property
    def path(self) -> pathlib.Path:
        """The shard's file."""
        return pathlib.Path(self.folder) / records.shard_name(self.split, self.index, self.count)

    @property
    def span(self) -> tuple[int, int]:
        """The first record of the source that belongs to it, and the first that does not any more."""
        return self.total * self.index // self.count, self.total * (self.index + 1) // self.count

    @property
    def size(self) -> int:
        """How many records of the source belong to it."""
        start, stop = self.span
        return stop - start

    def told(self) -> dict[str, Any] | None:
        """What the sidecar says; None where the shard is not whole, or of other records."""
        try:
            told = json.loads(whole_files.read_text(self.path.with_suffix(".json")))
            same = told["fingerprint"] == self.fingerprint and told.get("version") == records.VERSION
            whole = same and told["bytes"] == self.path.stat().st_size
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None
        return told if whole else None


def write(part: Part, count: Callable[[int], None] = lambda _: None) -> None:
    """Writes a shard and its sidecar, unless they are there. The same bytes whoever does it, and however often.

    count: told how many records were read since it was told last; what it raises ends the work. Raises ValueError where
    the source is not any more what it was when the cache was begun, and RecordError where the file cannot be written.
    """
    if part.told() is not None:
        return
    reader = _opened(part.data, part.task, part.split)
    if reader.fingerprint != part.fingerprint:
        raise ValueError(
            f"caching '{part.task}' into {part.folder}: the source of split '{part.split}' has changed since the cache "
            "was begun. Start again with another folder: --out."
        )
    start, stop = part.span
    bad: list[tuple[int, str, str]] = []
    with whole_files.whole(part.path) as path:
        writer = records.ShardWriter(path, dict(part.fields))
        try:
            examples = reader.examples(start, stop, part.data.stream.read_threads, lambda *why: bad.append(why))
            for position, name, example in examples:
                try:
                    writer.write(example)
                except records.RecordError:
                    raise
                except ValueError as error:
                    bad.append((position, name, " ".join(str(error).split())))
                else:
                    count(1)
        finally:
            shard = writer.close()
        size = path.stat().st_size
    listed = [{"id": name, "reason": reason} for _, name, reason in sorted(bad)]
    told = {
        "version": records.VERSION,
        "fingerprint": part.fingerprint,
        **dataclasses.asdict(shard),
        "bytes": size,
        "bad": listed,
    }
    whole_files.write_json(part.path.with_suffix(".json"), told)
    count(stop - start - shard.records)


_opening = threading.Lock()


@functools.lru_cache(maxsize=64)
def _reopened(data: config.Data, task: str, split: str) -> "Reader":
    registration.register(data, bind_vocabulary=False)
    found = pipeline.find(task)
    assert isinstance(found, seqio.Task)
    return open_split(found.source, split)


def _opened(data: config.Data, task: str, split: str) -> "Reader":
    """A split of a task, found by name: in a process that knows no more of it."""
    with _opening:
        return _reopened(data, task, split)


class Indexed:
    """A split of a source that is read by index."""

    def __init__(self, source: sources.RandomAccessSource, split: str):
        self._source, self._split = source, split
        self.fields = source.fields(split)
        self.fingerprint = source.fingerprint(split)
        self.total = source.num_input_examples(split)

    def examples(self, start: int, stop: int, threads: int, on_bad: sources.OnBad) -> Examples:
        """(place, name, example) of the records that can be read, as training reads them."""
        bad = 0

        def count(*why: Any) -> None:
            nonlocal bad
            bad += 1
            on_bad(*why)

        dataset = self._source.at(self._split, lambda: range(start, stop), shuffle=False, threads=threads, on_bad=count)
        try:
            examples: Any = dataset.as_numpy_iterator()
            for example in examples:
                yield int(example[sources.POSITION]), example["id"].decode("utf-8"), example
        except tf.errors.OpError as error:
            patient.handed_on(str(error.message), f"reading split '{self._split}'")
            # A source that has no good record ends with an error; each was told already.
            if bad < stop - start:
                raise


class Sequential:
    """A split of any other source of SeqIO, read from its beginning; a bare text is its field `text`."""

    def __init__(self, source: seqio.DataSource, split: str):
        self._source, self._split = source, split
        self._dataset = source.get_dataset(split, shuffle=False)
        spec = self._dataset.element_spec
        self._bare = not isinstance(spec, Mapping)
        spec = {"text": spec} if self._bare else spec
        self.fields = {**{name: self._kind(name, of_field) for name, of_field in spec.items()}, "id": "text"}
        what = repr((type(source).__name__, list(source.list_shards(split)), sorted(self.fields.items())))
        self.fingerprint = hashlib.blake2b(what.encode("utf-8"), digest_size=16).hexdigest()

    @functools.cached_property
    def total(self) -> int:
        """The number of records, counted where the source does not know it."""
        known = self._source.num_input_examples(self._split)
        return int(self._dataset.reduce(np.int64(0), lambda count, _: count + 1)) if known is None else known

    def examples(self, start: int, stop: int, threads: int, on_bad: sources.OnBad) -> Examples:
        """(place, name, example) of the records."""
        del threads, on_bad
        for place, value in enumerate(self._dataset.skip(start).take(stop - start).as_numpy_iterator(), start):
            example = {"text": value} if self._bare else dict(value)
            given = example.get("id", "")
            name = given.decode("utf-8", "replace") if isinstance(given, bytes) else str(given)
            example["id"] = name or f"{self._split}[{place}]"
            yield place, example["id"], example

    def _kind(self, name: str, spec: Any) -> str:
        if isinstance(spec, tf.TensorSpec) and spec.shape.rank in (0, 1):
            dtype, ending = spec.dtype, "s" * spec.shape.rank
            if dtype == tf.int16 and ending:
                return kinds.AUDIO
            if dtype == tf.string:
                return f"text{ending}"
            if dtype.is_integer or dtype.is_bool:
                return f"int{ending}"
            if dtype.is_floating:
                return f"float{ending}"
        raise ValueError(
            f"caching split '{self._split}' of a {type(self._source).__name__}: its field '{name}' is {spec}, wanted "
            f"text, a number, a list of them, or audio as int16. Take it out of the source."
        )


Reader = Indexed | Sequential


def open_split(source: seqio.DataSource, split: str) -> Reader:
    """A split of any source of SeqIO, in its order."""
    return Indexed(source, split) if isinstance(source, sources.RandomAccessSource) else Sequential(source, split)
