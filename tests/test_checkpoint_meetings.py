"""A save that fails in one process of a run fails in all of them at once, and the next one does not."""

import re
import subprocess
import sys

import process_group
import pytest

from speechlm_jax import checkpoint_steps

WORK = """
import logging, pathlib, resource, sys, time
import jax, jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from speechlm_jax import checkpoints, peers, runtime
logging.basicConfig(level=logging.ERROR, format="%(message)s")
logging.getLogger("absl").setLevel(logging.CRITICAL)
folder, fails = pathlib.Path(sys.argv[1]), sys.argv[2]
runtime.initialize()
saved = checkpoints.Folder(folder, limit_seconds=100)
place = NamedSharding(Mesh(jax.devices(), "x"), PartitionSpec("x"))
array = jax.jit(lambda: jnp.arange(800_000.0), out_shardings=place)()
unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
for step in (1, 2, 3):
    if step == 2 and f"{peers.own()}" == fails:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, unlimited[1]))
    if step == 2 and fails == "folder" and not peers.own():
        (folder / "checkpoints").rename(folder / "away")
        (folder / "checkpoints").write_text("")
    began = time.monotonic()
    saved.save(step, {"params": {"kernel": array}}, stream={}, meta={})
    try:
        saved.wait()
    except ValueError as error:
        print(f"step {step} failed: {error}", flush=True)
    print(f"step {step} took {time.monotonic() - began:.0f} s", flush=True)
    resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    if step == 2 and fails == "folder" and not peers.own():
        (folder / "checkpoints").unlink()
        (folder / "away").rename(folder / "checkpoints")
saved.close()
"""
pytestmark = pytest.mark.slow
LONG_SECONDS = 20
"""Of a save of three megabytes: one that waits for another process until its limit takes 100."""


def said(folder, fails):
    """What each of two processes said that saved three steps, the second of which failed."""
    group = [
        subprocess.Popen(
            [sys.executable, "-c", WORK, str(folder), fails],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for environment in process_group.environments(2)
    ]
    told = [out for out, _ in process_group.said(group, 250)]
    assert [process.returncode for process in group] == [0, 0], told
    for text in told:
        assert re.findall(r"^step (\d) failed: saving step 2", text, re.M) == ["2"], text
        assert all(float(seconds) < LONG_SECONDS for seconds in re.findall(r"took (\S+) s", text)), text
    steps = checkpoint_steps.among(folder)
    assert [step.name for step in steps] == ["1", "3"]
    assert not any(map(checkpoint_steps.faults, steps)) and not checkpoint_steps.others(steps[0].parent)
    return told


@pytest.mark.parametrize("fails", [0, 1])
def test_a_save_that_fails_in_one_process_fails_in_all_and_the_next_one_is_whole(tmp_path, fails):
    told = said(tmp_path, f"{fails}")
    assert "File too large" in told[fails] and "it has failed in process" not in told[fails]
    assert re.search(rf"it has failed in process {fails} \(.*File too large", told[1 - fails])


def test_a_folder_in_which_nothing_can_be_made_is_told_by_all_before_they_begin(tmp_path):
    told = said(tmp_path, "folder")
    assert "Not a directory" in told[0] and "the first process can make nothing there" in told[1]
