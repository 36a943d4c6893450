"""TPU VMs of Google Cloud: asked for, set up, watched, asked for again where they are taken away."""

import pathlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from typing import NamedTuple

from launch import job as jobs
from launch import mistakes

ABOUT = "TPU VMs of Google Cloud; --action=watch, status, logs and delete, too"
_LOST = ("SUSPENDED", "SUSPENDING", "FAILED")
_ENDED = "ended "
_EVERYWHERE = ("--worker=all", "--node=all")
_MISSED_SECONDS = 130
"""What a signal has ended begins again once the other workers have missed it (100 s) and ended, too."""
_TRIES = 3
"""Of a command that has to succeed: a VM that was just made may not answer yet, nor the cloud."""
_MOST_UNHEARD = 10
"""Times in a row that nobody answers, as while a VM is taken away: then it is more than that."""


class Step(NamedTuple):
    """A command, and what for."""

    what: str
    words: list[str]


def told(job: jobs.Job, asked: jobs.Asked) -> str:
    """Every command, and the script that each worker runs."""
    _check(job)
    if asked.action in ("start", "watch"):
        steps = [*_packed(job, "FOLDER"), _created(job), _state(job), *_brought(job, "FOLDER"), _line(job)]
        text = f"# {job.name}.sh\n{script(job)}\n"
    else:
        steps, text = _asked(job, asked.action), ""
    return text + "\n".join(f"# {step.what}\n{jobs.shell(step.words)}\n" for step in steps)


def start(job: jobs.Job, asked: jobs.Asked) -> int:
    """Brings the job up, and again wherever its VMs are taken away, until it ends; returns its exit code. Or watches
    one that is up, tells of it, or gives its VMs back."""
    _check(job)
    if asked.action not in ("start", "watch"):
        return max(jobs.run(step.words) for step in _asked(job, asked.action))
    if missing := [name for name in ("git", "gcloud") if shutil.which(name) is None]:
        raise mistakes.Mistake(f"tpu_vm: there is no {' and no '.join(missing)} here. Install it first.")
    with tempfile.TemporaryDirectory() as folder:
        # What fails here fails before anything is paid for.
        pathlib.Path(folder, f"{job.name}.sh").write_text(script(job))
        for step in _packed(job, folder):
            _do(step)
        for path in job.recipe:
            if not pathlib.Path(path).is_absolute():
                _check_sent(job.tpu_vm.code, path)
        if left := _ask(["git", "-C", job.tpu_vm.code, "status", "--porcelain", "--untracked-files=no"]):
            jobs.say(
                f"launch: {len(left.splitlines())} files of {job.tpu_vm.code} are changed and not committed: not sent"
            )
        return _watch(job, folder, is_up=asked.action == "watch")


def script(job: jobs.Job) -> str:
    """What every worker runs: the run, and again where it was told to stop."""
    assigned = {"SPEECHLM_COORDINATOR": "auto", **job.environment}
    variables = [f"export {name}={jobs.shell([value])}" for name, value in assigned.items()]
    for name in job.secrets:
        # The worker asks Secret Manager by its own account.
        asked = f"gcloud secrets versions access latest --secret={name} --project={job.tpu_vm.project}"
        variables += [f'{name}="$({asked})" || {{ echo "{_ENDED}2" > ~/{job.name}.ended; exit 2; }}', f"export {name}"]
    restarted = "|".join(map(str, jobs.RESTARTED))
    lines = "\n".join(variables)
    return f"""#!/bin/bash
cd ~/{job.name}
{lines}
killed=0
for life in $(seq 0 {job.retries}); do
    began=$SECONDS
    {jobs.shell(job.command(".venv/bin/python"))}
    code=$?
    [ $((SECONDS - began)) -lt {jobs.LONG_LIFE_SECONDS} ] || killed=0
    case $code in
        {restarted}) killed=0; pause=10 ;;
        12[89]|1[3-9]?|2??) killed=$((killed + 1)); [ $killed -lt 3 ] || break; pause={_MISSED_SECONDS} ;;
        *) break ;;
    esac
    [ $life -lt {job.retries} ] || break
    sleep $pause
done
echo "{_ENDED}$code" > ~/{job.name}.ended
"""


