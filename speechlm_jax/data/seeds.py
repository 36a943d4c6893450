"""Seeds of SeqIO's stochastic preprocessors as a function of where a record stands, so that a restart repeats them."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from seqio import utils as seqio_utils

from speechlm_jax.data import order

_Map = seqio_utils._GrainRandomMapFn
"""What seqio.map_over_dataset(num_seeds=...) applies to a dataset."""

_lock = threading.Lock()
_users = 0
_stock_call = _Map.__call__
_building = threading.local()


@contextlib.contextmanager
def position_seeds(run_seed: int, task_name: str) -> Iterator[None]:
    """While a task's preprocessors are applied under this, the seeds of seqio.map_over_dataset(num_seeds=k) become a
    function of (run_seed, task_name, how-many-th such preprocessor, the example's `_pos`).

    Pieces that an earlier preprocessor cut from one record share their seeds. Only the calling thread is concerned;
    elsewhere and afterwards SeqIO draws seeds as it always does. Raises ValueError where `_pos` is missing.
    """
    global _users
    before = getattr(_building, "task", None)
    with _lock:
        _users += 1
        _Map.__call__ = _seeded_call
    _building.task = _Task(run_seed, task_name)
    try:
        yield
    finally:
        _building.task = before
        with _lock:
            _users -= 1
            if not _users:
                _Map.__call__ = _stock_call


class _Task:
    """A task whose preprocessors are being applied."""

    def __init__(self, run_seed: int, name: str):
        self.run_seed, self.name = run_seed, name
        self.stochastic = 0

    def next_key(self) -> np.int64:
        """The key of the next stochastic preprocessor."""
        key = order.key(self.run_seed, "preprocessor", self.name, self.stochastic)
        self.stochastic += 1
        return np.uint64(key).astype(np.int64)


def _seeded_call(self: Any, dataset: tf.data.Dataset, *args: Any, **kwargs: Any) -> tf.data.Dataset:
    task: _Task | None = getattr(_building, "task", None)
    if task is None:
        return _stock_call(self, dataset, *args, **kwargs)
    spec: Any = dataset.element_spec
    if "_pos" not in spec:
        raise ValueError(
            f"seeding the preprocessors of task '{task.name}': an earlier one dropped the feature `_pos`, by which "
            "a record's randomness is repeated. Keep `_pos` in what each preprocessor returns."
        )
    key = task.next_key()
    number = self.num_seeds

    def seeded(example: dict[str, tf.Tensor]) -> Any:
        # Philox by name: another algorithm may be the default on another device.
        seeds = tf.random.stateless_uniform(
            [number, 2],
            tf.stack([tf.constant(key, tf.int64), tf.cast(example["_pos"], tf.int64)]),
            minval=tf.int32.min,
            maxval=tf.int32.max,
            dtype=tf.int32,
            alg="philox",
        )
        named = {"seed": seeds[0]} if number == 1 else {"seeds": tuple(tf.unstack(seeds))}
        return self._map_fn_with_special_kwargs(example, *args, **named, **kwargs)

    return dataset.map(seeded, num_parallel_calls=self.num_parallel_calls)
