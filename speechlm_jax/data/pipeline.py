"""One SeqIO task as a reader of records by position, its preprocessors seeded by where a record stands."""

import codecs
import collections
import difflib
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import seqio
import tensorflow as tf

from speechlm_jax.data import config, features, noisy, order, patient, preprocessors, seeds, sources
from speechlm_jax.data.quarantine import Quarantine

LANES = tuple(features.OUTPUT_FEATURES)
KEPT = (*LANES, *preprocessors.CARRIED, *preprocessors.KEEPABLE)
"""Features of an example that outlive the preprocessors."""

LOST = 20_000
"""Records in a row that may yield nothing before a task is called empty; of a small source, a few passes of it."""
_PASSES, _LEAST_LOST = 4, 1_000

_FAILURES = (
    tf.errors.InvalidArgumentError,
    tf.errors.UnknownError,
    tf.errors.UnimplementedError,
    tf.errors.ResourceExhaustedError,
)
"""How TensorFlow hands on what an operation, or Python that one calls, has raised."""

_SUSPECTS = 64
"""Records that are tried, each by itself, after an error: it is of one of the next that were read ahead."""


def find(name: str) -> seqio.Task | seqio.Mixture:
    """The registered task or mixture of this name. Raises ValueError with the nearest name."""
    known = {**seqio.TaskRegistry._REGISTRY, **seqio.MixtureRegistry._REGISTRY}
    if name in known:
        return seqio.get_mixture_or_task(name)
    near = difflib.get_close_matches(name, known, 1)
    hint = f" Nearest: '{near[0]}'." if near else ""
    raise ValueError(
        f"task '{name}' is not registered.{hint} Tasks are registered in tasks/; does the recipe name the module "
        "(Data.task_modules), or --task_module?"
    )


def tasks_and_rates(name: str, split: str) -> tuple[list[seqio.Task], list[float]]:
    """The tasks of a mixture that have this split, and the share of draws that each gets.

    Raises ValueError where there is no such task, or one that cannot be read by position.
    """
    mixture = find(name)
    rates = {
        task.name: float(mixture.get_rate(task)) if isinstance(mixture, seqio.Mixture) else 1.0
        for task in seqio.get_subtasks(mixture)
    }
    if min(rates.values()) < 0:
        raise ValueError(f"mixing '{name}': a rate is a positive number, found {rates}.")
    if not any(rates.values()):
        raise ValueError(f"mixing '{name}': wanted a task at a rate above 0, found {rates}.")
    tasks = [task for task in seqio.get_subtasks(mixture) if split in task.splits and rates[task.name]]
    if not tasks:
        splits = sorted({split for task in seqio.get_subtasks(mixture) for split in task.splits})
        raise ValueError(
            f"reading '{name}': no task of it has a split '{split}', found {splits}. Give --split, or set Stream.split."
        )
    for task in tasks:
        source_of(task)
    total = sum(rates[task.name] for task in tasks)
    return tasks, [rates[task.name] / total for task in tasks]


def source_of(task: seqio.Task) -> sources.RandomAccessSource:
    """The task's source. Raises ValueError where its records cannot be read by position."""
    if isinstance(task.source, sources.RandomAccessSource):
        return task.source
    raise ValueError(
        f"reading task '{task.name}' by position: its source is a {type(task.source).__name__}, wanted one of "
        "speechlm_jax.data.sources (ManifestSource, RecordsSource ...)."
    )


