"""Where the batches of a run come from: SeqIO tasks, or rows that were written ahead of it."""

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from speechlm_jax import peers
from speechlm_jax.data import config as data_config
from speechlm_jax.data import quarantine, stream_position
from speechlm_jax.training import config


class Source(Protocol):
    """The batches of this process, from where the run stands; closed when the run ends."""

    @property
    def tasks(self) -> list[str]:
        """Names; a segment's task_id is an index here."""
        ...

    @property
    def bad_records(self) -> quarantine.Quarantine:
        """What was skipped so far."""
        ...

    def __iter__(self) -> Iterator[stream_position.Step]: ...

    def __next__(self) -> stream_position.Step: ...

    def close(self) -> None: ...


class Open(Protocol):
    """Opens the source: `shards` are the data shards of this process, `state` is where they stand after `read` batches,
    and `on_bad` is told of records that cannot be used."""

    def __call__(self, *, shards: Sequence[int], state: Any, read: int, on_bad: Callable[..., None]) -> Source: ...


@dataclasses.dataclass(frozen=True)
class Feed:
    """What is known of the batches before any is made."""

    num_tasks: int
    fingerprint: dict[str, Any]
    """What the order of the batches depends on."""
    open: Open


def find(recipe: config.Recipe, vocabulary: str) -> Feed:
    """Raises ValueError where a task, or what was written, is not there or not the recipe's. vocabulary: its hash."""
    feed = _written(recipe, vocabulary) if recipe.data.stream.written else _tasks(recipe, vocabulary)
    if feed.num_tasks > recipe.task_slots:
        raise ValueError(
            f"training on {feed.num_tasks} tasks: Recipe.task_slots = {recipe.task_slots} has no room for them."
        )
    return feed


def meet(feed: Feed, what: str) -> None:
    """As `peers.meet`, of processes that are to draw the same. Raises ValueError in one that would draw otherwise than
    the first: an old copy of the data would be found out when the run goes on, after days."""
    peers.note(_DRAWS, json.dumps(feed.fingerprint))
    peers.meet(what)
    if (first := peers.notes(_DRAWS).get(0)) is not None:
        doing = f"beginning: process {peers.own()} would draw other examples than the first one"
        stream_position.check(json.loads(first), feed.fingerprint, doing, "Give all hosts the same data and code.")


_DRAWS = "draws"


def _tasks(recipe: config.Recipe, vocabulary: str) -> Feed:
    # TensorFlow comes with these, and only where it is needed.
    from speechlm_jax.data import registration, stream

    data: data_config.Data = recipe.data
    registration.register(data)
    fingerprint = stream.fingerprint(data, seed=recipe.seed, vocabulary=vocabulary)

    def opened(*, shards: Sequence[int], state: Any, read: int, on_bad: Callable[..., None]) -> Source:
        del read  # The state says it.
        return stream.Stream(
            data.stream,
            data.row,
            rows=data.rows,
            seed=recipe.seed,
            shards=shards,
            state=state,
            augmentation=data.augmentation,
            on_bad=on_bad,
        )

    return Feed(len(fingerprint["tasks"]), fingerprint, opened)


def _written(recipe: config.Recipe, vocabulary: str) -> Feed:
    from speechlm_jax.data import written_rows

    data: data_config.Data = recipe.data
    info = written_rows.read_info(data.stream.written)
    written_rows.check(info, data, seed=recipe.seed, vocabulary=vocabulary, steps=recipe.steps)

    def opened(*, shards: Sequence[int], state: Any, read: int, on_bad: Callable[..., None]) -> Source:
        del state, on_bad  # The batches say the one, and the other was told when the rows were written.
        return written_rows.WrittenRows(data, info, shards=shards, done=read)

    return Feed(len(info.fingerprint["tasks"]), info.fingerprint, opened)
