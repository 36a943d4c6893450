"""Order is a function: a permutation for every key, the same everywhere, and even."""

import subprocess
import sys

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from speechlm_jax.data import order


@settings(max_examples=60, deadline=None)
@given(count=st.integers(1, 700), stream=st.integers(0, (1 << 64) - 1))
def test_every_key_gives_a_permutation(count, stream):
    assert sorted(order.permute(index, count, stream) for index in range(count)) == list(range(count))


@pytest.mark.parametrize("count", [2**20 - 1, 2**20, 2**20 + 1, 10**9 + 7, 2**40])
def test_large_permutations_stay_within_and_do_not_collide(count):
    found = {order.permute(index, count, order.key("large")) for index in range(5_000)}
    assert len(found) == 5_000
    assert min(found) >= 0
    assert max(found) < count
    assert max(found) > 0.98 * count


@pytest.mark.parametrize("index", [-1, 5])
def test_an_index_outside_is_refused(index):
    with pytest.raises(ValueError, match="a permutation of 5 records"):
        order.permute(index, 5, 1)


@pytest.mark.parametrize("count", [2, 3, 5, 7, 12, 100])
def test_each_place_is_equally_likely_over_keys(count):
    keys = [order.key("even", trial) for trial in range(2_000)]
    for index in {0, count // 2, count - 1}:
        places = np.bincount([order.permute(index, count, stream) for stream in keys], minlength=count)
        assert scipy.stats.chisquare(places).pvalue > 1e-4


def test_small_permutations_all_occur_about_equally_often():
    seen: dict[tuple, int] = {}
    for trial in range(2_400):
        stream = order.key("all", trial)
        found = tuple(order.permute(index, 4, stream) for index in range(4))
        seen[found] = seen.get(found, 0) + 1
    assert len(seen) == 24
    assert scipy.stats.chisquare(list(seen.values())).pvalue > 1e-4


def test_neighbours_are_torn_apart():
    places = np.array([order.permute(index, 5_000, order.key(3)) for index in range(5_000)])
    assert abs(np.corrcoef(places[1:], places[:-1])[0, 1]) < 0.05
    assert abs(np.corrcoef(places, np.arange(5_000))[0, 1]) < 0.05


def test_uniform_numbers_are_uniform_and_streams_independent():
    a, b = ([order.uniform(order.key("u", part), index) for index in range(8_000)] for part in range(2))
    assert min(a) >= 0
    assert max(a) < 1
    assert scipy.stats.kstest(a, "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.05
    assert abs(np.corrcoef(a[1:], a[:-1])[0, 1]) < 0.05


def test_an_epoch_holds_every_record_once_and_the_next_has_another_order():
    epochs = [[order.record(epoch * 50 + index, 50, seed=9) for index in range(50)] for epoch in range(3)]
    assert all(sorted(epoch) == list(range(50)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert [order.record(position, 50, seed=10) for position in range(50)] not in epochs
    assert [order.record(position, 50, seed=9, shuffle=False) for position in range(120)] == [
        *range(50),
        *range(50),
        *range(20),
    ]


def test_keys_tell_their_parts_apart():
    parts = [("ab", "c"), ("a", "bc"), ("abc",), (1,), ("1",), (1, 2), (12,), (2, 1), (), (-1,), ("i1;",), ("",)]
    assert len({order.key(*each) for each in parts}) == len(parts)
    assert order.key(np.int64(3), "x") == order.key(3, "x")
    with pytest.raises(TypeError):
        order.key(1.5)


def test_order_is_the_same_in_another_process():
    code = "from speechlm_jax.data import order; print(order.key('task', 7), order.record(12345, 1000, seed=7))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == [str(order.key("task", 7)), str(order.record(12345, 1000, seed=7))]


def test_order_does_not_change_between_versions():
    assert order.key("task", 7) == KEY
    assert [order.permute(index, 10, 1) for index in range(10)] == PERMUTATION
    assert order.uniform(1, 2) == UNIFORM


KEY = 879876769295867321
PERMUTATION = [4, 9, 1, 3, 7, 8, 0, 2, 6, 5]
UNIFORM = 0.03763176362553666
