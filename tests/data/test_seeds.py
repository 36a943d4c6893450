"""Tests of positional seeds."""

import threading

import numpy as np
import pytest
import seqio
import tensorflow as tf

from speechlm_jax.data import seeds


@seqio.map_over_dataset(num_seeds=1)
def draw_one(example, seed):
    return {**example, "one": tf.random.stateless_uniform([64], seed)}


@seqio.map_over_dataset(num_seeds=3)
def draw_three(example, seeds):
    return {**example, "three": tf.stack([tf.random.stateless_uniform([], seed) for seed in seeds])}


def records(positions=range(6)) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices({"_pos": np.asarray(list(positions), np.int64)})


def drawn(dataset: tf.data.Dataset, name: str) -> np.ndarray:
    return np.stack([example[name] for example in dataset.as_numpy_iterator()])


def draws(run_seed: int, task: str, positions=range(6), times: int = 1) -> np.ndarray:
    with seeds.position_seeds(run_seed, task):
        dataset = records(positions)
        for _ in range(times):
            dataset = draw_one(dataset)
    return drawn(dataset, "one")


def test_seeds_repeat_exactly():
    np.testing.assert_array_equal(draws(1, "asr"), draws(1, "asr"))


def test_seeds_follow_the_position_and_not_the_order():
    straight = draws(1, "asr", range(6))
    np.testing.assert_array_equal(draws(1, "asr", [4, 2, 2, 0]), straight[[4, 2, 2, 0]])


def test_runs_tasks_positions_and_preprocessors_have_seeds_of_their_own():
    all_draws = np.concatenate(
        [draws(1, "asr"), draws(2, "asr"), draws(1, "asr2"), draws(1, "asr", range(6, 12)), draws(1, "asr", times=2)]
    )
    assert len(np.unique(all_draws[:, 0])) == 30


def test_draws_of_two_tasks_do_not_correlate():
    one, other = draws(1, "asr", range(200)), draws(1, "mlm", range(200))
    assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.03
    assert abs(np.corrcoef(one[:-1].ravel(), one[1:].ravel())[0, 1]) < 0.03
    np.testing.assert_allclose([one.mean(), one.var()], [1 / 2, 1 / 12], atol=0.01)


def test_several_seeds_of_one_preprocessor_differ():
    with seeds.position_seeds(1, "asr"):
        dataset = draw_three(records())
    assert len(np.unique(drawn(dataset, "three"))) == 18


def test_a_preprocessor_in_a_task_sees_positional_seeds_and_its_own_arguments():
    @seqio.map_over_dataset(num_seeds=1)
    def scaled(example, seed, factor, sequence_length=None):
        return {**example, "one": factor * tf.random.stateless_uniform([64], seed)}

    with seeds.position_seeds(1, "asr"):
        dataset = scaled(records(), factor=2.0)
    np.testing.assert_array_equal(drawn(dataset, "one"), 2 * draws(1, "asr"))


def test_a_dropped_position_is_an_error_that_names_the_task():
    with seeds.position_seeds(1, "asr"), pytest.raises(ValueError, match=r"task 'asr'.*dropped the feature `_pos`"):
        draw_one(records().map(lambda example: {"x": example["_pos"]}))


def test_seqio_draws_as_before_outside():
    def stock() -> np.ndarray:
        with seqio.map_seed_manager(17):
            return drawn(draw_one(records()), "one")

    before = stock()
    with pytest.raises(RuntimeError), seeds.position_seeds(1, "asr"):
        raise RuntimeError
    np.testing.assert_array_equal(stock(), before)
    assert seqio.utils._GrainRandomMapFn.__call__ is seeds._stock_call
    assert not np.array_equal(draws(1, "asr"), before)


def test_one_thread_builds_by_position_while_another_builds_as_seqio_does():
    with seqio.map_seed_manager(17):
        before = drawn(draw_one(records()), "one")
    found = {}

    def build() -> None:
        with seqio.map_seed_manager(17):
            found["other"] = drawn(draw_one(records()), "one")

    with seeds.position_seeds(1, "asr"):
        thread = threading.Thread(target=build)
        thread.start()
        thread.join()
        with seeds.position_seeds(1, "mlm"):
            inner = drawn(draw_one(records()), "one")
        outer = drawn(draw_one(records()), "one")
    np.testing.assert_array_equal(found["other"], before)
    np.testing.assert_array_equal(inner, draws(1, "mlm"))
    np.testing.assert_array_equal(outer, draws(1, "asr"))
