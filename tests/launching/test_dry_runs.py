"""What would run stands in golden/, a file a target. `RENEW_GOLDEN=1` writes it anew."""

import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys

import jsonschema
import pytest
import yaml
from launching import jobs_of_tests

from launch import __main__ as front
from launch import job
from launch.targets import gke

_NOT_OF_XPK = ("secrets=[]", "gke.queue=", "gke.service_account=", "gke.bucket=")
HERE = pathlib.Path(__file__).parent
CASES = {
    "local": ["local"],
    "tpu_vm": ["tpu_vm"],
    "tpu_vm_delete": ["tpu_vm", "--action=delete"],
    "gke": ["gke"],
    "xpk": ["gke", "--xpk", *(word for name in _NOT_OF_XPK for word in ("--set", name))],
    "slurm": ["slurm"],
    "slurm_node": ["slurm", "--set", "slurm.per=node", "--set", "slurm.options=['--constraint=h100']"],
    "skypilot": ["skypilot"],
}


def told(folder, capsys, words):
    assert front.main([*words[:1], "--dry-run", jobs_of_tests.write(folder), *words[1:]]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("name", CASES)
def test_what_would_run_is_what_would_have_run(tmp_path, capsys, name):
    found, golden = told(tmp_path, capsys, CASES[name]), HERE / "golden" / f"{name}.txt"
    if os.environ.get("RENEW_GOLDEN"):
        golden.write_text(found)
    assert found.splitlines() == golden.read_text().splitlines()


def test_tasks_of_slurm_have_the_cores_that_are_asked_for(tmp_path, capsys):
    found = told(tmp_path, capsys, ["slurm", "--set", "slurm.cpus_per_task=12"])
    assert "#SBATCH --cpus-per-task=12" in found and "export SRUN_CPUS_PER_TASK=12" in found


@pytest.mark.parametrize("name", CASES)
def test_no_secret_stands_in_it(tmp_path, capsys, monkeypatch, name):
    monkeypatch.setenv("WANDB_API_KEY", "k3y-that-nobody-may-see")
    assert "k3y-that-nobody-may-see" not in told(tmp_path, capsys, CASES[name])


def strict(schema):
    """A schema that refuses what it does not name, as a cluster drops it without a word."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: strict(part) for name, part in schema.items()}
    if isinstance(made.get("properties"), dict) and not made.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    return made


@pytest.fixture(scope="module")
def schema():
    told = json.loads((HERE / "kept" / "jobset.schema.json").read_text())
    made = strict(told)
    made["properties"]["metadata"] = {"type": "object"}
    return made


@pytest.mark.parametrize(
    "changes", [[], ["slices=1", "gke.queue=", "gke.service_account=", "secrets=[]"], ["gke.bucket=", "gke.claim=all"]]
)
def test_a_manifest_is_a_jobset_of_kubernetes(tmp_path, schema, changes):
    read = job.read(jobs_of_tests.write(tmp_path), changes)
    manifest = yaml.safe_load(gke.script(read))
    jsonschema.validate(manifest, schema)
    manifest["spec"]["replicatedJobs"][0]["template"]["spec"]["paralelism"] = 3
    with pytest.raises(jsonschema.ValidationError, match="paralelism"):
        jsonschema.validate(manifest, schema)


def test_a_script_for_slurm_is_shell(tmp_path, capsys):
    out = told(tmp_path, capsys, ["slurm"])
    script = out[out.index("#!/bin/bash") : out.index("# submitted by")]
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    out = told(tmp_path, capsys, ["tpu_vm"])
    subprocess.run(["bash", "-n"], input=out, text=True, check=True)


def test_xpk_takes_the_command(tmp_path, capsys):
    """By its own parser, in the Python of whatever `xpk` is on PATH."""
    found = shutil.which("xpk")
    if found is None:
        pytest.skip("wants xpk on PATH")
    words = shlex.split(told(tmp_path, capsys, CASES["xpk"]).splitlines()[-1])
    program = (
        "import argparse, sys; from xpk.parser import core; parser = argparse.ArgumentParser(prog='xpk');"
        "core.set_parser(parser); found = parser.parse_args(sys.argv[1:]);"
        "print(found.num_slices, found.tpu_type, found.max_restarts, found.command)"
    )
    python = pathlib.Path(found).read_text().splitlines()[0].removeprefix("#!")
    done = subprocess.run([python, "-c", program, *words[1:]], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    command = shlex.join(job.read(jobs_of_tests.write(tmp_path)).command())
    assert done.stdout.strip() == f"2 v5litepod-256 7 {command}"


def test_every_target_is_told_of():
    done = subprocess.run([sys.executable, "-m", "launch", "--help"], capture_output=True, text=True, check=True)
    assert all(f"{name} " in done.stdout and member.ABOUT in done.stdout for name, member in front.members().items())
