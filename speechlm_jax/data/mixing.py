"""Rates of a mixture that follow from its tasks: by their size at a temperature, or by speech or text drawn.

What these functions return is given to seqio.MixtureRegistry.add. A rate is found when a run asks for it, not before:
that is when sources are opened.
"""

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Literal

import seqio

from speechlm_jax import batch
from speechlm_jax.data import config as data_config
from speechlm_jax.data import features, pipeline, quarantine

Unit = Literal["audio_seconds", "tokens"]
Rates = list[tuple[str, Callable[[seqio.Task], float]]]

SAMPLE = 1000
"""Records that the mean amount of a draw is measured on."""


def by_size(tasks: Iterable[str], *, temperature: float = 1.0, most: int | None = None, split: str = "train") -> Rates:
    """Rates that grow with the number of records as N ** (1 / temperature): 1 draws every record alike often, infinity
    every task (T5, arXiv 1910.10683, section 3.5.2).

    most: a larger task counts as if it had so many records. Raises ValueError for a temperature or `most` below 1.
    """
    if most is not None and most < 1:
        raise ValueError(f"mixing by size: wanted a task to count as 1 record or more, found most={most}.")
    if not temperature >= 1:
        raise ValueError(f"mixing by size: a temperature is 1 or more, found {temperature}.")

    def rate(task: seqio.Task) -> float:
        records = pipeline.source_of(task).num_input_examples(split)
        return float(min(records, most or records)) ** (1 / temperature)

    return [(name, rate) for name in tasks]


def by_amount(shares: Mapping[str, float], unit: Unit, *, split: str = "train") -> Rates:
    """Rates at which each task gets its share, not of the examples that are drawn but of their speech or text.

    shares: positive numbers. unit: seconds of speech, into the encoder and out of the decoder, or tokens, likewise.
    What a draw of a task yields is measured on its first SAMPLE shuffled records, those that become no example and
    yield nothing among them: it is records that a mixture draws. Raises ValueError where a task has nothing of the
    unit.
    """
    if not all(share > 0 for share in shares.values()):
        raise ValueError(f"mixing by {unit}: shares are positive numbers, found {dict(shares)}.")

    def rate(task: seqio.Task) -> float:
        amount = _mean_of_draw(task.name, split, features.current().hash)[unit]
        if not amount:
            raise ValueError(f"mixing by {unit}: examples of task '{task.name}' have none. Give it a rate by itself.")
        return shares[task.name] / amount

    return [(name, rate) for name in shares]


@functools.lru_cache(maxsize=1024)
def _mean_of_draw(name: str, split: str, vocabulary: str) -> Mapping[Unit, float]:
    """What a record of a task becomes in the mean, in each unit; it depends on the vocabulary."""
    del vocabulary
    task = seqio.TaskRegistry.get(name)
    records = min(SAMPLE, pipeline.source_of(task).num_input_examples(split))
    bad = quarantine.Quarantine(data_config.BadRecords(max_share=1.0))
    reader = pipeline.Reader(task, split, lambda: iter(range(records)), seed=0, quarantine=bad)
    examples = [example for position in range(records) for example in reader.take(position)]
    samples = sum(len(example["audio"]) + len(example["target_audio"]) for example in examples)
    tokens = sum(len(example[lane]) for example in examples for lane in ("inputs", "prompt", "targets"))
    draws = max(records, 1)
    return {"audio_seconds": samples / batch.SAMPLE_RATE / draws, "tokens": tokens / draws}
