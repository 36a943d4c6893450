"""A job of two tasks on a real Slurm: it trains, is put back into the queue, goes on, and ends."""

import json
import os
import pathlib
import subprocess
import sys
import time

import pytest
import small_run
from launching import slurm_here

PATIENCE_SECONDS = 280.0
pytestmark = [pytest.mark.slow, pytest.mark.faults]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """The environment of its commands."""
    if missing := slurm_here.missing():
        pytest.skip(f"wants Slurm (slurm-wlm and munge of Debian), whose {', '.join(missing)} are not here")
    if os.geteuid() != 0:
        pytest.skip("wants to be root, as which Slurm's services run here")
    with slurm_here.running(tmp_path_factory.mktemp("slurm")) as environment:
        yield environment


def job_of(name, environment):
    """What Slurm says of a job, by name."""
    command = ["scontrol", "--oneliner", "show", "job", name]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return dict(field.partition("=")[::2] for field in done.stdout.split())


def test_a_job_that_is_requeued_goes_on_and_ends(slurm, tmp_path):
    small_run.write(tmp_path)
    root = pathlib.Path(__file__).parents[2]
    recipe = f"--gin_file={tmp_path}/recipe.gin"
    data = [sys.executable, "-m", "speechlm_jax", "data", recipe, "--train_vocabulary=460"]
    subprocess.run(data, check=True, capture_output=True)
    (tmp_path / "job.toml").write_text(f"""
name = "small"
recipe = "{tmp_path}/recipe.gin"
bindings = ["Recipe.steps=24", "Evaluation.every=24"]
[environment]
PATH = "{pathlib.Path(sys.executable).parent}:/usr/bin:/bin"
JAX_PLATFORMS = "cpu"
XLA_FLAGS = "{os.environ["XLA_FLAGS"].replace("device_count=8", "device_count=2")}"
NPROC = "64"
JAX_COMPILATION_CACHE_DIR = "{tmp_path}/compiled"
[slurm]
tasks_per_node = 2
options = ["--chdir={root}", "--output={tmp_path}/said.txt"]
""")
    launched = [sys.executable, "-m", "launch", "slurm", "--no-plan", f"{tmp_path}/job.toml"]
    dry = subprocess.run([*launched, "--dry-run"], cwd=root, capture_output=True, text=True, check=True).stdout
    (tmp_path / "small.sh").write_text(dry[dry.index("#!/bin/bash") : dry.index("# submitted by")])
    tried = ["sbatch", "--test-only", str(tmp_path / "small.sh")]
    tested = subprocess.run(tried, env=slurm, capture_output=True, text=True, check=False)
    assert tested.returncode == 0 and "to start at" in tested.stderr, tested.stderr
    done = subprocess.run(launched, env=slurm, cwd=root, capture_output=True, text=True, check=True)
    number = done.stdout.split()[-1]
    metrics, said = tmp_path / "run" / "metrics.jsonl", tmp_path / "said.txt"

    def wait_until(happened):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not happened():
            told = said.read_text() if said.exists() else job_of(number, slurm)
            assert time.monotonic() < deadline, told
            assert job_of(number, slurm)["JobState"] not in ("FAILED", "NODE_FAIL", "CANCELLED"), told
            time.sleep(0.2)

    def steps():
        """Of those that are told; the last line may not be whole yet."""
        lines = metrics.read_text().rpartition("\n")[0].splitlines() if metrics.exists() else []
        return [json.loads(line)["step"] for line in lines if '"train"' in line]

    def start_again():
        """It would wait for some minutes, as after a failure. What starts in the second in which it was ended, slurmd
        takes for what it ended."""
        wait_until(lambda: job_of(number, slurm)["JobState"] == "PENDING")
        subprocess.run(["scontrol", "update", f"jobid={number}", "StartTime=now+3"], env=slurm, check=True)

    wait_until(lambda: len(steps()) >= 3)
    # As Slurm tells the tasks before their time is over.
    subprocess.run(["scancel", "--signal=TERM", number], env=slurm, check=True)
    start_again()
    assert "the run ended with code 42; back into the queue" in said.read_text()
    stood = len(steps())
    wait_until(lambda: len(steps()) > stood)
    # As whoever takes its nodes away.
    subprocess.run(["scontrol", "requeue", number], env=slurm, check=True)
    start_again()
    wait_until(lambda: job_of(number, slurm)["JobState"] == "COMPLETED")
    assert int(job_of(number, slurm)["Restarts"]) == 2
    # None was done twice: what was told to stop has saved.
    assert steps() == list(range(1, 25))
