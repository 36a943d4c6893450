"""SeqIO sources whose records are read by index, so that any place of an endless shuffled run is found at once.

A reader is what a source opens for a split: `len(reader)`, `reader[i]` (a dict, or an exception for a bad record),
`reader.values(i, names)` (some of its fields: no recording is decoded that is not asked for), `reader.fields` (the kind
of each field), `reader.name(i)` (for messages) and `reader.fingerprint()`. Threads share it.
"""

import abc
import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import seqio
import tensorflow as tf

from speechlm_jax import audio, storage
from speechlm_jax.data import fields as kinds
from speechlm_jax.data import manifest as manifests
from speechlm_jax.data import order, patient, read_ahead, records, sequences

POSITION = "_pos"
"""The field that carries an example's position in the run."""

_MIN_BAD_RUN = 100
_logger = logging.getLogger(__name__)

Path = str | os.PathLike
OnBad = Callable[[int, str, str], None]
"""Told the position, the record's name and the reason, in the order of positions."""


class Reader(Protocol):
    """What a source opens for a split."""

    @property
    def fields(self) -> Mapping[str, str]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Mapping[str, Any]: ...

    def values(self, index: int, names: Sequence[str]) -> Mapping[str, Any]: ...

    def name(self, index: int) -> str: ...

    def fingerprint(self) -> str: ...


class RandomAccessSource(seqio.DataSource):
    """A SeqIO source over readers. To add one, subclass it and write `open`.

    Splits are named when it is made; nothing is opened before a split is used. Every example carries `id` and `_pos`.
    One that is made of another has it as `source`.
    """

    def __init__(self, splits: Iterable[str]):
        super().__init__(splits=splits, performs_internal_shuffling=True)
        self._readers: dict[str, Reader] = {}
        self._lock = threading.RLock()

    @abc.abstractmethod
    def open(self, split: str) -> Reader:
        """The reader of a split, made anew. Raises ValueError for what a user can mend."""

    @property
    def supports_arbitrary_sharding(self) -> bool:
        """True: any process can read any share of the positions."""
        return True

    def list_shards(self, split: str) -> Sequence[str]:
        """One shard: positions are what is dealt out."""
        return [split]

    def reader(self, split: str) -> Reader:
        """The reader of a split, opened once. Raises ValueError for a split that is not named, or is empty."""
        with self._lock:
            if split not in self._readers:
                if split not in self.splits:
                    raise ValueError(f"no split '{split}' in {self!r}. {kinds.nearest(split, self.splits)}")
                reader = self.open(split)
                if not len(reader):
                    raise ValueError(f"split '{split}' of {self!r} has no records. Fill it, or read another.")
                kinds.check(reader.fields)
                self._readers[split] = reader
            return self._readers[split]

    def num_input_examples(self, split: str) -> int:
        """Records of a split. Opens it."""
        return len(self.reader(split))

    def left_out(self, split: str) -> int:
        """How many records of a split are not drawn because they lack what a task reads."""
        within = getattr(self, "source", None)
        return within.left_out(split) if isinstance(within, RandomAccessSource) else 0

    def fingerprint(self, split: str) -> str:
        """A text that changes when the split's records do: their number, and a hash of what names them. Opens it."""
        return self.reader(split).fingerprint()

    def fields(self, split: str) -> dict[str, str]:
        """The kind of each field of an example. Opens the split."""
        return {**self.reader(split).fields, "id": "text"}

    def spec(self, split: str) -> dict[str, tf.TensorSpec]:
        """What a dataset of the split yields. Opens it."""
        spec = {name: _tensor_spec(kind) for name, kind in self.fields(split).items()}
        return {**spec, POSITION: tf.TensorSpec([], tf.int64)}

    def at(
        self,
        split: str,
        positions: Callable[[], Iterable[int]],
        *,
        seed: int = 0,
        shuffle: bool = True,
        threads: int = 2,
        on_bad: OnBad | None = None,
        ended: threading.Event | None = None,
    ) -> tf.data.Dataset:
        """Examples at the positions, in that order, each with its `_pos`: position p is in epoch p // N.

        Records with audio are read ahead by `threads` threads (0: none). One that raises is told to `on_bad`, by
        default the log, and left out; what `on_bad` raises ends the dataset, as do a whole epoch of bad records and
        storage.NoAnswer. Once `ended` is set, storage is not waited for any longer.
        """
        reader, fields = self.reader(split), self.fields(split)
        threads = threads if kinds.AUDIO in fields.values() else 0
        on_bad = on_bad or self._log_bad(split)

        def fetch(position: int) -> tuple[int, str, dict[str, Any] | None, str]:
            position = int(position)
            index = order.record(position, len(reader), seed=seed, shuffle=shuffle)
            name = f"{split}[{index}]"
            try:
                name = reader.name(index)
                example = dict(patient.read(reader, index, ended=ended))
                given = example.get("id")
                example["id"] = name if given in (None, "") else given if isinstance(given, bytes) else str(given)
                return position, name, _tensors(kinds.conform(example, fields), fields, position), ""
            except storage.NoAnswer:
                raise
            except Exception as error:
                reason = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
                return position, name, None, " ".join(reason.split())

        def generate() -> Iterator[dict[str, Any]]:
            bad_in_a_row = 0
            for position, name, example, reason in read_ahead.in_order(fetch, positions(), threads):
                if example is not None:
                    bad_in_a_row = 0
                    yield example
                    continue
                on_bad(position, name, reason)
                bad_in_a_row += 1
                if bad_in_a_row >= max(len(reader), _MIN_BAD_RUN):
                    raise ValueError(f"{bad_in_a_row} records of split '{split}' in a row are bad; the last: {reason}")

        return tf.data.Dataset.from_generator(read_ahead.ends_in_time(generate), output_signature=self.spec(split))

    def get_dataset(
        self,
        split: str = "train",
        shuffle: bool = True,
        seed: int | None = None,
        shard_info: seqio.ShardInfo | None = None,
        *,
        sequence_length: Mapping[str, int] | None = None,
        use_cached: bool = False,
        num_epochs: int | None = 1,
    ) -> tf.data.Dataset:
        """SeqIO's own way in: one epoch (or `num_epochs`, None: endless) of a shard. Bad records are logged and left
        out. Without a seed the order is that of seed 0."""
        del sequence_length, use_cached
        shard = shard_info or seqio.ShardInfo(0, 1)
        stop = None if num_epochs is None else num_epochs * self.num_input_examples(split)

        def positions() -> Iterator[int]:
            position = shard.index
            while stop is None or position < stop:
                yield position
                position += shard.num_shards

        dataset = self.at(split, positions, seed=0 if seed is None else int(seed), shuffle=shuffle)
        # SeqIO keeps sources of fewer than 10,000 examples in memory, which for speech is gigabytes.
        dataset.cache = lambda *_, **__: dataset
        return dataset

    def __repr__(self) -> str:
        return f"{type(self).__name__}(splits={list(self.splits)})"

    def _log_bad(self, split: str) -> OnBad:
        def log(position: int, name: str, reason: str) -> None:
            _logger.warning("%r, split %s, position %d: %s left out: %s", self, split, position, name, reason)

        return log


