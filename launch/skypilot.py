"""A task file of SkyPilot, which finds the machines, watches over them and starts again what was taken away."""

from typing import Any

import yaml

from launch import job as jobs


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
        "setup": "\n".join(sky.setup) + "\n",
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


def command(job: jobs.Job, path: str) -> list[str]:
    """What submits the task in a file."""
    return ["sky", "jobs", "launch", "--yes", *(word for name in job.secrets for word in ("--secret", name)), path]