def _check(job: jobs.Job) -> None:
    job.tpu_slice("tpu_vm")
    jobs.needs("tpu_vm", job.tpu_vm, "project", "zone")


def _asked(job: jobs.Job, action: str) -> list[Step]:
    if action == "status":
        return [_state(job), _line(job)]
    if action == "logs":
        return [Step("lines of the first worker", _ssh(job, f"tail -n 100 -F {job.name}.log"))]
    return [_deleted(job)]


def _packed(job: jobs.Job, folder: str) -> list[Step]:
    out = f"--output={folder}/{job.name}.tar.gz"
    return [Step("pack what is committed", ["git", "-C", job.tpu_vm.code, "archive", "--format=tar.gz", out, "HEAD"])]


def _created(job: jobs.Job) -> Step:
    vm, tpu = job.tpu_vm, job.tpu_slice("tpu_vm")
    nodes = [f"--node-id={job.name}"]
    if job.slices > 1:
        nodes = [f"--node-count={job.slices}", f"--node-prefix={job.name}"]
    asked = [
        f"--accelerator-type={tpu.accelerator_type}",
        f"--runtime-version={vm.runtime_version or tpu.kind.runtime_version}",
        *nodes,
        *(["--spot"] if vm.spot else []),
        *([f"--service-account={vm.service_account}"] if vm.service_account else []),
    ]
    return Step("ask for the TPUs", _gcloud(job, "create", job.name, *asked))


def _brought(job: jobs.Job, folder: str) -> list[Step]:
    """What is done once the VMs are there."""
    files = [f"{folder}/{job.name}.tar.gz", f"{folder}/{job.name}.sh"]
    unpack = f"mkdir -p {job.name} && tar -xzf {job.name}.tar.gz -C {job.name} && cd {job.name}"
    # Where it runs already it is not begun again: the command may be given twice, as some workers did not answer.
    alone = f"nohup setsid flock -n {job.name}.lock bash -c 'rm -f {job.name}.ended; bash {job.name}.sh'"
    begin = f"{alone} >> {job.name}.log 2>&1 < /dev/null &"
    return [
        Step("send it, and the script, to every worker", _gcloud(job, "scp", *files, f"{job.name}:", *_EVERYWHERE)),
        Step("set every worker up", _ssh(job, " && ".join([unpack, *job.tpu_vm.setup]), *_EVERYWHERE)),
        Step("start the run on every worker", _ssh(job, begin, *_EVERYWHERE)),
    ]


def _state(job: jobs.Job) -> Step:
    return Step("state of the TPUs", _gcloud(job, "describe", job.name, "--format=value(state.state)"))


def _why(job: jobs.Job) -> Step:
    return Step("what the cloud says of the TPUs", _gcloud(job, "describe", job.name, "--format=value(state)"))


def _line(job: jobs.Job) -> Step:
    """Of the first worker: its last line, or how its run ended."""
    return Step(
        "the run on the first worker", _ssh(job, f"cat {job.name}.ended 2>/dev/null || tail -n 1 {job.name}.log")
    )


def _deleted(job: jobs.Job) -> Step:
    return Step("give the TPUs back", _gcloud(job, "delete", job.name, "--force", "--quiet"))


def _check_sent(code: str, path: str) -> None:
    """Raises Mistake for a recipe that is not committed, so that no worker would have it."""
    known = ["git", "-C", code, "cat-file", "-e", f"HEAD:./{path}"]
    if subprocess.run(known, stderr=subprocess.DEVNULL, check=False).returncode:
        raise mistakes.Mistake(
            f"tpu_vm: wanted the recipe {path} among what is committed in {code}, which workers are sent, found none. "
            "Commit it, or name its whole path on the workers."
        )


