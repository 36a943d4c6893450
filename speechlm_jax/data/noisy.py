"""Augmentation within tf.data: of a field, as a preprocessor of a task; of the lane `audio`, for the stream."""

import functools
from typing import Any

import numpy as np
import tensorflow as tf

from speechlm_jax.data import augmentation, config, order, preprocessors
from speechlm_jax.data.preprocessors import Example, Preprocessor


def augmented(field: str = "audio", into: str = "audio", *, choices: config.Augmentation) -> Preprocessor:
    """The preprocessor that writes `field`, a waveform, into the field `into` as `choices` change it, by the
    example's seed: in evaluation, too.

    With rename(target_audio="audio") before it, or `into` another name, the clean speech stays for another lane; leave
    speed off where the two must keep time.
    """

    def change(example: Example, seed: tf.Tensor) -> Example:
        samples = preprocessors.field(example, field, "augmenting speech")
        return {**example, into: _changed(samples, choices, [tf.cast(part, tf.int64) for part in tf.unstack(seed)])}

    return preprocessors.seeded(change)


def by_position(dataset: tf.data.Dataset, choices: config.Augmentation, key: int, *, threads: int) -> tf.data.Dataset:
    """Examples whose lane `audio` is changed, each by (key, its record's position, which piece of that record it is).

    Pieces of one record must stand side by side.
    """

    @tf.autograph.experimental.do_not_convert
    def count(state: Any, example: Example) -> Any:
        position = tf.cast(example["_pos"], tf.int64)
        piece = tf.where(position == state[0], state[1] + 1, tf.constant(0, tf.int64))
        return (position, piece), (example, piece)

    @tf.autograph.experimental.do_not_convert
    def change(example: Example, piece: tf.Tensor) -> Example:
        samples = example["audio"]
        changed = tf.cond(
            tf.size(samples) > 0,
            lambda: _changed(samples, choices, [tf.cast(example["_pos"], tf.int64), piece], key),
            lambda: samples,
        )
        return {**example, "audio": changed}

    counted = dataset.scan((np.int64(-1), np.int64(0)), count)
    return counted.map(change, num_parallel_calls=threads, deterministic=True)


def _changed(samples: tf.Tensor, choices: config.Augmentation, parts: list[tf.Tensor], key: int = 0) -> tf.Tensor:
    augment = functools.partial(_augment, choices, key)
    return tf.ensure_shape(tf.numpy_function(augment, [samples, *parts], tf.int16, stateful=False), [None])


def _augment(choices: config.Augmentation, key: int, samples: np.ndarray, *parts: np.int64) -> np.ndarray:
    return augmentation.augment(samples, choices, order.key(key, *parts))
