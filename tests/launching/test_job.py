"""What a job is: read from a file, changed by flags, refused in one line."""

import subprocess
import sys

import pytest
from launching import jobs_of_tests

from launch import __main__ as front
from launch import job, topologies


def test_a_job_says_what_every_process_runs(tmp_path):
    read = job.read(jobs_of_tests.write(tmp_path), ["slices=1", "verb=experiment", "local.processes=8", "bindings=[]"])
    assert (read.slices, read.local.processes, read.local.devices) == (1, 8, 4)
    assert read.command() == [
        *("python", "-m", "speechlm_jax", "experiment"),
        "--gin_file=gin_configs/recipes/objectives.gin",
        "--gin.Recipe.run_dir=/data/runs/base",
    ]


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        (["nmae=other"], "there is no nmae; a job has name, recipe"),
        (["nmae=other"], "Did you mean name?"),
        (["local.procesess=2"], "there is no local.procesess; local. has processes"),
        (["local=2"], "[local]: wanted a section, found 2"),
        (["slices=two"], "slices: wanted int, found 'two'"),
        (["slices=0"], "slices of 1 or more"),
        (["retries=true"], "retries: wanted int, found True"),
        (["recipe=3"], "recipe: wanted a list of texts, found 3"),
        (["recipe=[]"], "recipe: wanted a gin file or more"),
        (["recipe=gin_configs/recipes/objectivs.gin"], "Did you mean gin_configs/recipes/objectives.gin?"),
        (["recipe=mine.gin"], "wanted the gin file recipe = 'mine.gin', found none here. A recipe that lies elsewhere"),
        (["name=Base"], "name = 'Base': wanted up to 40 lower-case letters"),
        (["topology=v9:2x2"], "one of v5e, v5p, v6e"),
        (["topology=v5p:4x4"], "and its sides"),
        (["environment.HF_TOKEN=abc"], "environment.HF_TOKEN looks like a secret"),
        (["environment.a-b=1"], "'a-b' is no name of a variable"),
        (["environment=3"], "environment: wanted texts by name"),
        (["bindings=['Logs.api_key=abc']"], "Logs.api_key looks like a secret"),
        (["bindings=['Layout.slices=4']"], "wanted one number of slices, found slices = 2 and Layout.slices=4"),
        (["run_dir=gs://bucket/run"], "a run's folder is a local or mounted one"),
        (["topology=v5e:3x5"], "and its sides"),
        (["local.gpus=3", "local.devices=0", "environment.CUDA_VISIBLE_DEVICES=4,5"], "wanted 3 gpus, found"),
    ],
)
def test_what_is_no_job_is_refused_in_a_line(tmp_path, capsys, changes, wrong):
    flags = [word for change in changes for word in ("--set", change)]
    assert front.main(["local", "--dry-run", jobs_of_tests.write(tmp_path), *flags]) == 2
    out, error = capsys.readouterr()
    assert wrong in error and len(error.splitlines()) == 1 and not out


def test_a_text_is_a_text_whatever_it_looks_like(tmp_path):
    changes = [
        "slurm.time=12:00:00",
        "slurm.account=123",
        "slurm.memory='64 G'",
        "environment.TOKENIZERS_PARALLELISM=1",
    ]
    read = job.read(jobs_of_tests.write(tmp_path), changes)
    assert (read.slurm.time, read.slurm.account, read.slurm.memory) == ("12:00:00", "123", "64 G")
    assert read.environment["TOKENIZERS_PARALLELISM"] == "1"


@pytest.mark.parametrize(("text", "wrong"), [(None, "No such file"), ("name = ", "it is no TOML"), ("\x00", "no TOML")])
def test_what_is_no_file_is_refused_in_a_line(tmp_path, capsys, text, wrong):
    path = str(tmp_path / "none.toml") if text is None else jobs_of_tests.write(tmp_path, text)
    assert front.main(["slurm", "--dry-run", path]) == 2
    assert wrong in capsys.readouterr().err


@pytest.mark.parametrize(
    ("target", "changes", "wrong"),
    [
        ("tpu_vm", ["tpu_vm.project="], "tpu_vm.project must be set"),
        ("tpu_vm", ["topology="], "wanted the TPU slice"),
        ("gke", ["gke.image="], "gke.image must be set"),
        ("gke", ["gke.secret="], "gke.secret must be set"),
        ("gke", ["gke.bucket="], "gke.bucket or gke.claim, where the run's folder lies"),
        ("gke", ["gke.claim=shared"], "and not both"),
        ("slurm", ["slurm.gpus_per_node=0"], "per = 'gpu', gpus_per_node = 0"),
        ("skypilot", ["skypilot.accelerators="], "skypilot.accelerators must be set"),
        ("local", ["local.gpus=2"], "found processes = 2, devices = 4, gpus = 2"),
    ],
)
def test_what_a_target_cannot_do_without_is_named(tmp_path, capsys, target, changes, wrong):
    flags = [word for change in changes for word in ("--set", change)]
    # Without --dry-run: nothing is planned or started, either.
    assert front.main([target, jobs_of_tests.write(tmp_path), *flags]) == 2
    assert wrong in capsys.readouterr().err


def test_a_secret_that_is_nowhere_is_missed_before_anything_is_submitted(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    # With the plan, which would take minutes.
    assert front.main(["slurm", jobs_of_tests.write(tmp_path)]) == 2
    assert "wanted WANDB_API_KEY in the environment" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "hosts", "on_each", "accelerator"),
    [
        ("v5e:16x16", 64, 4, "v5litepod-256"),
        ("v5e:2x4", 1, 8, "v5litepod-8"),
        ("v5e:4x4", 4, 4, "v5litepod-16"),
        ("v5p:4x4x8", 32, 4, "v5p-256"),
        ("v5p:2x2x1", 1, 4, "v5p-8"),
        ("v6e:16x16", 64, 4, "v6e-256"),
    ],
)
def test_a_slice_has_the_hosts_and_the_name_that_the_cloud_gives_it(text, hosts, on_each, accelerator):
    found = topologies.of(text)
    assert (found.hosts, found.chips_per_host, found.accelerator_type) == (hosts, on_each, accelerator)


@pytest.mark.slow
def test_a_job_that_cannot_fit_is_refused(tmp_path, capfd):
    """The smallest model on GPUs that have no room for anything."""
    text = """
name = "small"
recipe = "gin_configs/recipes/your_audio_cpu.gin"
bindings = ["MANIFEST='none.jsonl'"]
gpu_memory_gb = 0.0001
[slurm]
nodes = 1
gpus_per_node = 1
"""
    assert front.main(["slurm", jobs_of_tests.write(tmp_path, text)]) == 2
    assert "launch: starting small: it does not fit, as the lines above say" in capfd.readouterr().err


def test_nothing_slow_is_imported():
    program = (
        "import launch.__main__, sys; print([name for name in sys.modules if name in ('jax', 'numpy', 'speechlm_jax')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
