"""Losses, gradients and weights that are not finite: the run goes back, on with other batches, and ends; nothing of it
is saved."""

import json

import numpy as np
import orbax.checkpoint as ocp
import pytest
from faults import killed_runs

from speechlm_jax import checkpoint_meta, checkpoint_steps, checkpoints

pytestmark = [pytest.mark.slow, pytest.mark.faults]
INJECTED = "--gin.Data.task_modules=('faults.gated_tasks','faults.injections')"
BINDINGS = (INJECTED, "--gin.Recipe.max_skipped_steps=3", "--gin.Checkpoints.keep=20")


def not_finite(run):
    """Of all checkpoints that a run has saved, the arrays that are not finite, and the number of those looked at."""
    found, looked = [], 0
    for step in checkpoint_steps.among(run.path):
        assert not checkpoint_steps.faults(step)
        leaves = checkpoint_meta.read(step)["leaves"]
        places = dict.fromkeys(leaves, ocp.RestoreArgs(restore_type=np.ndarray))
        for path, array in checkpoints.read_arrays(step, places, leaves).items():
            looked += 1
            found += [f"{step}: {path}"] if not np.isfinite(array).all() else []
    return found, looked


@pytest.mark.parametrize(("kind", "count", "processes"), [("loss", 4, 1), ("gradient", 4, 2), ("parameter", 1, 2)])
def test_a_run_goes_back_and_ends(folder, faults, kind, count, processes, monkeypatch):
    monkeypatch.setenv("FAULTS_INJECT", f"{kind}:10:{count}")
    run = killed_runs.Run(folder, f"{kind}-{processes}", processes, *BINDINGS)
    faults.count("not_finite", injections=1)
    run.end()
    said = run.said()
    assert "The run goes back to step 8, and on with other batches" in said and "(1 of 2 times)" in said
    found, looked = not_finite(run)
    faults.count("not_finite", runs_that_ended=1, arrays_published=looked, not_finite=len(found))
    assert not found and looked > 100
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    (back,) = [line for line in lines if line["kind"] == "rollback"]
    assert back["step"] == 8
    steps = [line["step"] for line in lines if line["kind"] == "train"]
    assert steps == list(range(1, killed_runs.STEPS + 1))


def whole_and_killed(folder, monkeypatch, injected, name, happened):
    """The same run twice: one that nothing else happens to, and one that is killed once `happened(run)`, and may then
    go on by `start`."""

    def start(number):
        return killed_runs.Run(folder, f"{name}{number}", 1, *BINDINGS)

    monkeypatch.setenv("FAULTS_INJECT", injected)
    whole = start("whole")
    whole.end()
    killed = start("killed")
    killed.wait_until(lambda: happened(killed))
    killed.processes[0].kill()
    killed.processes[0].wait()
    # The batches since step 8 are behind it.
    monkeypatch.setenv("FAULTS_INJECT", "none:0:0")
    return whole, killed, lambda: start("killed")


def test_a_run_that_went_back_and_was_killed_ends_as_one_that_was_not(folder, monkeypatch):
    whole, _, start = whole_and_killed(
        folder, monkeypatch, "loss:10:4", "later", lambda run: (run.path / "checkpoints" / "16").exists()
    )
    again = start()
    again.end()
    assert again.went_on_from() >= 16 and not killed_runs.differences(whole.path, again.path)
    stands = checkpoint_meta.read_json(checkpoint_steps.find(again.path) / "stream")
    assert (stands["passed"], stands["retreats"]) == (4, 1)


def test_a_run_that_is_killed_before_it_saves_again_does_not_go_back_on_having_gone_back(folder, monkeypatch):
    whole, killed, start = whole_and_killed(
        folder, monkeypatch, "loss:10:3", "sooner", lambda run: "The run goes back to step 8" in run.said()
    )
    assert killed.published() == 8
    again = start()
    again.end()
    assert again.went_on_from() == 8 and not killed_runs.differences(whole.path, again.path)


def test_a_run_that_goes_wrong_for_good_ends_within_its_budget(folder, monkeypatch):
    monkeypatch.setenv("FAULTS_INJECT", "parameter:10:1000")
    run = killed_runs.Run(folder, "for-good", 1, *BINDINGS)
    assert run.processes[0].wait(killed_runs.PATIENCE_SECONDS) == 2
    assert "the run has gone back 2 times before. Lower Schedule.peak" in run.said()
    assert not_finite(run)[0] == []
