"""Processes of this machine as one run: real ones, real signals."""

import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
import small_run

from launch import job
from launch.targets import local

PATIENCE_SECONDS = 60.0


def group(tmp_path, script, processes, grace_seconds=10.0):
    """The code of processes that run a script, whose first argument is a folder; each knows its number."""
    path = tmp_path / "script.py"
    path.write_text("import os, pathlib, signal, sys, time\nown = os.environ['OWN']\n" + script)
    environments = [{**os.environ, "OWN": str(number)} for number in range(processes)]
    with contextlib.closing(local.Group(environments, grace_seconds)) as made, local._Notices() as notices:
        made.start([sys.executable, str(path), str(tmp_path)])
        return made.wait(notices)


def test_lines_say_whose_they_are(tmp_path, capfd):
    assert group(tmp_path, "print('here', own); print('there', own, file=sys.stderr)", 3) == 0
    lines = capfd.readouterr().out.splitlines()
    wanted = [f"[{number}] {where} {number}" for number in range(3) for where in ("here", "there")]
    assert sorted(lines) == sorted(wanted)


def test_one_that_fails_ends_the_others_and_its_code_is_that_of_all(tmp_path):
    script = "time.sleep(60) if own != '1' else sys.exit(3)"
    began = time.monotonic()
    assert group(tmp_path, script, 3) == 3
    assert time.monotonic() - began < 10


def test_one_that_does_not_end_is_ended(tmp_path):
    script = (
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "pathlib.Path(sys.argv[1], own).touch()\n"
        "while not all(pathlib.Path(sys.argv[1], name).exists() for name in '01'): time.sleep(0.1)\n"
        "time.sleep(60) if own == '0' else sys.exit(3)"
    )
    began = time.monotonic()
    assert group(tmp_path, script, 2, grace_seconds=1.0) == 3
    assert time.monotonic() - began < 20


def test_others_may_end_by_themselves_where_one_was_told_to_stop(tmp_path):
    """Code 42: they stop at the same step, and save."""
    script = "sys.exit(42) if own == '0' else (time.sleep(2), pathlib.Path(sys.argv[1], 'saved').touch(), sys.exit(42))"
    assert group(tmp_path, script, 2) == 42
    assert (tmp_path / "saved").exists()


# Stands in for the command of a run: a module that is found before the package.
LIVES = """
import os, pathlib, signal, sys, time
folder = pathlib.Path(os.environ["LIVES"])
life = len(list(folder.glob("life-*")))
(folder / f"life-{life}").touch()
code = int(os.environ["CODES"].split(",")[min(life, os.environ["CODES"].count(","))])
if code == -1:
    heard = []
    signal.signal(signal.SIGTERM, lambda *_: heard.append(1) if "STUBBORN" in os.environ else sys.exit(42))
    (folder / "waits").touch()
    time.sleep(60)
sys.exit(code)
"""


def started(tmp_path, codes, retries=5, grace_seconds=60, **told):
    """`python -m launch local` of one process, whose lives end with these codes."""
    (tmp_path / "speechlm_jax").mkdir()
    (tmp_path / "speechlm_jax" / "__init__.py").touch()
    (tmp_path / "speechlm_jax" / "__main__.py").write_text(LIVES)
    path = tmp_path / "job.toml"
    text = f'name = "lives"\nrecipe = "/none.gin"\nretries = {retries}\n[local]\ngrace_seconds = {grace_seconds}\n'
    path.write_text(text)
    root = pathlib.Path(__file__).parents[2]
    told |= {"LIVES": str(tmp_path), "CODES": codes, "PYTHONPATH": f"{tmp_path}:{root}"}
    command = [sys.executable, "-m", "launch", "local", str(path)]
    return subprocess.Popen(command, env={**os.environ, **told}, cwd=tmp_path, stderr=subprocess.PIPE, text=True)


def lives(tmp_path):
    return len(list(tmp_path.glob("life-*")))


@pytest.mark.parametrize(
    ("codes", "retries", "code", "count"),
    [
        *[("42,43,0", 5, 0, 3), ("42,42,42", 1, 42, 2), ("2", 5, 2, 1), ("1", 5, 1, 1), ("137,0", 5, 0, 2)],
        # What a signal ends again and again is a crash.
        *[("139", 50, 139, 3), ("139,139,42,139,0", 50, 0, 5)],
    ],
)
def test_a_run_that_was_told_to_stop_is_started_again_and_a_mistake_is_not(tmp_path, codes, retries, code, count):
    process = started(tmp_path, codes, retries)
    _, error = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == code and lives(tmp_path) == count, error
    assert error.count("starting it again") == count - 1