class ManifestSource(RandomAccessSource):
    """Examples listed by a manifest, recordings decoded as they are read.

    manifest: a path, a function that gives one when first needed, one that is open, or one of these for each split.
    splits: for each split the value, or a tuple of values, of the manifest's field `split`, or `manifest.Lines`;
    where each split has a manifest of its own, a split that is not named takes all its lines.
    max_seconds: a longer recording is a bad record.
    """

    def __init__(
        self,
        manifest: manifests.Given | Mapping[str, manifests.Given],
        splits: Mapping[str, str | tuple | manifests.Lines] | None = None,
        *,
        max_seconds: float = audio.MAX_SECONDS,
    ):
        self._files = dict(manifest) if isinstance(manifest, Mapping) else dict.fromkeys(splits or (), manifest)
        self._lines = {split: manifests.Lines() for split in self._files} | dict(splits or {})
        self._max_seconds = max_seconds
        self._manifests: dict[Any, manifests.Manifest] = {}
        if not self._files or set(self._lines) != set(self._files):
            raise ValueError(
                f"a manifest source has splits {sorted(self._lines)} and manifests for {sorted(self._files)}, "
                "wanted the same ones, and at least one. Give splits={'train': 'train', ...}."
            )
        super().__init__(self._files)

    def open(self, split: str) -> Reader:
        """The lines of a split. Raises ValueError where the manifest is not right, or has none."""
        file, lines = self._files[split], self._lines[split]
        if not isinstance(lines, manifests.Lines):
            lines = manifests.Lines(where={"split": lines})
        if file not in self._manifests:
            self._manifests[file] = manifests.opened(file)
        opened = self._manifests[file]
        return manifests.Reader(opened, opened.select(lines), self._max_seconds)

    def __repr__(self) -> str:
        return f"ManifestSource({sorted({str(file) for file in self._files.values()})}, splits={list(self.splits)})"


class RecordsSource(RandomAccessSource):
    """Records of a cache.

    folder: where it is, or a function that gives it (called when first needed, so it may write the cache first).
    splits: names of its splits, or a mapping from a name here to a name there.
    """

    def __init__(self, folder: Path | Callable[[], Path], splits: Sequence[str] | Mapping[str, str]):
        self._folder = folder
        self._names = dict(splits) if isinstance(splits, Mapping) else {split: split for split in splits}
        super().__init__(self._names)

    def open(self, split: str) -> Reader:
        """The records of a split. Raises ValueError where the cache or the split is not there."""
        if callable(self._folder):
            self._folder = self._folder()
        return records.Reader(self._folder, self._names[split])

    def __repr__(self) -> str:
        return f"RecordsSource({self._folder}, splits={list(self.splits)})"


