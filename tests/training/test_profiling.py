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
        if profiler.is_tracing:
            under_way.append(done)
    return under_way


def traces(folder):
    return sorted(folder.glob("plugins/profile/*/*.xplane.pb"))


def test_steps_that_are_named_and_those_after_a_signal_are_traced(tmp_path, capsys):
    profiler = profiling.Profiler(tmp_path, after=[2], count=3)
    assert goes(profiler, 1, 6) == [2, 3, 4]
    (first,) = traces(tmp_path)
    assert first.stat().st_size > 100
    assert f"process 0 has traced steps 3 to 5: tensorboard --logdir={tmp_path}" in capsys.readouterr().err
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


def test_a_run_that_goes_back_ends_its_trace_after_as_many_steps(tmp_path):
    profiler = profiling.Profiler(tmp_path, after=[7], count=3)
    assert goes(profiler, 7, 8) == [7, 8]
    # Back to step 4.
    assert goes(profiler, 5, 7) == [5, 7]
    profiler.close()


def test_a_trace_that_cannot_be_begun_or_written_is_told_and_the_run_goes_on(tmp_path, caplog, monkeypatch):
    jax.profiler.start_trace(str(tmp_path / "taken"))
    taken = profiling.Profiler(tmp_path / "second", after=[1], count=1)
    assert goes(taken, 1, 2) == []
    taken.close()
    jax.profiler.stop_trace()
    stop = jax.profiler.stop_trace

    def without_room():
        stop()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(jax.profiler, "stop_trace", without_room)
    profiler = profiling.Profiler(tmp_path / "third", after=[1], count=1)
    assert goes(profiler, 1, 3) == [1]
    profiler.close()
    begun, written = (record.getMessage() for record in caplog.records)
    assert "tracing steps from 2 on" in begun and "No space left on device" in written
