"""Traces of steps: those that were named, and the next ones after a signal."""

import os

import jax
import jax.numpy as jnp

from speechlm_jax.training import profiling

STEP = jax.jit(lambda x: x @ x)


def goes(profiler, first, last):
    """Takes steps; returns after which of them a trace was under way."""
    under_way = []
    for done in range(first, last + 1):
        profiler.step(done, STEP(jnp.ones((8, 8))))
        if profiler._until:
            under_way.append(done)
    return under_way


def traces(folder):
    return sorted(folder.glob("plugins/profile/*/*.xplane.pb"))


def test_steps_that_are_named_and_those_after_a_signal_are_traced(tmp_path, capsys):
    profiler = profiling.Profiler(tmp_path, after=[2], count=3)
    assert goes(profiler, 1, 6) == [2, 3, 4]
    (first,) = traces(tmp_path)
    assert first.stat().st_size > 100
    assert f"traced steps 3 to 5: tensorboard --logdir={tmp_path}" in capsys.readouterr().err
    os.kill(os.getpid(), profiling.SIGNAL)
    assert goes(profiler, 7, 11) == [7, 8, 9]
    profiler.close()
    assert "traced steps 8 to 10" in capsys.readouterr().err


def test_a_trace_under_way_ends_with_the_run(tmp_path):
    profiler = profiling.Profiler(tmp_path, after=[1], count=30)
    assert goes(profiler, 1, 2) == [1, 2]
    profiler.close()
    profiler.close()
    assert len(traces(tmp_path)) == 1
    # Another may begin.
    again = profiling.Profiler(tmp_path / "again", after=[1], count=1)
    assert goes(again, 1, 2) == [1]
    again.close()
