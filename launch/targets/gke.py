"""A JobSet of Kubernetes, ready for Kueue, and the same as a command of xpk."""

import signal
from typing import Any

import yaml

from launch import job as jobs
from launch import mistakes

ABOUT = "a JobSet on Google Kubernetes Engine; --xpk has xpk start it"
MISTAKE = 2
"""The exit code of a run whose settings are wrong: the same command would end in the same way."""
_CONTAINER = "speechlm"
_PORT = 8_476
_SIGNALS = (signal.SIGABRT, signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM)
"""That end a host whose run goes on: a pod that had no time to save, or a process that misses another."""


def told(job: jobs.Job, asked: jobs.Asked) -> str:
    """The manifest and what submits it, or the command of xpk."""
    if asked.by_xpk:
        return f"{jobs.shell(xpk(job))}\n"
    return jobs.shown(f"{job.name}.yaml", script(job), _command(f"{job.name}.yaml"))


def start(job: jobs.Job, asked: jobs.Asked) -> int:
    """Submits the job, and returns kubectl's exit code, or xpk's."""
    if asked.by_xpk:
        return jobs.run(xpk(job))
    return jobs.submitted(f"{job.name}.yaml", script(job), _command)


def _command(path: str) -> list[str]:
    # `apply` would leave a job that is over as it is, and say that all is well.
    return ["kubectl", "create", "--filename", path]


def manifest(job: jobs.Job) -> dict[str, Any]:
    """The JobSet. Raises Mistake where the job says too little."""
    gke, slice_ = job.gke, job.tpu_slice("gke")
    jobs.needs("gke", gke, "image")
    if bool(gke.bucket) == bool(gke.claim):
        raise mistakes.Mistake("gke: wanted gke.bucket or gke.claim, where the run's folder lies, and not both.")
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
        "volumeMounts": [{"name": "data", "mountPath": gke.mount}],
    }
    pod: dict[str, Any] = {
        "nodeSelector": {
            "cloud.google.com/gke-tpu-accelerator": slice_.kind.gke,
            "cloud.google.com/gke-tpu-topology": slice_.topology,
        },
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": gke.grace_seconds,
        "containers": [container],
        "volumes": [{"name": "data", **_volume(gke)}],
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
        "template": {"metadata": {"annotations": {"gke-gcsfuse/volumes": "true"}}, "spec": pod}
        if gke.bucket
        else {"spec": pod},
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


def _volume(gke: jobs.Gke) -> dict[str, Any]:
    if gke.claim:
        return {"persistentVolumeClaim": {"claimName": gke.claim}}
    # A checkpoint gets its name by renaming its folder, which a bucket does file by file.
    options = {"bucketName": gke.bucket, "mountOptions": "implicit-dirs,rename-dir-limit=100000"}
    return {"csi": {"driver": "gcsfuse.csi.storage.gke.io", "volumeAttributes": options}}


def script(job: jobs.Job) -> str:
    """The manifest as YAML."""
    return yaml.safe_dump(manifest(job), sort_keys=False, width=120)


def xpk(job: jobs.Job) -> list[str]:
    """The command by which xpk starts the same job. Raises Mistake where the job says too little, and for secrets, for
    which xpk has no place."""
    gke, slice_ = job.gke, job.tpu_slice("gke")
    jobs.needs("gke", gke, "image", "cluster")
    strange = [name for name in ("queue", "service_account", "bucket", "claim") if getattr(gke, name)]
    if job.secrets or strange:
        found = ["secrets"] * bool(job.secrets) + [f"gke.{name}" for name in strange]
        raise mistakes.Mistake(
            "gke: xpk's clusters have a queue, accounts and storages of their own, and no place for "
            f"{', '.join(found)}. Leave them out, or start without --xpk."
        )
    optional = {"--project": gke.project, "--zone": gke.zone}
    variables = {"SPEECHLM_COORDINATOR": "auto", **job.environment}
    again = (*jobs.RESTARTED, *(128 + number for number in _SIGNALS))
    return [
        *("xpk", "workload", "create", f"--cluster={gke.cluster}", f"--workload={job.name}"),
        *(f"{flag}={value}" for flag, value in optional.items() if value),
        *(f"--tpu-type={slice_.accelerator_type}", f"--num-slices={job.slices}", f"--docker-image={gke.image}"),
        *(f"--max-restarts={job.retries}", f"--restart-on-exit-codes={','.join(map(str, again))}"),
        f"--termination-grace-period-seconds={gke.grace_seconds}",
        *(word for name, value in variables.items() for word in ("--env", f"{name}={value}")),
        f"--command={jobs.shell(job.command())}",
    ]
