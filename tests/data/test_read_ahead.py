"""Work done ahead of time comes in order, is bounded, and does not outlive its iterator or the interpreter."""

import itertools
import queue
import subprocess
import sys
import threading
import time

import pytest

from speechlm_jax.data import read_ahead


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_answers_come_in_the_order_of_the_questions(threads, threads_at_work):
    def slow_square(number: int) -> int:
        time.sleep(0.003 * (number % 4))
        return number**2

    assert list(read_ahead.in_order(slow_square, range(40), threads)) == [number**2 for number in range(40)]
    assert list(read_ahead.in_order(slow_square, [], threads)) == []
    assert threads_at_work() == 0


def test_no_more_than_a_few_are_worked_out_ahead(threads_at_work):
    asked = []
    values = read_ahead.in_order(asked.append, itertools.count(), 2)
    next(values)
    for _ in range(1000):
        if len(asked) >= 2:
            break
        time.sleep(0.01)
    assert 2 <= len(asked) <= 18
    assert threads_at_work() == 2
    values.close()
    assert threads_at_work() == 0


def test_an_error_comes_in_its_turn(threads_at_work):
    def divide(number: int) -> float:
        return 1 / number

    values = read_ahead.in_order(divide, [1, 2, 0, 4], 2)
    assert [next(values), next(values)] == [1, 0.5]
    with pytest.raises(ZeroDivisionError):
        next(values)
    assert threads_at_work() == 0


def test_one_of_its_own_threads_may_close_it(threads_at_work):
    """As that does which happens to collect garbage."""
    goes, closed = threading.Event(), queue.Queue()

    def close(number: int) -> int:
        if number == 5:
            goes.wait(60)
            try:
                closed.put(values.close())
            except RuntimeError as error:
                closed.put(error)
        return number

    values = read_ahead.in_order(close, itertools.count(), 2)
    assert next(values) == 0
    goes.set()
    assert closed.get(timeout=60) is None and list(values) == []
    give_up = time.monotonic() + 60
    while threads_at_work() and time.monotonic() < give_up:
        time.sleep(0.01)
    assert threads_at_work() == 0


PROGRAM = """
import itertools, sys, time
import tensorflow as tf
from speechlm_jax.data import read_ahead

def slow(number):
    time.sleep(0.3)
    return number

def endless(threads):
    make = read_ahead.ends_in_time(lambda: read_ahead.in_order(slow, itertools.count(), threads))
    dataset = tf.data.Dataset.from_generator(make, output_signature=tf.TensorSpec([], tf.int64))
    return dataset.prefetch(1000).as_numpy_iterator()

iterators = [endless(threads) for threads in (0, 2)]
print([int(next(iterator)) for iterator in iterators])
"""


@pytest.mark.slow
def test_a_process_ends_while_endless_datasets_are_being_read():
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=90, check=False)
    assert (run.returncode, run.stdout) == (0, "[0, 0]\n"), run.stderr
    assert "interpreter" not in run.stderr
