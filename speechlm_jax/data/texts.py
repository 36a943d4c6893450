"""The text of a mixture as its tasks see it: what a vocabulary is trained on."""

from collections.abc import Iterator, Sequence

import numpy as np
import seqio
import tensorflow as tf

from speechlm_jax.data import pipeline


def texts(
    mixture: str, split: str = "train", fields: Sequence[str] | None = None, *, max_examples: int | None = None
) -> Iterator[str]:
    """The text of each task of a mixture in turn, in the order of its records, empty texts left out.

    A task's preprocessors are applied up to the first that needs a vocabulary (preprocessors.mapped marks them), so
    that the text is renamed, filtered and normalized as in training. Where none is marked, it is the source's text.

    fields: by default those that the task's marked preprocessors tokenize. max_examples: of each task.
    Raises ValueError where a task has none of the fields.
    """
    tasks, _ = pipeline.tasks_and_rates(mixture, split)
    for task in tasks:
        yield from _of_task(task, split, fields, max_examples)


def _of_task(task: seqio.Task, split: str, fields: Sequence[str] | None, max_examples: int | None) -> Iterator[str]:
    steps = list(task.preprocessors)
    tokenizing = [i for i, step in enumerate(steps) if hasattr(step, "texts")]
    before = steps[: tokenizing[0]] if tokenizing else []
    tokenized = [field for i in tokenizing for field in steps[i].texts]
    if tokenizing and not tokenized and not fields:
        return  # A task of speech alone.
    dataset = task.source.get_dataset(split, shuffle=False)
    dataset = task._preprocess_dataset(dataset, before)
    there = [name for name, spec in dataset.element_spec.items() if spec.dtype == tf.string]
    found = [name for name in dict.fromkeys(fields or tokenized) if name in there]
    if not found:
        wanted = ", ".join(fields or tokenized) or "a preprocessor that tokenizes"
        raise ValueError(
            f"reading the text of task '{task.name}': wanted {wanted}, found the text fields {', '.join(there)}. "
            "Name them: speechlm data --text_field=NAME."
        )
    dataset = dataset.map(lambda example: {name: example[name] for name in found})
    if max_examples is not None:
        dataset = dataset.take(max_examples)
    for example in dataset.as_numpy_iterator():
        for value in (example[name] for name in found):
            for content in value.ravel() if isinstance(value, np.ndarray) else [value]:
                if text := content.decode("utf-8", "replace").strip():
                    yield text
