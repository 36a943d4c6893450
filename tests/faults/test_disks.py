"""Disks that are full, that nobody may write to, or that are slow: named, in bounded time, and nothing is lost."""

import pathlib
import subprocess
import time

import pytest
from faults import killed_runs

from speechlm_jax import checkpoint_steps

pytestmark = [pytest.mark.slow, pytest.mark.faults]
FEW = ("--gin.Recipe.steps=12", "--gin.Evaluation.every=100", "--gin.Checkpoints.every=2")


@pytest.fixture(scope="module")
def mounts():
    """The beginning of a command whose mounts end with it."""
    command = ["unshare", "-rm"]
    if subprocess.run([*command, "true"], check=False).returncode:
        pytest.skip("mounting a small disk: this machine lets nobody unshare its mounts")
    return [*command, "sh", "-c"]


SMALL = """
kept="$FAULTS_RUN-kept"; mkdir -p "$kept"
mount -t tmpfs -o size=$SIZE none "$FAULTS_RUN" || exit 99
(until [ -d "$FAULTS_RUN/checkpoints/2" ]; do sleep 0.05; done; cat /dev/zero > "$FAULTS_RUN/filler") 2> /dev/null &
"$@"; code=$?
wait; rm "$FAULTS_RUN/filler"
cp -a "$FAULTS_RUN/." "$kept/"; umount "$FAULTS_RUN"; cp -a "$kept/." "$FAULTS_RUN/"
exit $code
"""
"""A run in a folder that is a disk of $SIZE bytes, which something else fills once a step is saved; what the run leaves
stands in the folder afterwards."""
READ_ONLY = 'mount -t tmpfs -o ro none "$FAULTS_RUN" || exit 99; "$@"'


def ended(run):
    """(exit code, what it said, seconds)."""
    began = time.monotonic()
    code = run.processes[0].wait(killed_runs.PATIENCE_SECONDS)
    return code, run.said(), time.monotonic() - began


def bytes_of(path):
    return sum(file.stat().st_size for file in pathlib.Path(path).rglob("*") if file.is_file())


def test_a_disk_that_is_full_ends_a_run_after_a_few_saves_and_room_lets_it_go_on(
    folder, whole, mounts, faults, monkeypatch
):
    monkeypatch.setenv("SIZE", str(6 * bytes_of(checkpoint_steps.find(whole(1, *FEW)))))
    run = killed_runs.Run(folder, "full", 1, *FEW, inside=[*mounts, SMALL, "sh"])
    code, said, _ = ended(run)
    assert code == 2 and "No space left on device" in said and "Make room there" in said, said
    assert "The run goes on without (1 of 3)" in said and "Checkpoints.max_failed" in said, said
    stood = run.published()
    assert stood >= 2
    for step in checkpoint_steps.among(run.path):
        assert not checkpoint_steps.faults(step)
    again = killed_runs.Run(folder, "full", 1, *FEW)
    again.end()
    found = killed_runs.differences(whole(1, *FEW), again.path)
    faults.count("disks", tried=1, identical=int(not found))
    assert again.went_on_from() == stood and not found


def test_a_folder_that_nobody_may_write_to_is_told_before_anything_is_made(folder, mounts, faults):
    run = killed_runs.Run(folder, "read_only", 1, *FEW, inside=[*mounts, READ_ONLY, "sh"])
    code, said, seconds = ended(run)
    assert code == 2 and "Read-only file system" in said and str(run.path) in said and "Traceback" not in said
    assert seconds < 60
    faults.count("disks", tried=1, told=1)


def test_a_slow_disk_delays_saves_and_loses_nothing(folder, whole, faults):
    run = killed_runs.Run(folder, "slow", 1, *FEW, "--gin.Data.task_modules=('faults.gated_tasks','faults.slow_disk')")
    run.end()
    found = killed_runs.differences(whole(1, *FEW), run.path)
    faults.count("disks", tried=1, identical=int(not found))
    assert not found
