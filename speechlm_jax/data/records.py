"""The cache on disk: records of text, numbers and raw PCM in ArrayRecord files, read by index from any thread.

A folder holds `info.json` and, for each split, `{split}-00000-of-00004.arecord`, ... One record is

    4 bytes   b"SLR1"
    4 bytes   length of the header in bytes, little-endian
    header    JSON: every field by name, an audio field as its number of samples; blanks up to a multiple of 8 bytes
    audio     int16 little-endian samples of each audio field, in the order of the header

Behind a file's records stand their headers alone, in blocks of 64: a JSON list each. So whoever chooses among all
records by what is written reads no recording, which are nearly all of a cache of speech.
"""

import bisect
import contextlib
import dataclasses
import functools
import hashlib
import itertools
import json
import os
import re
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from array_record.python import array_record_module  # pyright: ignore[reportAttributeAccessIssue]

from speechlm_jax import batch, whole_files
from speechlm_jax.data import fields as kinds

WRITER_OPTIONS = "group_size:1,uncompressed"
READER_OPTIONS = "readahead_buffer_size:0,max_parallelism:0"
_FORMAT = "speechlm_jax records"
VERSION = 2
_MAGIC = b"SLR1"
_PREFIX = struct.Struct("<4sI")
_MAX_BYTES = 1 << 30
_BLOCK, _KEPT_BLOCKS = 64, 256
"""Headers in a block, and blocks that a reader keeps."""
_ORDERS = ("interleaved", "consecutive")


class RecordError(ValueError):
    """A record or a shard that cannot be read. The message is one line: which one, and why."""


@dataclasses.dataclass(frozen=True)
class Shard:
    """What `info.json` says of one file."""

    records: int
    audio_samples: int
    hash: str
    """blake2b of the shard's records, in order."""


def encode(example: Mapping[str, Any], fields: Mapping[str, str]) -> bytes:
    """One record. Raises ValueError for a value that is not of its field's kind, or a record above 1 GiB."""
    values = kinds.conform(example, fields)
    waves = [values[name] for name, kind in fields.items() if kind == kinds.AUDIO]
    header = {}
    for name, kind in fields.items():
        value = values[name]
        header[name] = len(value) if kind == kinds.AUDIO else value if isinstance(value, str) else value.tolist()
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8")
    text += b" " * (-len(text) % 8)
    size = _PREFIX.size + len(text) + 2 * sum(map(len, waves))
    if size > _MAX_BYTES:
        raise ValueError(f"a record takes {size} bytes, at most {_MAX_BYTES} are allowed. Cut it into shorter ones.")
    return b"".join(
        (_PREFIX.pack(_MAGIC, len(text)), text, *(wave.astype("<i2", copy=False).tobytes() for wave in waves))
    )


def decode(data: bytes, fields: Mapping[str, str]) -> dict[str, Any]:
    """The example in a record, as `fields.conform` has it; arrays of audio are views of `data`, read-only.

    Raises RecordError where the bytes are not a record of these fields.
    """
    try:
        magic, length = _PREFIX.unpack_from(data)
        if magic != _MAGIC:
            raise ValueError(f"it starts with {magic!r}")
        at = _PREFIX.size + length
        header = json.loads(data[_PREFIX.size : at])
        out = {}
        for name, kind in fields.items():
            value = header[name]
            if kind == kinds.AUDIO:
                out[name] = np.frombuffer(data, "<i2", value, at) if value else kinds.empty(kind)
                at += 2 * value
            else:
                out[name] = _written(name, value, kind)
        if at != len(data):
            raise ValueError(f"it has {len(data)} bytes, its header says {at}")
    except (struct.error, *_UNREADABLE) as error:
        raise RecordError(
            f"not a record of the fields {', '.join(fields)} ({type(error).__name__}: {error})"
        ) from error
    return out


_UNREADABLE = (ValueError, KeyError, TypeError, IndexError, OverflowError, RecursionError)
"""What JSON raises that is not what was written, and what is made of it."""


def _written(name: str, value: Any, kind: str) -> Any:
    """A value of a field that is not audio, from what a header says of it."""
    if kind == "text":
        if not isinstance(value, str):
            raise TypeError(f"field '{name}' is not text")
        return value
    if kind == "texts":
        return np.array(value, object)
    return kinds.DTYPES[kind](value) if kind in ("int", "float") else np.array(value, kinds.DTYPES[kind])


def _header(data: bytes) -> bytes:
    """That of a record."""
    _, length = _PREFIX.unpack_from(data)
    return data[_PREFIX.size : _PREFIX.size + length].rstrip()


def shard_name(split: str, index: int, count: int) -> str:
    """The file of shard `index` of `count`. Raises ValueError for a split's name that is no part of a file's name."""
    if not re.fullmatch(r"[A-Za-z0-9_.]+", split):
        raise ValueError(f"writing records: a split's name has letters, digits, _ and dots, found {split!r}.")
    return f"{split}-{index:05d}-of-{count:05d}.arecord"