def _watch(job: jobs.Job, folder: str, is_up: bool) -> int:
    life = 0
    while True:
        if not is_up:
            _do(_created(job), tries=1 if life == 0 else _TRIES, pause=job.tpu_vm.poll_seconds)
        code = _life(job, folder, is_up)
        is_up = False
        if code is not None:
            jobs.say(
                f"launch: the run ended with code {code}. The TPUs are still held; --action=delete gives them back"
            )
            return code
        if life == job.retries:
            raise mistakes.Mistake(f"tpu_vm: the TPUs were taken away {life + 1} times, and retries = {job.retries}.")
        life += 1
        jobs.say(f"launch: the TPUs were taken away; asking again, {life} of {job.retries}")
        time.sleep(job.tpu_vm.poll_seconds)
        _do(_deleted(job), tries=_TRIES, pause=job.tpu_vm.poll_seconds)


def _life(job: jobs.Job, folder: str, is_up: bool) -> int | None:
    """The exit code of the run; None where its TPUs are taken away before it ends."""
    while (found := _heard(job, _state(job))) != "ACTIVE":
        if found in _LOST:
            jobs.say(f"launch: the TPUs are {found}: {' '.join(_heard(job, _why(job)).split())}")
            return None
        jobs.say(f"launch: the TPUs are {found or 'not known yet'}")
        time.sleep(job.tpu_vm.poll_seconds)
    for step in [] if is_up else _brought(job, folder):
        try:
            _do(step, tries=_TRIES, pause=job.tpu_vm.poll_seconds)
        except mistakes.Mistake:
            # They may have been taken away meanwhile.
            if _heard(job, _state(job)) not in _LOST:
                raise
            return None
    while _heard(job, _state(job)) not in _LOST:
        # A VM that is being taken away does not answer, while the cloud still calls it active.
        line = _heard(job, _line(job), unless=_LOST)
        if line.startswith(_ENDED):
            return int(line.removeprefix(_ENDED))
        if line:
            jobs.say(f"launch: {line}")
        time.sleep(job.tpu_vm.poll_seconds)
    return None


def _heard(job: jobs.Job, step: Step, unless: Sequence[str] = ()) -> str:
    """What a command says, which is asked again where it fails. unless: states of the TPUs in which it need not answer.
    Raises Mistake where it fails on and on."""
    for left in reversed(range(_MOST_UNHEARD)):
        try:
            return _ask(step.words).strip()
        except mistakes.Mistake:
            if not left:
                raise
        if unless and _heard(job, _state(job)) in unless:
            return ""
        time.sleep(job.tpu_vm.poll_seconds)
    raise AssertionError


def _do(step: Step, tries: int = 1, pause: float = 0.0) -> None:
    """Raises Mistake where a command has failed so many times, with a pause between."""
    jobs.say(f"launch: {step.what}")
    for left in reversed(range(tries)):
        try:
            _ask(step.words)
            return
        except mistakes.Mistake as error:
            if not left:
                raise
            jobs.say(f"launch: {error} Once more")
            time.sleep(pause)


def _ask(words: Sequence[str]) -> str:
    """What a command prints. Raises Mistake where it fails."""
    done = subprocess.run(list(words), stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise mistakes.Mistake(f"tpu_vm: {jobs.shell(words)} ended with code {done.returncode}.")
    return done.stdout


def _gcloud(job: jobs.Job, verb: str, *words: str) -> list[str]:
    """A command about queued resources."""
    where = [f"--project={job.tpu_vm.project}", f"--zone={job.tpu_vm.zone}"]
    return ["gcloud", "compute", "tpus", "queued-resources", verb, *words, *where]


def _ssh(job: jobs.Job, line: str, *workers: str) -> list[str]:
    return _gcloud(job, "ssh", job.name, *workers, f"--command={line}")
