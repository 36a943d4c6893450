"""The text of a mixture as its tasks see it: what a vocabulary is trained on."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import seqio
import tensorflow as tf

from speechlm_jax import storage
from speechlm_jax.data import fields as kinds
from speechlm_jax.data import patient, pipeline, read_ahead, sources

MAX_KEPT = 200_000
"""Records whose text is kept in memory, of each source; larger ones are read again for each task."""

_LIGHT = ("text", "texts", "int", "float")
"""Kinds of the fields that are read; a step that asks for others is given whole examples."""

_logger = logging.getLogger(__name__)


def texts(
    mixture: str, split: str = "train", fields: Sequence[str] | None = None, *, max_examples: int | None = None
) -> Iterator[str]:
    """The text of each task of a mixture in turn, in the order of its records, empty texts left out. What several
    tasks make of the same record of one source is given once, where it is the same text.

    A task's preprocessors are applied up to the first that needs a vocabulary (preprocessors.mapped marks them), so
    that the text is renamed, filtered and normalized as in training. Where none is marked, it is the source's text.
    No recording is decoded, unless a preprocessor before that asks for it.

    fields: by default those that the task's marked preprocessors tokenize. max_examples: of each task.
    Raises ValueError where a task has none of the fields, and storage.NoAnswer.
    """
    tasks, _ = pipeline.tasks_and_rates(mixture, split)
    opened: dict[int, _Records] = {}
    for task in tasks:
        source = pipeline.source_of(task)
        while isinstance(source, sources.Having):  # The task's own preprocessors leave the same records out.
            source = source.source
        if id(source) not in opened:
            opened[id(source)] = _Records(source, split)
        yield from _of_task(task, opened[id(source)], fields, max_examples)


def _of_task(
    task: seqio.Task, records: "_Records", fields: Sequence[str] | None, max_examples: int | None
) -> Iterator[str]:
    steps = list(task.preprocessors)
    tokenizing = [i for i, step in enumerate(steps) if hasattr(step, "texts")]
    before = steps[: tokenizing[0]] if tokenizing else []
    tokenized = [field for i in tokenizing for field in steps[i].texts]
    if tokenizing and not tokenized and not fields:
        return  # A task of speech alone.
    wanted = list(dict.fromkeys(fields or tokenized))
    if not before:
        there = [name for name, kind in records.fields.items() if kind in ("text", "texts")]
        found = _found(task, wanted, there)
        # Of records as they are, a field that another task gave has nothing new.
        names = [name for name in found if name not in records.given]
        records.given.update(names)
        examples = records.read(names) if names else iter(())
    else:
        dataset = _after(task, before, records)
        there = [name for name, spec in dataset.element_spec.items() if spec.dtype == tf.string]
        names = _found(task, wanted, there)
        kept = [*names, sources.POSITION] if sources.POSITION in dataset.element_spec else names
        dataset = dataset.map(lambda example: {name: example[name] for name in kept})
        examples = _answered(_one_by_one(dataset), f"reading task '{task.name}'")
    for number, example in enumerate(examples):
        if number == max_examples:
            return
        position = int(example[sources.POSITION]) if sources.POSITION in example else None
        for value in (example[name] for name in names):
            for content in value.ravel() if isinstance(value, np.ndarray) else [value]:
                text = content.decode("utf-8", "replace").strip()
                if text and records.is_new(position, text):
                    yield text


def _found(task: seqio.Task, wanted: Sequence[str], there: Sequence[str]) -> list[str]:
    found = [name for name in wanted if name in there]
    if not found:
        raise ValueError(
            f"reading the text of task '{task.name}': wanted {', '.join(wanted) or 'a preprocessor that tokenizes'}, "
            f"found the text fields {', '.join(there)}. Name them: speechlm data --text_field=NAME."
        )
    return found


def _after(task: seqio.Task, before: Sequence[Any], records: "_Records") -> Any:
    """The records after the steps `before`: without what is heavy, or whole, where a step asks for that."""
    try:
        return task._preprocess_dataset(records.dataset(), before)
    except storage.NoAnswer:
        raise
    except Exception as error:
        # Whatever the step raised for want of a field it raises again, unless it was one of those left out.
        _logger.info("task '%s' is read with its recordings: %s", task.name, error)
        return task._preprocess_dataset(records.source.get_dataset(records.split, shuffle=False), before)


def _one_by_one(dataset: Any) -> Iterator[dict[str, Any]]:
    """The examples of a dataset in numpy; where all fields are scalars many are fetched at once, which is quicker."""
    if any(spec.shape.rank != 0 for spec in dataset.element_spec.values()):
        yield from dataset.as_numpy_iterator()
        return
    for fetched in dataset.batch(256).as_numpy_iterator():
        for values in zip(*fetched.values(), strict=True):
            yield dict(zip(fetched, values, strict=True))


def _answered(examples: Iterator[dict[str, Any]], doing: str) -> Iterator[dict[str, Any]]:
    """The examples; that storage does not answer them is raised as it was, and not as TensorFlow tells it."""
    try:
        yield from examples
    except tf.errors.OpError as error:
        patient.handed_on(str(error.message), doing)
        raise


class _Records:
    """The light fields of a split's records, read once, and what was given of them."""

    def __init__(self, source: sources.RandomAccessSource, split: str):
        self.source, self.split = source, split
        self._reader = source.reader(split)
        self.fields = {name: kind for name, kind in source.fields(split).items() if kind in _LIGHT}
        self._kept: list[dict[str, Any]] | None = None
        self._tensors: tf.data.Dataset | None = None
        self._few = len(self._reader) <= MAX_KEPT
        self.given: set[str] = set()
        """Fields that were given as they are in the records."""
        self._told: set[int] = set()

    def read(self, names: Sequence[str]) -> Iterator[dict[str, Any]]:
        """The position and some fields of each record that can be read, texts as bytes."""
        if not self._few:
            yield from self._read({name: self.fields[name] for name in names})
            return
        for record in self._all():
            yield {name: record[name] for name in (*names, sources.POSITION)}

    def dataset(self) -> tf.data.Dataset:
        """The position and the light fields of each record that can be read."""
        if self._few:
            self._tensors = self._tensors or _in_memory(self._all(), self.fields)
            return self._tensors
        spec = self.source.spec(self.split)
        return tf.data.Dataset.from_generator(
            read_ahead.ends_in_time(lambda: self._read(self.fields)),
            output_signature={name: spec[name] for name in (*self.fields, sources.POSITION)},
        )

    def is_new(self, position: int | None, text: str) -> bool:
        """Whether the record at a position has not given this text yet; of very many records that is not known."""
        if position is None or not self._few:
            return True
        key = hash((position, text))
        new = key not in self._told
        self._told.add(key)
        return new

    def _all(self) -> list[dict[str, Any]]:
        if self._kept is None:
            self._kept = list(self._read(self.fields))
        return self._kept

    def _read(self, fields: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        names = [name for name in fields if name in self._reader.fields]
        for index in range(len(self._reader)):
            try:
                record = kinds.conform(self._values(index, names), fields)
                if "id" in fields and not record["id"]:
                    record["id"] = self._reader.name(index)
            except storage.NoAnswer:
                raise
            except Exception as error:
                _logger.warning("%r, split %s, record %d: left out: %s", self.source, self.split, index, error)
                continue
            for name, kind in fields.items():
                if kind == "text":
                    record[name] = record[name].encode("utf-8")
                elif kind == "texts":
                    record[name] = np.array([text.encode("utf-8") for text in record[name]], object)
            yield {**record, sources.POSITION: np.int64(index)}

    def _values(self, index: int, names: Sequence[str]) -> Mapping[str, Any]:
        try:
            return patient.read(self._reader, index, names)
        except KeyError:
            # A field that this record lacks, or that is made of whole examples.
            return patient.read(self._reader, index)


def _in_memory(records: Sequence[Mapping[str, Any]], fields: Mapping[str, str]) -> tf.data.Dataset:
    """A dataset of records with these fields and a position."""
    columns: Any = {}
    ragged: Any = tf.RaggedTensor
    for name, kind in {**fields, sources.POSITION: "int"}.items():
        values = [record[name] for record in records]
        if kind == "texts":
            flat = [text for texts in values for text in texts]
            columns[name] = ragged.from_row_lengths(
                tf.constant(flat, tf.string), np.array([len(texts) for texts in values], np.int64)
            )
        else:
            columns[name] = tf.constant(values, tf.string if kind == "text" else kinds.DTYPES[kind])
    dataset = tf.data.Dataset.from_tensor_slices(columns)
    if "texts" not in fields.values():
        return dataset
    # A slice of a ragged tensor is a tensor in all but its name.
    return dataset.map(
        lambda record: {name: tf.ensure_shape(record[name], columns[name].shape[1:]) for name in columns}
    )