class SequenceSource(RandomAccessSource):
    """Any sequences of dicts, such as a list, or what `tfds.data_source` gives; or functions that give them.

    fields: the kind of each field; where it is not given, all items are looked at to find it.
    """

    def __init__(
        self,
        items: Mapping[str, sequences.Items | Callable[[], sequences.Items]],
        fields: Mapping[str, str] | None = None,
    ):
        self._items = dict(items)
        self._fields = fields
        super().__init__(self._items)

    def open(self, split: str) -> Reader:
        """The items of a split."""
        items = self._items[split]
        return sequences.Reader(split, items() if callable(items) else items, self._fields)


class ShareOf(RandomAccessSource):
    """The records of `source` whose id has a hash in a part of [0, 1): a tenth of the training is
    ShareOf(source, (0.0, 0.1), splits=("train",)). The same id is in or out wherever it stands.

    splits: those that are cut; None: all. Opening one reads the ids of all its records.
    """

    def __init__(self, source: RandomAccessSource, share: tuple[float, float], *, splits: Sequence[str] | None = None):
        if not 0 <= share[0] < share[1] <= 1:
            raise ValueError(f"taking a share of {source!r}: wanted 0 <= low < high <= 1, found {share}.")
        self.source, self._share = source, share
        self._cut = tuple(source.splits if splits is None else splits)
        for split in self._cut:
            if split not in source.splits:
                near = kinds.nearest(split, source.splits)
                raise ValueError(f"taking a share of {source!r}: it has no split '{split}'. {near}")
        super().__init__(source.splits)

    def open(self, split: str) -> Reader:
        """The records of a split that are in the share."""
        reader = self.source.reader(split)
        if split not in self._cut:
            return reader
        # The hash is that of `manifest.Lines.share`.
        places = (order.uniform(order.key("share", _id(reader, index)), 0) for index in range(len(reader)))
        chosen = [index for index, place in enumerate(places) if self._share[0] <= place < self._share[1]]
        return _Chosen(reader, chosen, str(self._share))

    def __repr__(self) -> str:
        return f"ShareOf({self.source!r}, {self._share}, splits={self._cut})"


class Having(RandomAccessSource):
    """The records of `source` in which none of the text fields `names` is empty: what a task that reads them is drawn
    from, so that its rate in a mixture is that of its examples. Opening a split reads these fields of all its records.
    """

    def __init__(self, source: RandomAccessSource, *names: str):
        self.source, self._names = source, names
        super().__init__(source.splits)

    def open(self, split: str) -> Reader:
        """The records of a split that have the fields."""
        reader = self.source.reader(split)
        for name in self._names:
            if reader.fields.get(name) != "text":
                near = kinds.nearest(name, [field for field, kind in reader.fields.items() if kind == "text"])
                raise ValueError(f"choosing records of {self.source!r}: it has no text field '{name}'. {near}")
        return _Chosen(reader, [i for i in range(len(reader)) if self._has(reader, i)], f"having {self._names}")

    def left_out(self, split: str) -> int:
        """Those that lack one of the fields, too."""
        return super().left_out(split) + len(self.source.reader(split)) - len(self.reader(split))

    def _has(self, reader: Reader, index: int) -> bool:
        values = patient.fields(reader, index, self._names)
        return values is None or all(values.get(name) is not None and values[name].strip() for name in self._names)

    def __repr__(self) -> str:
        return f"{self.source!r} with a text in {' and '.join(self._names)}"


class _Chosen:
    """Some records of another reader, and what says which."""

    def __init__(self, inner: Reader, indices: Sequence[int], which: str):
        self._inner, self._indices, self._which = inner, indices, which
        self.fields = inner.fields

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        return self._inner[self._indices[index]]

    def values(self, index: int, names: Sequence[str]) -> Mapping[str, Any]:
        """Some fields of a record."""
        return self._inner.values(self._indices[index], names)

    def name(self, index: int) -> str:
        """The record's own."""
        return self._inner.name(self._indices[index])

    def fingerprint(self) -> str:
        """Changes when the records do, or what chooses them."""
        return f"{self._inner.fingerprint()}-{self._which}"


def _id(reader: Reader, index: int) -> str:
    """The id, or the name of a record that has none. One that cannot be read is told when it is asked for."""
    found = patient.fields(reader, index, ("id",))
    return reader.name(index) if found is None else str(found["id"])


def _tensor_spec(kind: str) -> tf.TensorSpec:
    dtype = kinds.DTYPES[kind]
    shape = [] if kind in ("text", "int", "float") else [None]
    return tf.TensorSpec(shape, tf.string if dtype is None else tf.as_dtype(dtype))


def _tensors(example: dict[str, Any], fields: Mapping[str, str], position: int) -> dict[str, Any]:
    """An example as from_generator takes it without converting: text as bytes."""
    for name, kind in fields.items():
        if kind == "text":
            example[name] = example[name].encode("utf-8")
        elif kind == "texts":
            texts = example[name]
            texts[:] = [text.encode("utf-8") for text in texts]
        elif kind == kinds.AUDIO and len(example[name]) and not audio.num_frames(len(example[name])):
            raise audio.AudioError(f"field '{name}': {len(example[name])} samples are too short for a frame")
    example[POSITION] = np.int64(position)
    return example