def wait_for(path):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("notice", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_notice_is_passed_on_and_ends_the_run(tmp_path, notice):
    process = started(tmp_path, "-1")
    wait_for(tmp_path / "waits")
    # A shell and a scheduler may both pass it on: it is one.
    for _ in range(2):
        process.send_signal(notice)
    process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 42 and lives(tmp_path) == 1


def test_what_does_not_hear_a_notice_is_ended_in_bounded_time(tmp_path):
    process = started(tmp_path, "-1", grace_seconds=1, STUBBORN="1")
    wait_for(tmp_path / "waits")
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 137 and lives(tmp_path) == 1 and time.monotonic() - began < 20


def test_a_notice_before_there_are_processes_is_heard(tmp_path):
    with local._Notices() as notices:
        os.kill(os.getpid(), signal.SIGTERM)
        with contextlib.closing(local.Group([{**os.environ}] * 2, 10.0)) as made:
            made.start([sys.executable, "-c", "import time; time.sleep(60)"])
            assert made.wait(notices) == 128 + signal.SIGTERM
    assert notices.count == 1


def test_every_process_knows_its_place(monkeypatch):
    made = job.Job(name="two", recipe=("a.gin",), local=job.Local(processes=2, devices=3), environment={"MODE": "x"})
    inherited = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8 --xla_other=1", "HOME": "/home"}
    first, second = local.environments(made, inherited)
    assert first["XLA_FLAGS"] == "--xla_other=1 --xla_force_host_platform_device_count=3"
    assert (first["SPEECHLM_PROCESS_ID"], second["SPEECHLM_PROCESS_ID"]) == ("0", "1")
    assert first["SPEECHLM_COORDINATOR"] == second["SPEECHLM_COORDINATOR"] and second["MODE"] == "x"
    alone = job.Job(name="one", recipe=("a.gin",), local=job.Local(gpus=1))
    assert local.environments(alone, {}) == [{"CUDA_VISIBLE_DEVICES": "0"}]
    # Of those that it may see, not of those that others have.
    assert local.environments(alone, {"CUDA_VISIBLE_DEVICES": "5,6"}) == [{"CUDA_VISIBLE_DEVICES": "5"}]
    told = dataclasses.replace(made, environment={"XLA_FLAGS": "--xla_mine=1"})
    assert local.environments(told, inherited)[0]["XLA_FLAGS"].startswith("--xla_mine=1 ")


@pytest.mark.slow
@pytest.mark.faults
def test_four_processes_are_told_to_stop_and_the_run_ends_as_if_they_had_not_been(tmp_path):
    """Told by a signal to one of them, and started again by nobody but the launcher."""
    small_run.write(tmp_path)
    speechlm = [sys.executable, "-m", "speechlm_jax"]
    recipe = f"--gin_file={tmp_path}/recipe.gin"
    subprocess.run([*speechlm, "data", recipe, "--train_vocabulary=460"], check=True, capture_output=True)
    text = f"""
name = "small"
recipe = "{tmp_path}/recipe.gin"
bindings = ["Recipe.steps=8", "Evaluation.every=8", "Recipe.log_batches=True"]
[environment]
JAX_COMPILATION_CACHE_DIR = "{tmp_path}/compiled"
[local]
processes = 4
devices = 1
grace_seconds = 120
"""
    ended = {}
    for name in ("whole", "stopped"):
        path = tmp_path / f"{name}.toml"
        path.write_text(text.replace("[environment]", f'run_dir = "{tmp_path}/{name}"\n[environment]', 1))
        said = tmp_path / f"{name}.txt"
        with said.open("w") as out:
            launched = subprocess.Popen(
                [sys.executable, "-m", "launch", "local", str(path)], stdout=out, stderr=subprocess.STDOUT
            )
            if name == "stopped":
                _stop_one(tmp_path / name, launched)
            assert launched.wait(240) == 0, said.read_text()
        ended[name] = said.read_text()
    assert "ended with code 42; starting it again, 1 of" in ended["stopped"]
    assert ended["stopped"].count("starting it again") == 1 and "starting it again" not in ended["whole"]
    assert "going on from step" in ended["stopped"]
    done = subprocess.run(
        [*speechlm, "checkpoint", "diff", f"{tmp_path}/whole", f"{tmp_path}/stopped", f"--json={tmp_path}/diff.json"],
        check=False,
        capture_output=True,
        text=True,
    )
    told = json.loads((tmp_path / "diff.json").read_text())
    assert not told["arrays"] and "batches" not in told, done.stdout


def _stop_one(run, launched):
    """Tells the third of the launcher's processes to stop once the run has done two steps."""
    deadline = time.monotonic() + 240
    metrics = run / "metrics.jsonl"
    while not metrics.exists() or sum('"train"' in line for line in metrics.read_text().splitlines()) < 2:
        assert launched.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    children = pathlib.Path(f"/proc/{launched.pid}/task/{launched.pid}/children").read_text().split()
    os.kill(int(children[2]), signal.SIGTERM)
