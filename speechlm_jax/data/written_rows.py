"""Rows that were packed and written ahead: read in their order, without TensorFlow and without the tasks.

A folder holds `rows.json` (what the order depends on, and how many steps each data shard has) and for each data shard
files of consecutive steps, `00003-of-00008-00001000.array_record`. A record is what the shard gives to one step: its
rows, and where the shard stands after them, so that a run may change between written rows and their tasks anywhere.
"""

import concurrent.futures
import dataclasses
import json
import pathlib
import struct
import threading
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from array_record.python import array_record_module  # pyright: ignore[reportAttributeAccessIssue]

from speechlm_jax import batch, whole_files
from speechlm_jax.data import config, quarantine, records, stream_position

INFO = "rows.json"
_HEAD = struct.Struct("<I")


class Info(NamedTuple):
    """What rows.json says."""

    mixture: str
    split: str
    tasks_from: dict[str, Any]
    """Where the mixture's tasks were registered: task modules, and the manifest."""
    fingerprint: dict[str, Any]
    """Of the stream that the rows came from."""
    steps: int
    """Steps that every data shard has rows for."""
    files: dict[str, int]
    """Name of each file -> the steps in it."""


_KINDS = {"mixture": str, "split": str, "tasks_from": dict, "fingerprint": dict, "steps": int, "files": dict}
"""What the fields of Info are read as."""


def file_name(shard: int, shards: int, first: int) -> str:
    """The file of a data shard whose first record is that of step `first`, counted from 0."""
    return f"{shard:05d}-of-{shards:05d}-{first:08d}.array_record"


def read_info(folder: str | pathlib.Path) -> Info:
    """Raises ValueError where the folder holds no written rows."""
    path = pathlib.Path(folder) / INFO
    try:
        info = Info(**json.loads(whole_files.read_text(path)))
        if wrong := [name for name, kind in _KINDS.items() if not isinstance(getattr(info, name), kind)]:
            raise ValueError(f"{wrong[0]} is {getattr(info, wrong[0])!r}")
        if wrong := [name for name, steps in info.files.items() if not isinstance(steps, int) or steps < 1]:
            raise ValueError(f"{wrong[0]} has {info.files[wrong[0]]!r} steps")
        return info
    except FileNotFoundError:
        raise ValueError(
            f"reading written rows: there is no {path}. Write them by `speechlm materialise --out={folder}`, or set "
            "Stream.written = ''."
        ) from None
    except (ValueError, TypeError) as error:
        raise ValueError(f"reading written rows: {path} is damaged ({error}). Write the rows again.") from error


def tasks_from(data: config.Data) -> dict[str, Any]:
    """See Info."""
    manifest = None if data.manifest is None else dataclasses.asdict(data.manifest)
    return {"task_modules": list(data.task_modules), "manifest": manifest}


def encode(rows: batch.Batch, state: Any) -> bytes:
    """A record: the rows of one shard, and where it stands after them."""
    told = json.dumps(state).encode()
    arrays = (np.ascontiguousarray(array).tobytes() for lane in _lanes(rows) for array in lane)
    return b"".join([_HEAD.pack(len(told)), told, *arrays])


def decode(record: bytes, like: batch.Batch) -> tuple[batch.Batch, Any]:
    """(rows, state) of a record; `like` has the rows' shapes. Raises ValueError for another number of bytes."""
    (size,) = _HEAD.unpack_from(record)
    state = json.loads(record[_HEAD.size : _HEAD.size + size])
    at, lanes = _HEAD.size + size, []
    for lane in _lanes(like):
        arrays = []
        for array in lane:
            arrays.append(np.frombuffer(record, array.dtype, array.size, at).reshape(array.shape))
            at += array.nbytes
        lanes.append(type(lane)(*arrays))
    if at != len(record):
        raise ValueError(f"a record of {len(record)} bytes, wanted {at}")
    return _with_lanes(like, lanes), state


def _lanes(rows: batch.Batch) -> list[Any]:
    """The lanes that have room, each a tuple of arrays."""
    return [lane for lane in rows if lane is not None]


def _with_lanes(like: batch.Batch, lanes: Sequence[Any]) -> batch.Batch:
    """These in the places of the lanes of `like`."""
    names = [name for name in batch.Batch._fields if getattr(like, name) is not None]
    return like._replace(**dict(zip(names, lanes, strict=True)))


