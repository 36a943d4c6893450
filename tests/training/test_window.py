"""What the steps between two lines of metrics told, how long the device waited, and how many steps in a row failed."""

import itertools
import time
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from speechlm_jax.data import prefetch
from speechlm_jax.training import ledger, startup, step, window

NAMES = {"coefficients": {"targets": 1.0}, "heads": ["targets"], "tasks": ["asr"]}


def _metrics(loss: float = 1.0, *, skipped: int = 0, norm: float = 1.0) -> step.Metrics:
    sums = step.Sums(
        totals=jnp.full((1, 1), loss),
        weights=jnp.ones((1, 1)),
        examples=jnp.ones(1, jnp.int32),
        audio_frames=jnp.ones(1, jnp.int32),
        tokens=jnp.ones(1, jnp.int32),
    )
    zero = jnp.float32(0)
    metrics = step.Metrics(sums, zero, jnp.float32(norm), zero, jnp.int32(skipped))
    return jax.block_until_ready(metrics)


class Clock:
    """Stands still but for what is slept."""

    def __init__(self):
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def slow(self, seconds: float) -> Iterator[int]:
        while True:
            self.sleep(seconds)
            yield 0


def test_the_wait_for_the_first_batch_of_a_window_is_counted():
    clock = Clock()
    line, ahead = window.Window(startup.Startup(), ledger.Ledger(), clock), clock.slow(3.0)
    shares = []
    for _ in range(3):  # As with Recipe.log_every = 1.
        line.fetch(ahead)
        line.add(_metrics())
        clock.sleep(1.0)
        shares.append(line.end(1, **NAMES)["data_wait_share"])
    assert shares == [0, 0.75, 0.75]  # Nothing was trained before the first batch: that is the start of the run.


class _Busy:
    """A number on a device that is at work on it until it was asked so often."""

    def __init__(self, clock, times):
        self._clock, self._left = clock, times

    def is_ready(self):
        self._clock.sleep(1.0)
        self._left -= 1
        return self._left <= 0


def test_data_are_waited_for_only_where_the_device_stands_still(tmp_path):
    clock = Clock()
    book = ledger.Ledger(clock, began=clock.now)
    book.keep(tmp_path)
    line, ahead = window.Window(startup.Startup(), book, clock), clock.slow(0.5)
    line.fetch(ahead)
    line.add(_metrics())
    line.end(1, **NAMES)
    line._last = line._last._replace(skipped=_Busy(clock, 3))
    line.fetch(ahead)
    line.add(_metrics())
    assert line.end(1, **NAMES)["data_wait_share"] == pytest.approx(0.5 / 3.5)
    book.write()
    told = ledger.read(tmp_path).seconds
    # Once for the first batch of all.
    assert (told["data_wait"], told["step"]) == pytest.approx((0.5 + 0.5, 3.0))


def test_a_batch_that_is_there_is_taken_while_the_device_works():
    clock = Clock()
    line = window.Window(startup.Startup(), ledger.Ledger(clock, began=0.0), clock)
    ahead = prefetch.Prefetch(itertools.repeat(0), 1)
    line.fetch(ahead)
    line.add(_metrics())
    while not ahead.is_ready():
        time.sleep(0.001)
    line._last = line._last._replace(skipped=_Busy(clock, 1_000_000))
    assert line.fetch(ahead) == 0 and clock.now < 110.0
    ahead.close()


def test_an_evaluation_between_two_lines_loses_no_step_and_takes_no_time():
    clock = Clock()
    line, ahead = window.Window(startup.Startup(), ledger.Ledger(), clock), clock.slow(0.0)
    for loss in (1.0, 2.0):
        line.fetch(ahead)
        line.add(_metrics(loss))
        clock.sleep(1.0)
    with line.aside("evaluation"):
        clock.sleep(500.0)
    line.fetch(ahead)
    line.add(_metrics(6.0))
    clock.sleep(1.0)
    numbers = line.end(1, **NAMES)
    assert numbers["loss"] == pytest.approx(3.0)
    assert numbers["steps_per_second"] == pytest.approx(1.0)


def test_a_line_tells_of_the_steps_since_the_line_before():
    line = window.Window(startup.Startup(), ledger.Ledger())
    for loss in (1.0, 5.0):
        line.add(_metrics(loss))
        assert line.end(1, **NAMES)["loss"] == pytest.approx(loss)


def test_skipped_steps_are_counted_in_a_row_and_across_lines():
    line, counts = window.Window(startup.Startup(), ledger.Ledger()), []
    for number, skipped in enumerate([0, 1, 1, 1, 0, 1, 1]):
        line.add(_metrics(skipped=skipped))
        counts.append(line.skipped)
        if number == 2:
            line.end(1, **NAMES)
    np.testing.assert_array_equal(counts, [0, 0, 1, 2, 3, 0, 1])
    line.look()
    line.look()
    assert line.skipped == 2  # Nothing is counted twice.


def test_weights_that_are_not_finite_are_seen_at_the_next_step_or_at_once():
    line = window.Window(startup.Startup(), ledger.Ledger())
    for norm, broken in ((1.0, False), (float("inf"), False), (1.0, True)):
        line.add(_metrics(norm=norm))
        assert line.broken is broken
    line.add(_metrics(norm=float("nan")))
    assert not line.broken
    line.look()
    assert line.broken
    line.begin_again()
    line.add(_metrics(5.0))
    line.look()
    assert not line.broken and line.end(1, **NAMES)["loss"] == 5.0


def test_the_first_step_tells_where_the_time_before_it_went(capsys):
    beginning = startup.Startup()
    beginning.end("compiling")
    line, ahead = window.Window(beginning, ledger.Ledger()), itertools.repeat(0)
    for _ in range(2):
        line.fetch(ahead)
        line.add(_metrics())
    assert list(beginning.seconds) == ["libraries", "compiling", "first batch", "first step"]
    told = capsys.readouterr().err
    assert told.count("first step after") == 1 and ", first batch " in told