def write_info(
    folder: str | os.PathLike, fields: Mapping[str, str], splits: Mapping[str, list[Shard]], order: str
) -> None:
    """Writes `info.json` for shards that lie in the folder, written with WRITER_OPTIONS.

    order: where record i of a split lies: "interleaved" (shard i % n, as one writer deals them round) or
    "consecutive" (shard after shard, for shards written independently).
    """
    described = {}
    for split, shards in splits.items():
        described[split] = {
            "records": sum(shard.records for shard in shards),
            "audio_seconds": round(sum(shard.audio_samples for shard in shards) / batch.SAMPLE_RATE, 3),
            "hash": _hash_of(shard.hash for shard in shards),
            "shards": [dataclasses.asdict(shard) for shard in shards],
        }
    info = {
        "format": _FORMAT,
        "version": VERSION,
        "sample_rate": batch.SAMPLE_RATE,
        "fields": dict(fields),
        "order": order,
        "hash": _hash_of(f"{split}={described[split]['hash']}" for split in sorted(described)),
        "splits": described,
    }
    whole_files.write_json(Path(folder) / "info.json", info)


def read_info(folder: str | os.PathLike) -> dict[str, Any]:
    """What `info.json` says. Raises ValueError where the folder is not a whole cache of this version."""
    path = Path(folder) / "info.json"
    try:
        info = json.loads(whole_files.read_text(path))
        version, order = (info["version"], info["order"]) if info["format"] == _FORMAT else (None, None)
        kinds.check(info["fields"])
        for split in info["splits"].values():
            split["shards"] = [Shard(**shard) for shard in split["shards"]]
    except (FileNotFoundError, NotADirectoryError):
        raise ValueError(
            f"reading records: {folder} has no info.json, so it is not a cache, or not a whole one."
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"reading records: {path} is damaged ({type(error).__name__}: {error}). Write it again."
        ) from error
    if version != VERSION or order not in _ORDERS:
        raise ValueError(f"reading records: {path} has version {version}, this code reads {VERSION}. Write it again.")
    return info


class Writer:
    """Writes a cache: nothing stands at `folder` before all of it does.

        with records.Writer(folder, {"id": "text", "audio": "audio"}) as writer:
            writer.write("train", {"id": "a", "audio": samples})

    Where another process wrote the same records to `folder` meanwhile, that copy stands. Raises ValueError
    where something else is there.
    """

    def __init__(self, folder: str | os.PathLike, fields: Mapping[str, str], *, shards: int = 4):
        kinds.check(fields)
        self._folder = Path(folder)
        self._fields = dict(fields)
        self._count = shards
        self._open: dict[str, list[ShardWriter]] = {}
        if shards < 1:
            raise ValueError(f"writing records: a split has at least one shard, found shards={shards}.")
        self._check_free()

    def __enter__(self) -> "Writer":
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        self._partial = Path(tempfile.mkdtemp(prefix=f".{self._folder.name}.partial-", dir=self._folder.parent))
        return self

    def write(self, split: str, example: Mapping[str, Any]) -> None:
        """Adds a record to a split. Raises ValueError for a value that is not of its field's kind."""
        if split not in self._open:
            names = [shard_name(split, index, self._count) for index in range(self._count)]
            self._open[split] = [ShardWriter(self._partial / name, self._fields) for name in names]
        min(self._open[split], key=lambda shard: shard.records).write(example)

    def __exit__(self, kind: type | None, error: BaseException | None, trace: Any) -> None:
        try:
            splits = {split: [shard.close() for shard in shards] for split, shards in self._open.items()}
            if kind is None:
                if not splits:
                    raise ValueError(f"writing records: nothing was written to {self._folder}.")
                write_info(self._partial, self._fields, splits, order="interleaved")
                self._partial.chmod(0o755)
                self._publish()
        finally:
            shutil.rmtree(self._partial, ignore_errors=True)

    def _check_free(self) -> None:
        if self._folder.exists() and (not self._folder.is_dir() or any(self._folder.iterdir())):
            raise ValueError(f"writing records: {self._folder} exists and is not empty. Remove it, or name another.")

    def _publish(self) -> None:
        try:
            os.rename(self._partial, self._folder)
        except OSError:
            with contextlib.suppress(ValueError):
                if read_info(self._folder)["hash"] == read_info(self._partial)["hash"]:
                    return
            self._check_free()
            raise