class WrittenRows:
    """The batches of a stream, from the rows that were written of it. Iterate over it; each element is a Step.

    info: what rows.json says; `check` it first. shards: the data shards that this host holds. done: steps that were
    taken before.
    Raises ValueError while iterating where the rows are at their end, or damaged.
    """

    def __init__(self, data: config.Data, info: Info, *, shards: Sequence[int], done: int = 0):
        self._folder, self._info = pathlib.Path(data.stream.written), info
        self.tasks: list[str] = list(info.fingerprint["tasks"])
        self.bad_records = quarantine.Quarantine(data.stream.bad_records)
        """Empty: what could not be used is in the folder's bad_records.jsonl."""
        self._like = batch.empty(data.row, data.rows // data.stream.data_shards)
        self._shards, self._step = list(shards), done
        self._files = {shard: _File(self._folder, info, shard, data.stream.data_shards) for shard in self._shards}
        self._closed = threading.Event()
        self._pool = concurrent.futures.ThreadPoolExecutor(max(1, min(len(self._shards), 4 * data.stream.read_threads)))

    def __iter__(self) -> Iterator[stream_position.Step]:
        return self

    def __next__(self) -> stream_position.Step:
        if self._closed.is_set():
            raise StopIteration
        if self._step >= self._info.steps:
            raise ValueError(
                f"reading written rows: {self._folder} has rows for {self._info.steps:,} steps, and they are taken. "
                "Write more into it by `speechlm materialise --steps=...`."
            )
        found = list(self._pool.map(self._read, self._shards))
        self._step += 1
        lanes = [
            type(of_shards[0])(*(np.concatenate(arrays) for arrays in zip(*of_shards, strict=True)))
            for of_shards in zip(*(_lanes(rows) for rows, _ in found), strict=True)
        ]
        states = {str(shard): state for shard, (_, state) in zip(self._shards, found, strict=True)}
        return stream_position.Step(_with_lanes(self._like, lanes), states)

    def close(self) -> None:
        """Ends the iteration."""
        self._closed.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _read(self, shard: int) -> tuple[batch.Batch, Any]:
        where, record = self._files[shard].read(self._step)
        try:
            return decode(record, self._like)
        except (ValueError, struct.error) as error:
            raise ValueError(f"reading written rows: {where} is damaged ({error}). Write the rows again.") from error


def check(info: Info, data: config.Data, *, seed: int, vocabulary: str, steps: int) -> None:
    """Raises ValueError where the rows' order is not that of a run with these choices, or there are fewer steps."""
    now = stream_position.layout(data, seed=seed, vocabulary=vocabulary)
    saved = {name: info.fingerprint.get(name) for name in now}
    named = {"mixture": data.stream.mixture, "split": data.stream.split, **tasks_from(data)}
    folder = data.stream.written
    stream_position.check(
        {**saved, "mixture": info.mixture, "split": info.split, **info.tasks_from},
        {**now, **named},
        f"reading written rows: those of {folder} are of another recipe",
        "Write rows of this recipe into another folder, or set Stream.written = ''.",
    )
    if info.steps < steps:
        raise ValueError(
            f"reading written rows: {folder} has rows for {info.steps:,} steps, wanted {steps:,}. Write more by "
            f"`speechlm materialise --out={folder} --steps={steps}`."
        )


class _File:
    """The records of one data shard, whichever of its files they lie in; the last one that was asked for is open."""

    def __init__(self, folder: pathlib.Path, info: Info, shard: int, shards: int):
        self._folder, self._parts, first = folder, [], 0
        while (name := file_name(shard, shards, first)) in info.files:
            self._parts.append((first, name))
            first += info.files[name]
        if not self._parts:
            raise ValueError(
                f"reading written rows: {folder / INFO} has no {file_name(shard, shards, 0)}. Write the rows again."
            )
        self._open: tuple[str, Any] | None = None

    def read(self, step: int) -> tuple[str, bytes]:
        """(where it lies, the record)."""
        first, name = next(part for part in reversed(self._parts) if part[0] <= step)
        where = f"{self._folder / name}[{step - first}]"
        try:
            if self._open is None or self._open[0] != name:
                self._open = (
                    name,
                    array_record_module.ArrayRecordReader(str(self._folder / name), records.READER_OPTIONS),
                )
            return where, self._open[1].read([step - first])[0]
        except (RuntimeError, ValueError, IndexError) as error:
            raise ValueError(
                f"reading written rows: {where} cannot be read ({' '.join(str(error).split())}). Write the rows again."
            ) from error
