"""A task file of SkyPilot, which finds the machines, watches over them and starts again what was taken away."""

from typing import Any

import yaml

from launch import job as jobs

ABOUT = "a managed job of SkyPilot, on any cloud"


def told(job: jobs.Job, asked: jobs.Asked) -> str:
    """The task file, and what submits it."""
    return jobs.shown(f"{job.name}.yaml", script(job), _command(job, f"{job.name}.yaml"))


def start(job: jobs.Job, asked: jobs.Asked) -> int:
    """Submits the job, and returns sky's exit code."""
    return jobs.submitted(f"{job.name}.yaml", script(job), lambda path: _command(job, path))


def task(job: jobs.Job) -> dict[str, Any]:
    """The task. Raises Mistake where the job says too little."""
    sky = job.skypilot
    jobs.needs("skypilot", sky, "accelerators")
    resources: dict[str, Any] = {
        "accelerators": sky.accelerators,
        "use_spot": sky.spot,
        "job_recovery": {"max_restarts_on_errors": 0, "recover_on_exit_codes": list(jobs.RESTARTED)},
    }
    if sky.infra:
        resources["infra"] = sky.infra
    told: dict[str, Any] = {
        "name": job.name,
        "num_nodes": sky.nodes,
        "workdir": ".",
        "resources": resources,
        "envs": dict(job.environment),
        # Without values: `sky jobs launch --secret NAME` takes them from where it runs.
        "secrets": dict.fromkeys(job.secrets),
        "file_mounts": {folder: {"source": bucket, "mode": "MOUNT"} for folder, bucket in sky.mounts.items()},
        "setup": "\n".join(sky.setup or _setup(sky.accelerators)) + "\n",
        "run": (
            'export SPEECHLM_COORDINATOR="$(head -n 1 <<< "$SKYPILOT_NODE_IPS"):29400"\n'
            "export SPEECHLM_PROCESSES=$SKYPILOT_NUM_NODES SPEECHLM_PROCESS_ID=$SKYPILOT_NODE_RANK\n"
            f"{jobs.shell(job.command('.venv/bin/python'))}\n"
        ),
    }
    return {name: value for name, value in told.items() if value not in ({}, "")}


def script(job: jobs.Job) -> str:
    """The task as YAML."""
    return yaml.safe_dump(task(job), sort_keys=False, width=120)


def _setup(accelerators: str) -> list[str]:
    extra = "tpu" if accelerators.startswith("tpu") else "cuda"
    return [*jobs.ENVIRONMENT, f".venv/bin/pip install -q -c constraints.txt -e '.[{extra}]'"]


def _command(job: jobs.Job, path: str) -> list[str]:
    return ["sky", "jobs", "launch", "--yes", *(word for name in job.secrets for word in ("--secret", name)), path]