class Reader:
    """The examples of a task at given positions of its endless order, made ahead of time.

    positions: a function that starts the iterator of positions to read; take() must be called in the same order.
    A record that cannot be read goes to the quarantine. endless: whether the positions are, so that an end of the
    examples is an error. augmentation: what is done to the lane `audio`, in training alone. `closed` ends the reading.
    """

    def __init__(
        self,
        task: seqio.Task,
        split: str,
        positions: Callable[[], Iterator[int]],
        *,
        seed: int,
        quarantine: Quarantine,
        threads: int = 2,
        shuffle: bool = True,
        endless: bool = False,
        augmentation: config.Augmentation | None = None,
        closed: threading.Event | None = None,
    ):
        self._task, self._quarantine = task, quarantine
        self._asked = self._answered = 0
        passes = _PASSES * source_of(task).num_input_examples(split)
        self._most_lost = min(LOST, max(passes, _LEAST_LOST))
        self._endless, self._lost = endless, False
        self._closed = closed or threading.Event()
        self._pending = collections.deque[int]()
        """Positions that are read and of which nothing has come out yet."""
        self._order = {"seed": order.key(seed, "order", task.name), "shuffle": shuffle}
        self._split, self._seed = split, seed
        dataset = self._preprocessed(
            lambda: self._watch(positions()),
            threads=threads,
            on_bad=lambda position, record_id, reason: quarantine.add(task.name, record_id, reason),
        )
        spec: Any = dataset.element_spec
        if "_pos" not in spec:
            raise ValueError(
                f"reading task '{task.name}': a preprocessor dropped the feature `_pos`, by which a record is found "
                "again after a restart. Keep it, or end the preprocessors with speechlm_jax.data.preprocessors.lanes."
            )
        dataset = dataset.map(lambda example: {name: example[name] for name in KEPT if name in example})
        if augmentation is not None and augmentation.shares:
            key = order.key(seed, "augmentation", task.name)
            dataset = noisy.by_position(dataset, augmentation, key, threads=threads)
        options = tf.data.Options()
        # Its thread sometimes misses the word to stop, and whoever frees the iterator then waits for it for ever.
        options.autotune.enabled = False
        self._dataset = dataset.prefetch(4).with_options(options)
        self._iterator: Any = self._dataset.as_numpy_iterator()
        self._ahead: dict[str, Any] | None = self._next()

    def free(self) -> None:
        """Frees a reader that is closed: first what reads, while what it calls is still there, or TensorFlow complains
        on the terminal."""
        self._iterator = None

    def take(self, position: int) -> list[dict[str, Any]]:
        """What the record at a position became: no example, one or several.

        Raises TooManyBadRecords, storage.NoAnswer, and ValueError when nothing of the task passes its preprocessors any
        more, or when what was to be endless has ended.
        """
        examples = []
        while self._ahead is not None and self._ahead["_pos"] == position:
            examples.append(self._ahead)
            self._ahead = self._next()
        if self._ahead is None:
            self._quarantine.check()
            if self._lost:
                raise ValueError(
                    f"reading task '{self._task.name}': none of {self._most_lost} records in a row passed its "
                    "preprocessors. Does a filter drop everything, or is a text field empty?"
                )
            if self._endless and not self._closed.is_set():
                raise ValueError(
                    f"reading task '{self._task.name}': wanted examples without end, found none after "
                    f"{self._asked} records. Does a preprocessor end its dataset (take, a cut by size)?"
                )
        return examples

    def _next(self) -> dict[str, Any] | None:
        try:
            example = next(self._iterator, None)
        except _FAILURES as error:
            if self._closed.is_set():
                return None
            doing, said = f"reading task '{self._task.name}'", _said(error)
            patient.handed_on(said, doing)
            raise ValueError(f"{doing}{self._blamed()}: {said}") from error
        self._answered = self._asked
        while example is not None and self._pending and self._pending[0] != example["_pos"]:
            self._pending.popleft()
        return example

    def _preprocessed(
        self, positions: Callable[[], Iterator[int]], *, threads: int, on_bad: sources.OnBad
    ) -> tf.data.Dataset:
        task, source = self._task, source_of(self._task)
        dataset = source.at(self._split, positions, threads=threads, on_bad=on_bad, ended=self._closed, **self._order)
        try:
            with seeds.position_seeds(self._seed, task.name):
                dataset = task.preprocess_precache(dataset, seed=self._seed)
                dataset = task.preprocess_postcache(dataset, sequence_length=None, seed=self._seed)
        except ValueError as error:
            # As it is, so that it still tells where it came up; what AutoGraph says goes over many lines.
            if "\n" not in str(error):
                error.args = (f"reading task '{task.name}': {error}",)
            raise
        try:
            return task._validate_preprocessing(dataset)
        except ValueError as error:
            raise ValueError(
                f"reading task '{task.name}': {error}. Its last preprocessor is to be preprocessors.lanes(), which "
                "fills what the others leave empty."
            ) from error

    def _blamed(self) -> str:
        """Which of the records that were read ahead a preprocessor fails on, in words: each is tried by itself."""
        for position in list(self._pending)[:_SUSPECTS]:
            alone = self._preprocessed(lambda at=position: iter([at]), threads=0, on_bad=lambda *told: None)
            try:
                collections.deque(alone.as_numpy_iterator(), maxlen=0)
            except _FAILURES:
                records = source_of(self._task).reader(self._split)
                return f", record {records.name(order.record(position, len(records), **self._order))}"
        return ""

    def _watch(self, positions: Iterator[int]) -> Iterator[int]:
        """Ends the positions when nothing comes of them, instead of looking for an example for ever."""
        for position in positions:
            self._lost = self._asked - self._answered >= self._most_lost
            if self._lost or self._closed.is_set() or self._quarantine.over_budget:
                return
            self._asked += 1
            self._pending.append(position)
            self._quarantine.count_read(task=self._task.name)
            yield position


_WHERE = re.compile(r"^\{\{function_node .*?\}\} |Error in user-defined function .*? iterator: \S+: ")


def _said(error: tf.errors.OpError) -> str:
    """What an assertion of a preprocessor, or Python that it calls, says, without where in TensorFlow it stands."""
    raised, stack, _ = str(error.message).partition("\nTraceback (most recent call last)")
    if stack:
        return _WHERE.sub("", raised).strip()
    first = raised.replace("\n", " ").partition("[[{{")[0]
    _, asserted, parts = first.partition("assertion failed: ")
    if not asserted:
        return first.strip()
    written = " ".join(re.findall(r"\[(.*?)\](?= \[|\s*$)", parts))
    # TensorFlow writes quotes, and all letters that are not ASCII, as escapes.
    return codecs.escape_decode(written.encode())[0].decode("utf-8", "replace")
