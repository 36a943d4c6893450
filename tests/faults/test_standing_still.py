"""A reader that blocks or fails, and a process that hangs: ended in bounded time, by name; the same command goes on.
And data that are not what they were when the run was stopped."""

import json
import shutil
import signal
import time

import pytest
from faults import killed_runs

from speechlm_jax import endings

pytestmark = [pytest.mark.slow, pytest.mark.faults]
QUICK = ("--gin.Watchdog.least_seconds=8", "--gin.Watchdog.multiple=5", "--gin.Watchdog.other_seconds=120")
BOUND_SECONDS = 60.0
STEPS_BEFORE = 6


def after_some_steps(folder, name, processes, *bindings):
    """A run that has done a few, and saved."""
    run = killed_runs.Run(folder, name, processes, *killed_runs.KILLED, *bindings)
    run.wait_until(lambda: run.done() >= STEPS_BEFORE and run.published() >= killed_runs.EVERY)
    return run


def goes_on(whole, folder, name, faults):
    """Sees a run to its end that was ended, and that it ends as the one that was not."""
    again = killed_runs.Run(folder, name, 2, *killed_runs.KILLED)
    again.end()
    found = killed_runs.differences(whole(2, *killed_runs.KILLED), again.path)
    faults.count("hangs", tried=1, identical=int(not found))
    assert again.went_on_from() >= killed_runs.EVERY and not found


def ended(run, began, faults):
    """Sees that a run was ended in bounded time after its fault, and that what it had saved is whole."""
    seconds = time.monotonic() - began
    faults.count("hangs", told=1)
    faults.most("hang_seconds", round(seconds, 1))
    assert seconds < BOUND_SECONDS and run.published() >= killed_runs.EVERY, run.said()


def test_a_reader_that_blocks_ends_every_process_with_its_stacks(folder, whole, faults):
    # An evaluation reads through the same gate, and may take longer.
    run = after_some_steps(folder, "blocked", 2, *QUICK, "--gin.Evaluation.every=100")
    run.gate.touch()
    began = time.monotonic()
    codes = [process.wait(killed_runs.PATIENCE_SECONDS) for process in run.processes]
    ended(run, began, faults)
    assert codes == [endings.STALLED] * 2 and "stands still at data_wait" in run.said(), run.said()
    # The thread that makes batches ahead waits for the readers.
    assert all("prefetch" in (run.path / f"stacks-{number}.txt").read_text() for number in range(2))
    run.gate.unlink()
    goes_on(whole, folder, "blocked", faults)


def test_a_process_whose_reader_fails_ends_the_others_with_its_code_and_its_words(folder, faults):
    run = after_some_steps(folder, "failed", 2)
    began = time.monotonic()
    broken = run.gate.with_suffix(".broken")
    broken.write_text("0")
    codes = [process.wait(killed_runs.PATIENCE_SECONDS) for process in run.processes]
    ended(run, began, faults)
    assert codes == [2, 2] and "process 0 has ended: reading task 'gated_recognition'" in run.said(), run.said()


@pytest.mark.parametrize(
    ("hangs", "named"),
    [(1, "the others: process 1 ("), (0, "process 0, by which the others are told and asked, does not answer")],
)
def test_a_process_that_hangs_is_named_by_the_others(folder, whole, faults, monkeypatch, hangs, named):
    # It is the watchdog that is tried: JAX misses a process that is silent, too, and may be the first to end the run.
    monkeypatch.setenv("SPEECHLM_HEARTBEAT_SECONDS", "100")
    run = after_some_steps(folder, f"hung{hangs}", 2, *QUICK)
    other = 1 - hangs
    began = time.monotonic()
    run.processes[hangs].send_signal(signal.SIGSTOP)
    try:
        assert run.processes[other].wait(killed_runs.PATIENCE_SECONDS) == endings.STALLED, run.said()
    finally:
        run.processes[hangs].kill()
        run.processes[hangs].wait()
    ended(run, began, faults)
    assert f"process {other} stands still at step" in run.said() and named in run.said()
    if hangs:
        goes_on(whole, folder, f"hung{hangs}", faults)


def test_a_source_that_shrank_is_told_before_a_step_is_done(folder, tmp_path):
    """In a folder with recordings of its own."""
    for path in (*folder.glob("clip*"), folder / "manifest.jsonl", folder / "recipe.gin"):
        shutil.copy(path, tmp_path)
    (tmp_path / "compiled").symlink_to(folder / "compiled")
    folder = tmp_path
    run = after_some_steps(folder, "shrunk", 1)
    run.kill(killed_runs.Point("step", signal.SIGTERM, "all"))
    stood = run.published()
    path = folder / "manifest.jsonl"
    text = path.read_text()
    lines = text.splitlines(keepends=True)
    dropped = next(number for number, line in enumerate(lines) if json.loads(line)["split"] == "train")
    path.write_text("".join(lines[:dropped] + lines[dropped + 1 :]))
    try:
        again = killed_runs.Run(folder, "shrunk", 1, *killed_runs.KILLED)
        assert again.processes[0].wait(killed_runs.PATIENCE_SECONDS) == 2
        said = again.said()
    finally:
        path.write_text(text)
    assert "sources.gated_recognition: 41-" in said and " -> 40-" in said and "Traceback" not in said
    assert "Bring it back, or start a new run" in said
    assert again.done() == stood
