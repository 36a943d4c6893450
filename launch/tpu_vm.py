"""TPU VMs of Google Cloud: asked for, set up, watched, asked for again where they are taken away."""

import pathlib
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from launch import job as jobs
from launch import mistakes

_LOST = ("SUSPENDED", "SUSPENDING", "FAILED")
_ENDED = "ended "
Ask = Callable[[Sequence[str]], str]
"""Runs a command and returns what it prints."""


class Step(NamedTuple):
    """A command, and what for."""

    what: str
    words: list[str]


def start(job: jobs.Job) -> list[Step]:
    """What brings the job up, in this order; behind the first the VMs are waited for. Raises Mistake where the job says
    too little."""
    vm, slice_ = job.tpu_vm, job.tpu_slice("tpu_vm")
    jobs.needs("tpu_vm", vm, "project", "zone")
    nodes = [f"--node-id={job.name}"]
    if job.slices > 1:
        nodes = [f"--node-count={job.slices}", f"--node-prefix={job.name}"]
    asked = [
        f"--accelerator-type={slice_.accelerator_type}",
        f"--runtime-version={vm.runtime_version or slice_.kind.runtime_version}",
        *nodes,
        *(["--spot"] if vm.spot else []),
        *([f"--service-account={vm.service_account}"] if vm.service_account else []),
    ]
    archive = f"{tempfile.gettempdir()}/{job.name}.tar.gz"
    unpack = f"mkdir -p {job.name} && tar -xzf {job.name}.tar.gz -C {job.name} && cd {job.name}"
    begin = f"nohup setsid bash {job.name}.sh > {job.name}.log 2>&1 < /dev/null &"
    sent = _gcloud(job, "scp", archive, _script_path(job), f"{job.name}:", *_EVERYWHERE)
    return [
        Step("ask for the TPUs", _gcloud(job, "create", job.name, *asked)),
        Step(
            "pack what is committed",
            ["git", "-C", vm.code, "archive", "--format=tar.gz", f"--output={archive}", "HEAD"],
        ),
        Step("send it, and the script, to every worker", sent),
        Step("set every worker up", _on_workers(job, " && ".join([unpack, *vm.setup]))),
        Step("start the run on every worker", _on_workers(job, begin)),
    ]


def script(job: jobs.Job) -> str:
    """What every worker runs: the run, and again where it was told to stop."""
    assigned = {"SPEECHLM_COORDINATOR": "auto", **job.environment}
    variables = [f"export {name}={jobs.shell([value])}" for name, value in assigned.items()]
    # The worker asks Secret Manager by its own account.
    variables += [
        f'export {name}="$(gcloud secrets versions access latest --secret={name} --project={job.tpu_vm.project})"'
        for name in job.secrets
    ]
    tests = "|".join(map(str, jobs.RESTARTED))
    lines = "\n".join(variables)
    return f"""#!/bin/bash
rm -f {job.name}.ended
cd {job.name}
{lines}
for life in $(seq 0 {job.retries}); do
    {jobs.shell(job.command(".venv/bin/python"))}
    code=$?
    case $code in
        {tests}|12[89]|1[3-9]?|2??) sleep 10 ;;
        *) break ;;
    esac
done
echo "{_ENDED}$code" > ../{job.name}.ended
"""


def state(job: jobs.Job) -> Step:
    """Where the request for the VMs stands."""
    return Step("state of the TPUs", _gcloud(job, "describe", job.name, "--format=value(state.state)"))


def ended(job: jobs.Job) -> Step:
    """Of the first worker: its last line, or how its run ended."""
    return Step(
        "the run on the first worker",
        _gcloud(job, "ssh", job.name, f"--command=cat {job.name}.ended 2>/dev/null || tail -n 1 {job.name}.log"),
    )


def logs(job: jobs.Job) -> Step:
    """What the first worker says, as it says it."""
    return Step("lines of the first worker", _gcloud(job, "ssh", job.name, f"--command=tail -n 100 -F {job.name}.log"))


def delete(job: jobs.Job) -> Step:
    """Gives the VMs back."""
    return Step("give the TPUs back", _gcloud(job, "delete", job.name, "--force", "--quiet"))


def watch(job: jobs.Job, ask: Ask, pause: Callable[[float], None] = time.sleep) -> int:
    """Brings the job up, and again wherever its VMs are taken away, until it ends; returns its exit code."""
    life = 0
    while True:
        create, *rest = start(job)
        _say(create, ask)
        while (found := ask(state(job).words).strip()) not in ("ACTIVE", *_LOST):
            jobs.say(f"launch: the TPUs are {found or 'not known yet'}")
            pause(job.tpu_vm.poll_seconds)
        if found == "ACTIVE":
            pathlib.Path(_script_path(job)).write_text(script(job))
            for step in rest:
                _say(step, ask)
            while ask(state(job).words).strip() == "ACTIVE":
                line = ask(ended(job).words).strip()
                if line.startswith(_ENDED):
                    return int(line.removeprefix(_ENDED))
                jobs.say(f"launch: {line}")
                pause(job.tpu_vm.poll_seconds)
        if life == job.retries:
            raise mistakes.Mistake(f"tpu_vm: the TPUs were taken away {life + 1} times, and retries = {job.retries}.")
        life += 1
        jobs.say(f"launch: the TPUs were taken away; asking again, {life} of {job.retries}")
        _say(delete(job), ask)


def ask_gcloud(words: Sequence[str]) -> str:
    """Runs a command. Raises Mistake where it fails, with what it said."""
    try:
        done = subprocess.run(list(words), stdout=subprocess.PIPE, text=True, check=False)
    except FileNotFoundError:
        raise mistakes.Mistake(f"tpu_vm: there is no {words[0]} here. Install Google Cloud's command line.") from None
    if done.returncode:
        raise mistakes.Mistake(f"tpu_vm: {jobs.shell(words)} ended with code {done.returncode}.")
    return done.stdout


_EVERYWHERE = ("--worker=all", "--node=all")


def _say(step: Step, ask: Ask) -> None:
    jobs.say(f"launch: {step.what}")
    ask(step.words)


def _gcloud(job: jobs.Job, verb: str, *words: str) -> list[str]:
    """A command about queued resources."""
    where = [f"--project={job.tpu_vm.project}", f"--zone={job.tpu_vm.zone}"]
    return ["gcloud", "compute", "tpus", "queued-resources", verb, *words, *where]


def _on_workers(job: jobs.Job, line: str) -> list[str]:
    return _gcloud(job, "ssh", job.name, *_EVERYWHERE, f"--command={line}")


def _script_path(job: jobs.Job) -> str:
    return f"{tempfile.gettempdir()}/{job.name}.sh"
