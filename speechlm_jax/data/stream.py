"""The training stream: from SeqIO tasks to packed batches, in an order that is a function of (seed, data shard, draw).

The global batch is cut into *data shards*. Draw m of shard v takes a task by hash(seed, v, m); the k-th draw of a
task by shard v is the record at position v + shards * k of the task's endless shuffled order. Each shard packs its
own draws, so its rows do not depend on which host holds it, nor on the pace of the others. A shard's state is its
counters and references to the examples of its open rows: no audio, no host count.
"""

import bisect
import collections
import concurrent.futures
import dataclasses
import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from speechlm_jax import batch
from speechlm_jax.data import config, order, packing, pipeline, quarantine, stream_position


class Reference(NamedTuple):
    """Where an example came from: the k-th draw of a task by its shard, and the piece of that record."""

    task: int
    draw: int
    piece: int


@dataclasses.dataclass(slots=True)
class _Item:
    reference: Reference
    example: dict[str, Any]
    demand: np.ndarray


_REFERENCE_BYTES, _EXAMPLE_BYTES = 150, 2000
"""What Python takes for a list of three numbers, and for an example besides its arrays."""


def _bytes(item: _Item) -> int:
    values = item.example.values()
    return _EXAMPLE_BYTES + sum(value.nbytes for value in values if isinstance(value, np.ndarray))


class _Row(NamedTuple):
    """A row that is full, and where its shard stood when it was."""

    items: list[_Item]
    state: dict[str, Any]
    bytes: int


class _Shard:
    """The draws, open rows and finished rows of one data shard."""

    def __init__(self, index: int, state: Mapping[str, Any], packer: packing.Packer[_Item]):
        self.index = index
        self.draws: int = state["draws"]
        self.counts: list[int] = list(state["counts"])
        self.packer = packer
        self.pending: collections.deque[_Item] = collections.deque()
        self.finished: collections.deque[_Row] = collections.deque()
        self.bytes = 0
        """That the finished rows hold."""
        self.snapshot = dict(state)

    def drain(self) -> None:
        """Packs what is pending; each row that closes is kept with the state in which it left the shard."""
        while self.pending:
            item = self.pending.popleft()
            closed = self.packer.add(item, item.demand)
            if closed:
                snapshot = {
                    "draws": self.draws,
                    "counts": list(self.counts),
                    "open": [[list(item.reference) for item in row] for row in self.packer.open],
                    "ages": list(self.packer.ages),
                    "pending": [list(item.reference) for item in self.pending],
                }
                referred = sum(map(len, (*self.packer.open, self.pending)))
                row = _Row(closed, snapshot, sum(map(_bytes, closed)) + _REFERENCE_BYTES * referred)
                self.finished.append(row)
                self.bytes += row.bytes

    def take(self) -> list[_Item]:
        """The next row; the shard stands behind it from now on."""
        row = self.finished.popleft()
        self.snapshot = row.state
        self.bytes -= row.bytes
        return row.items


