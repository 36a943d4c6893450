"""A JobSet of Kubernetes, ready for Kueue, and the same as a command of xpk."""

from typing import Any

import yaml

from launch import job as jobs
from launch import mistakes

MISTAKE = 2
"""The exit code of a run whose settings are wrong: the same command would end in the same way."""
_CONTAINER = "speechlm"
_PORT = 8_476


def manifest(job: jobs.Job) -> dict[str, Any]:
    """The JobSet. Raises Mistake where the job says too little."""
    gke, slice_ = job.gke, job.tpu_slice("gke")
    jobs.needs("gke", gke, "image")
    if job.secrets:
        jobs.needs("gke", gke, "secret")
    variables: list[dict[str, Any]] = [{"name": "SPEECHLM_COORDINATOR", "value": "auto"}]
    variables += [{"name": name, "value": value} for name, value in job.environment.items()]
    variables += [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": gke.secret, "key": name}}} for name in job.secrets
    ]
    container = {
        "name": _CONTAINER,
        "image": gke.image,
        "command": job.command(),
        "env": variables,
        "ports": [{"containerPort": _PORT}],
        "resources": {"limits": {"google.com/tpu": slice_.chips_per_host}},
    }
    pod: dict[str, Any] = {
        "nodeSelector": {
            "cloud.google.com/gke-tpu-accelerator": slice_.kind.gke,
            "cloud.google.com/gke-tpu-topology": slice_.topology,
        },
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": gke.grace_seconds,
        "containers": [container],
    }
    if gke.service_account:
        pod["serviceAccountName"] = gke.service_account
    # All hosts of a run end together; a new life is all of them again.
    of_slice = {
        "parallelism": slice_.hosts,
        "completions": slice_.hosts,
        "completionMode": "Indexed",
        "backoffLimit": 0,
        "podFailurePolicy": {
            "rules": [
                {
                    "action": "FailJob",
                    "onExitCodes": {"containerName": _CONTAINER, "operator": "In", "values": [MISTAKE]},
                }
            ]
        },
        "template": {"spec": pod},
    }
    about: dict[str, Any] = {
        "name": job.name,
        "namespace": gke.namespace,
        "annotations": {"alpha.jobset.sigs.k8s.io/exclusive-topology": "cloud.google.com/gke-nodepool"},
    }
    if gke.queue:
        about["labels"] = {"kueue.x-k8s.io/queue-name": gke.queue}
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": about,
        "spec": {
            "failurePolicy": {
                "maxRestarts": job.retries,
                "rules": [{"name": "mistake", "action": "FailJobSet", "onJobFailureReasons": ["PodFailurePolicy"]}],
            },
            "replicatedJobs": [{"name": "slice", "replicas": job.slices, "template": {"spec": of_slice}}],
        },
    }


def script(job: jobs.Job) -> str:
    """The manifest as YAML."""
    return yaml.safe_dump(manifest(job), sort_keys=False, width=120)


def command(path: str) -> list[str]:
    """What submits the manifest in a file."""
    return ["kubectl", "apply", "--filename", path]


def xpk(job: jobs.Job) -> list[str]:
    """The command by which xpk starts the same job. Raises Mistake where the job says too little, and for secrets, for
    which xpk has no place."""
    gke, slice_ = job.gke, job.tpu_slice("gke")
    jobs.needs("gke", gke, "image", "cluster")
    if job.secrets:
        raise mistakes.Mistake("gke: xpk has no place for secrets. Apply the manifest.")
    optional = {"--project": gke.project, "--zone": gke.zone}
    variables = {"SPEECHLM_COORDINATOR": "auto", **job.environment}
    return [
        *("xpk", "workload", "create", f"--cluster={gke.cluster}", f"--workload={job.name}"),
        *(f"{flag}={value}" for flag, value in optional.items() if value),
        *(f"--tpu-type={slice_.accelerator_type}", f"--num-slices={job.slices}", f"--docker-image={gke.image}"),
        *(f"--max-restarts={job.retries}", f"--restart-on-exit-codes={','.join(map(str, jobs.RESTARTED))}"),
        f"--termination-grace-period-seconds={gke.grace_seconds}",
        *(word for name, value in variables.items() for word in ("--env", f"{name}={value}")),
        f"--command={jobs.shell(job.command())}",
    ]
