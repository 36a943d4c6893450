"""What the steps between two lines of metrics told, how long the device waited, and how many steps in a row failed."""

import time
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from speechlm_jax.training import step, window

NAMES = {"coefficients": {"targets": 1.0}, "heads": ["targets"], "tasks": ["asr"]}


def _metrics(loss: float = 1.0, *, skipped: int = 0) -> step.Metrics:
    sums = step.Sums(
        totals=jnp.full((1, 1), loss),
        weights=jnp.ones((1, 1)),
        examples=jnp.ones(1, jnp.int32),
        audio_frames=jnp.ones(1, jnp.int32),
        tokens=jnp.ones(1, jnp.int32),
    )
    zero = jnp.float32(0)
    metrics = step.Metrics(sums, zero, zero, zero, jnp.int32(skipped))
    return jax.block_until_ready(metrics)


def _slow(seconds: float) -> Iterator[int]:
    while True:
        time.sleep(seconds)
        yield 0


def test_the_wait_for_the_first_batch_of_a_window_is_counted():
    line, ahead = window.Window(), _slow(0.05)
    shares = []
    for _ in range(3):  # As with Recipe.log_every = 1.
        line.fetch(ahead)
        line.add(_metrics())
        shares.append(line.end(**NAMES)["data_wait_share"])
    assert shares[0] == 0  # Nothing was trained before: that is the start of the run.
    assert min(shares[1:]) > 0.7


def test_an_evaluation_between_two_lines_loses_no_step_and_takes_no_time():
    line, ahead = window.Window(), _slow(0.0)
    for loss in (1.0, 2.0):
        line.fetch(ahead)
        line.add(_metrics(loss))
    with line.aside():
        time.sleep(0.5)
    line.fetch(ahead)
    line.add(_metrics(6.0))
    numbers = line.end(**NAMES)
    assert numbers["loss"] == pytest.approx(3.0)
    assert numbers["steps_per_second"] > 3 / 0.4


def test_a_line_tells_of_the_steps_since_the_line_before():
    line = window.Window()
    for loss in (1.0, 5.0):
        line.add(_metrics(loss))
        assert line.end(**NAMES)["loss"] == pytest.approx(loss)


def test_skipped_steps_are_counted_in_a_row_and_across_lines():
    line, counts = window.Window(), []
    for number, skipped in enumerate([0, 1, 1, 1, 0, 1, 1]):
        line.add(_metrics(skipped=skipped))
        counts.append(line.skipped)
        if number == 2:
            line.end(**NAMES)
    np.testing.assert_array_equal(counts, [0, 0, 1, 2, 3, 0, 1])