class Stream:
    """Packed batches of a mixture, for the data shards of this host. Iterate over it; each element is a Step.

    rows: rows of the global batch. shards: the data shards that this host holds. state: where they stand; None for
    the beginning. augmentation: what is done to the lane `audio`. on_bad is told of each record that is skipped, once.
    Raises ValueError for a mixture that cannot be served, and while iterating when too many records are bad. Any
    thread may close it; then it ends, even while an element is being made.
    """

    MAX_QUEUED_BYTES = 4 << 30
    """Shards finish rows at slightly different paces, so that some are further and further ahead. A stream whose
    finished rows hold more than this starts over from its own state, which takes seconds and changes no batch."""

    def __init__(
        self,
        settings: config.Stream,
        row: batch.Row,
        *,
        rows: int,
        seed: int,
        shards: Sequence[int] | None = None,
        state: stream_position.State | None = None,
        augmentation: config.Augmentation | None = None,
        on_bad: Callable[[quarantine.BadRecord], None] | None = None,
    ):
        self._settings, self._row, self._seed, self._augmentation = settings, row, seed, augmentation
        self._rows_per_shard = settings.rows_per_shard(rows)
        self._tasks, rates = pipeline.tasks_and_rates(settings.mixture, settings.split)
        self._bounds = list(itertools.accumulate(rates))[:-1]
        self._shard_indices = list(range(settings.data_shards)) if shards is None else list(shards)
        self._mixing_keys = {v: order.key(seed, "mix", v) for v in self._shard_indices}
        self._quarantine = quarantine.Quarantine(settings.bad_records, on_bad)
        self._closed = threading.Event()
        self._readers_closed = threading.Event()
        self._start(state or {})

    @property
    def tasks(self) -> list[str]:
        """Names of the mixture's tasks; a segment's task_id is an index here."""
        return [task.name for task in self._tasks]

    @property
    def state(self) -> stream_position.State:
        """Where this host's shards stand after the last batch that was handed out."""
        return {str(v): shard.snapshot for v, shard in self._shards.items()}

    @property
    def draws(self) -> list[int]:
        """Records that were drawn so far, of each task."""
        return [sum(shard.counts[task] for shard in self._shards.values()) for task in range(len(self._tasks))]

    @property
    def bad_records(self) -> quarantine.Quarantine:
        """What was skipped so far."""
        return self._quarantine

    def __iter__(self) -> Iterator[stream_position.Step]:
        return self

    def __next__(self) -> stream_position.Step:
        while any(len(shard.finished) < self._rows_per_shard for shard in self._shards.values()):
            self._draw_round()
        out = batch.empty(self._row, self._rows_per_shard * len(self._shards))
        index = 0
        for shard in self._shards.values():
            for _ in range(self._rows_per_shard):
                packing.write_row(out, index, [item.example for item in shard.take()], self._row)
                index += 1
        state = self.state
        if sum(shard.bytes for shard in self._shards.values()) > self.MAX_QUEUED_BYTES:
            self._start(state)
        return stream_position.Step(out, state)

    def draw(self, number: int) -> list[dict[str, Any]]:
        """The next `number` examples that are packed, or a few more: to look at, not to train on."""
        drawn: list[dict[str, Any]] = []
        while len(drawn) < number:
            drawn += [item.example for item in self._draw_round()]
        return drawn

    def close(self) -> None:
        """Stops the readers, and ends the iteration."""
        self._closed.set()
        self._readers_closed.set()

    def free(self) -> None:
        """Frees what the readers hold; for a stream that is closed, and that nobody iterates over any more."""
        for reader in self._readers:
            reader.free()

    # Drawing.

    def _draw_round(self) -> list[_Item]:
        """One draw by every shard, in the order in which the readers were told; returns what came of it."""
        drawn = []
        for shard in self._shards.values():
            task = self._choose(shard.index, shard.draws)
            draw = shard.counts[task]
            shard.draws += 1
            shard.counts[task] += 1
            items = self._take(task, shard.index, draw)
            drawn += items
            shard.pending.extend(items)
            shard.drain()
        return drawn

    def _choose(self, shard: int, draw: int) -> int:
        return bisect.bisect_right(self._bounds, order.uniform(self._mixing_keys[shard], draw))

    def _take(self, task: int, shard: int, draw: int) -> list[_Item]:
        """The examples that the record of a draw became: none, one or several; those that fit no row are skipped."""
        items = []
        pieces = self._readers[task].take(self._position(shard, draw))
        if self._closed.is_set():
            # Readers that are closed have nothing to give, for ever.
            raise StopIteration
        for piece, example in enumerate(pieces):
            needed = packing.demand(example, self._row)
            reason = packing.misfit(needed, self._row)
            if reason:
                self._quarantine.add(self._tasks[task].name, example["id"], reason)
                continue
            example["task"] = task
            example["origin"] = (shard, draw, piece)
            items.append(_Item(Reference(task, draw, piece), example, needed))
        return items

    def _position(self, shard: int, draw: int) -> int:
        return shard + self._settings.data_shards * draw

    # Starting, at the beginning or in the middle.

    def _start(self, state: stream_position.State) -> None:
        """Opens the readers so that the next draw is the one after `state`, its open rows in their place."""
        self._readers_closed.set()
        self._readers_closed = threading.Event()
        if self._closed.is_set():
            self._readers_closed.set()
        fresh = {"draws": 0, "counts": [0] * len(self._tasks), "open": [], "ages": [], "pending": []}
        room = packing.capacity(self._row)
        self._shards = {
            v: _Shard(v, state.get(str(v), fresh), packing.Packer(room, self._settings.open_rows))
            for v in self._shard_indices
        }
        held = [self._held_draws(task) for task in range(len(self._tasks))]
        with concurrent.futures.ThreadPoolExecutor(len(self._tasks)) as pool:
            self._readers = list(pool.map(self._open_reader, range(len(self._tasks)), held))
        reread: dict[tuple[int, int, int], dict[int, _Item]] = {}
        for task, draws in enumerate(held):
            for shard, draw in draws:
                items = self._take(task, shard, draw)
                reread[shard, task, draw] = {item.reference.piece: item for item in items}
        for v, shard in self._shards.items():

            def again(reference: Sequence[int], v: int = v) -> _Item:
                task, draw, piece = reference
                try:
                    return reread[v, task, draw][piece]
                except KeyError:
                    raise ValueError(
                        f"resuming the stream: task '{self._tasks[task].name}' no longer yields the example that stood "
                        f"in an open row (data shard {v}, draw {draw}, piece {piece}): its data or its preprocessors "
                        "have changed. Start a new run, or bring the data back."
                    ) from None

            for row, age in zip(shard.snapshot["open"], shard.snapshot["ages"], strict=True):
                items = [again(reference) for reference in row]
                shard.packer.resume(items, [item.demand for item in items], age)
            shard.pending.extend(again(reference) for reference in shard.snapshot["pending"])
            shard.drain()

    def _held_draws(self, task: int) -> list[tuple[int, int]]:
        """(shard, draw) of every record of a task with examples in open rows."""
        held = set()
        for v, shard in self._shards.items():
            rows = [*shard.snapshot["open"], shard.snapshot["pending"]]
            held |= {(v, draw) for row in rows for (t, draw, _) in row if t == task}
        return sorted(held)

    def _open_reader(self, task: int, held: list[tuple[int, int]]) -> pipeline.Reader:
        starts = {v: (shard.draws, shard.counts[task]) for v, shard in self._shards.items()}

        def positions() -> Iterator[int]:
            yield from (self._position(shard, draw) for shard, draw in held)
            draws = {v: start[0] for v, start in starts.items()}
            counts = {v: start[1] for v, start in starts.items()}
            while True:
                for v in starts:
                    if self._choose(v, draws[v]) == task:
                        yield self._position(v, counts[v])
                        counts[v] += 1
                    draws[v] += 1

        return pipeline.Reader(
            self._tasks[task],
            self._settings.split,
            positions,
            seed=self._seed,
            threads=self._settings.read_threads,
            quarantine=self._quarantine,
            endless=True,
            augmentation=self._augmentation,
            closed=self._readers_closed,
        )


def fingerprint(data: config.Data, *, seed: int, vocabulary: str) -> dict[str, Any]:
    """What the order of a stream depends on: `stream_position.check` compares it before going on from a saved state.
    vocabulary: its hash."""
    settings = data.stream
    tasks, rates = pipeline.tasks_and_rates(settings.mixture, settings.split)
    return {
        **stream_position.layout(data, seed=seed, vocabulary=vocabulary),
        # A list: references to examples say tasks by their place in it.
        "tasks": [task.name for task in tasks],
        "rates": {task.name: round(rate, 9) for task, rate in zip(tasks, rates, strict=True)},
        "sources": {task.name: pipeline.source_of(task).fingerprint(settings.split) for task in tasks},
    }
