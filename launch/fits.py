"""Whether a job fits its devices, asked of `speechlm plan` before anything is queued."""

import importlib.util
import json
import pathlib
import subprocess
import sys
import tempfile

from launch import job as jobs
from launch import mistakes


def command(job: jobs.Job, target: str, python: str = "python") -> list[str] | None:
    """What plans the job for its target; None where it is not known on which devices it runs."""
    gpus = {"slurm": job.slurm.nodes * job.slurm.gpus_per_node, "local": job.local.gpus}.get(target, 0)
    if target in ("gke", "tpu_vm") and job.topology:
        devices = [f"--topology={job.topology}", f"--slices={job.slices}"]
    elif gpus and job.gpu_memory_gb:
        devices = [f"--devices={gpus}", f"--memory_gb={job.gpu_memory_gb:g}"]
    else:
        return None
    return [python, "-m", "speechlm_jax", "plan", *job.settings(), *devices]


def check(job: jobs.Job, target: str) -> None:
    """Raises Mistake for a job that cannot fit; says so where it is not known."""
    words = command(job, target, sys.executable)
    if words is None:
        if target == "skypilot":
            jobs.say(f"launch: whether {job.name} fits is not known: on what SkyPilot will run it is not, either")
        elif target != "local":
            jobs.say(f"launch: whether {job.name} fits is not known: the job names no topology, or no gpu_memory_gb")
        return
    if importlib.util.find_spec("speechlm_jax") is None:
        jobs.say(f"launch: whether {job.name} fits is not known: speechlm_jax, which plans it, is not installed here")
        return
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "plan.json")
        done = subprocess.run([*words, f"--json={path}"], stdout=sys.stderr, check=False)
        if done.returncode or not path.exists():
            raise mistakes.Mistake(
                f"planning {job.name}: the plan ended with code {done.returncode}, as the lines above say. Mend it, or "
                "go on with --no-plan."
            )
        if not json.loads(path.read_text())["fits"]:
            raise mistakes.Mistake(
                f"starting {job.name}: it does not fit, as the lines above say. `speechlm plan --fit=DIR` looks for "
                "rows, a layout and a remat that do; --no-plan starts it all the same."
            )