class Reader:
    """One split of a cache: `len(reader)`, and `reader[i]` is an example as `fields.conform` has it.

    Any number of threads may read at once. Opening raises ValueError where the cache or the split is not there, or
    RecordError where a shard is damaged or missing; reading raises RecordError for a damaged record.
    """

    def __init__(self, folder: str | os.PathLike, split: str):
        info = read_info(folder)
        if split not in info["splits"]:
            raise ValueError(f"reading records: no split '{split}' in {folder}. {kinds.nearest(split, info['splits'])}")
        described = info["splits"][split]
        self.fields: dict[str, str] = info["fields"]
        self.audio_seconds: float = described["audio_seconds"]
        self._split, self._hash = split, described["hash"]
        self._interleaved = info["order"] == "interleaved"
        self._shards: list[Shard] = described["shards"]
        self._ends = list(itertools.accumulate(shard.records for shard in self._shards))
        self._names = [shard_name(split, index, len(self._shards)) for index in range(len(self._shards))]
        self._readers = [
            self._open(Path(folder) / name, shard) for name, shard in zip(self._names, self._shards, strict=True)
        ]
        # Of each shard one at least: records may be dealt to them in turn.
        most = max(_KEPT_BLOCKS, 2 * len(self._shards))
        self._headers = functools.lru_cache(most)(functools.partial(_headers, self._readers, self._shards))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: int) -> dict[str, Any]:
        shard, place = self._find(index)
        try:
            return decode(self._readers[shard].read([place])[0], self.fields)
        except (RuntimeError, RecordError) as error:
            raise RecordError(f"{self.name(index)}: {' '.join(str(error).split())}") from error

    def values(self, index: int, names: Sequence[str]) -> dict[str, Any]:
        """Some fields of a record. Where none is audio, no recording is read."""
        if not any(self.fields[name] == kinds.AUDIO for name in names):
            shard, place = self._find(index)
            # Where a block is damaged, the record itself may not be.
            with contextlib.suppress(RuntimeError, *_UNREADABLE):
                header = self._headers(shard, place // _BLOCK)[place % _BLOCK]
                return {name: _written(name, header[name], self.fields[name]) for name in names}
        example = self[index]
        return {name: example[name] for name in names}

    def name(self, index: int) -> str:
        """Where record `index` lies, for messages: the file and the place in it."""
        shard, place = self._find(index)
        return f"{self._names[shard]}[{place}]"

    def fingerprint(self) -> str:
        """A text that changes when the records do."""
        return f"{len(self)}-{self._hash}-{_hash_of(f'{name}:{kind}' for name, kind in self.fields.items())}"

    def _find(self, index: int) -> tuple[int, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"split '{self._split}' has {len(self)} records, number {index} was asked for.")
        if self._interleaved:
            return index % len(self._shards), index // len(self._shards)
        shard = bisect.bisect_right(self._ends, index)
        return shard, index - (self._ends[shard - 1] if shard else 0)

    @staticmethod
    def _open(path: Path, shard: Shard) -> Any:
        if not path.is_file():
            raise RecordError(f"{path}: the file is missing. Write the cache again.")
        try:
            reader = array_record_module.ArrayRecordReader(str(path), READER_OPTIONS)
            found = reader.num_records() if reader.ok() else -1
        except RuntimeError as error:
            raise RecordError(f"{path}: the file is damaged ({error}). Write the cache again.") from error
        wanted = shard.records + -(-shard.records // _BLOCK)
        if found != wanted:
            what = "the file is damaged" if found < 0 else f"{found} records and blocks of headers in it"
            raise RecordError(f"{path}: {what}, info.json says {wanted}. Write the cache again.")
        return reader


def _headers(readers: Sequence[Any], shards: Sequence[Shard], shard: int, block: int) -> list[dict[str, Any]]:
    return json.loads(readers[shard].read([shards[shard].records + block])[0])


class ShardWriter:
    """One file, and what is told of it. It is whole once it is closed; see `whole`."""

    def __init__(self, path: str | os.PathLike, fields: Mapping[str, str]):
        self._writer = array_record_module.ArrayRecordWriter(str(path), WRITER_OPTIONS)
        self._path, self._fields = path, fields
        self._hash = hashlib.blake2b(digest_size=16)
        self._headers: list[bytes] = []
        self.records = self.samples = 0

    def write(self, example: Mapping[str, Any]) -> None:
        """Adds a record. Raises ValueError for a value that is not of its field's kind, and RecordError where the file
        cannot be written."""
        data = encode(example, self._fields)
        self._run(self._writer.write, data)
        self._hash.update(data)
        self._headers.append(_header(data))
        self.records += 1
        self.samples += sum(len(example.get(name, ())) for name, kind in self._fields.items() if kind == kinds.AUDIO)

    def close(self) -> Shard:
        """Ends the file, and says what is in it."""
        for start in range(0, len(self._headers), _BLOCK):
            self._run(self._writer.write, b"[" + b",".join(self._headers[start : start + _BLOCK]) + b"]")
        self._run(self._writer.close)
        return Shard(self.records, self.samples, self._hash.hexdigest())

    def _run(self, call: Callable[..., None], *args: bytes) -> None:
        try:
            call(*args)
        except RuntimeError as error:
            raise RecordError(f"{self._path}: the file could not be written ({error})") from error


def _hash_of(texts: Iterable[str]) -> str:
    return hashlib.blake2b("\n".join(texts).encode("utf-8"), digest_size=16).hexdigest()
