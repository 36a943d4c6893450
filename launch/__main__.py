"""`python -m launch TARGET JOB.toml`: starts a job somewhere, or says with --dry-run what it would do."""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence

from launch import fits, gke, local, mistakes, skypilot, slurm, tpu_vm
from launch import job as jobs

TARGETS = {
    "local": "processes of this machine",
    "tpu_vm": "TPU VMs of Google Cloud",
    "gke": "a JobSet on Google Kubernetes Engine; --xpk has xpk start it",
    "slurm": "a batch job of Slurm",
    "skypilot": "a managed job of SkyPilot, on any cloud",
}
ACTIONS = ("start", "status", "logs", "delete")
_SUFFIX = {"gke": ".yaml", "slurm": ".sh", "skypilot": ".yaml"}


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code: that of the run where it is waited for; 2 for a mistake in the job."""
    parser = argparse.ArgumentParser(
        prog="python -m launch",
        description="Starts one job on one machine or many. Targets: "
        + "; ".join(f"{name}: {what}" for name, what in TARGETS.items()),
    )
    parser.add_argument("target", choices=TARGETS, metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("job", metavar="JOB", help="a TOML file; launch/job.py says what may stand in it")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="such as slices=2, local.processes=4"
    )
    parser.add_argument("--dry-run", action="store_true", help="print exactly what would run, and run nothing")
    parser.add_argument("--no-plan", action="store_true", help="do not ask first whether the job fits its devices")
    parser.add_argument("--xpk", action="store_true", help="gke: by xpk in place of kubectl")
    parser.add_argument("--action", choices=ACTIONS, default="start", help="tpu_vm: default start, and watch over it")
    asked = parser.parse_args(argv)
    try:
        job = jobs.read(asked.job, asked.set)
        if asked.action != "start" and asked.target != "tpu_vm":
            raise mistakes.Mistake(
                f"--action={asked.action} is of tpu_vm; {asked.target} has commands of its own for it."
            )
        if asked.xpk and asked.target != "gke":
            raise mistakes.Mistake("--xpk is of gke.")
        if asked.dry_run:
            print(told(job, asked.target, action=asked.action, by_xpk=asked.xpk), end="")
            return 0
        # What is missing is said before the plan, which takes minutes.
        told(job, asked.target, action=asked.action, by_xpk=asked.xpk)
        if asked.action == "start" and not asked.no_plan and asked.target != "local":
            fits.check(job, asked.target)
        return _START[asked.target](job, asked)
    except mistakes.Mistake as error:
        jobs.say(f"launch: {error}")
        return 2


def told(job: jobs.Job, target: str, *, action: str = "start", by_xpk: bool = False) -> str:
    """What would run, as text."""
    parts = []
    plan = fits.command(job, target) if action == "start" and target != "local" else None
    if plan:
        parts.append(f"# does it fit?\n{jobs.shell(plan)}\n")
    if target == "local":
        parts.append(local.script(job))
    elif target == "tpu_vm":
        if action == "start":
            parts.append(f"# {job.name}.sh\n{tpu_vm.script(job)}")
        parts += [f"# {step.what}\n{jobs.shell(step.words)}\n" for step in _steps(job, action)]
    elif by_xpk:
        parts.append(f"{jobs.shell(gke.xpk(job))}\n")
    else:
        name = f"{job.name}{_SUFFIX[target]}"
        parts.append(f"# {name}\n{_SCRIPT[target](job)}")
        parts.append(f"# submitted by\n{jobs.shell(_command(job, target, name))}\n")
    return "\n".join(parts)


def _steps(job: jobs.Job, action: str) -> list[tpu_vm.Step]:
    if action == "start":
        create, *rest = tpu_vm.start(job)
        return [create, tpu_vm.state(job), *rest, tpu_vm.ended(job)]
    if action == "status":
        return [tpu_vm.state(job), tpu_vm.ended(job)]
    return [tpu_vm.logs(job) if action == "logs" else tpu_vm.delete(job)]


_SCRIPT: dict[str, Callable[[jobs.Job], str]] = {"gke": gke.script, "slurm": slurm.script, "skypilot": skypilot.script}


def _command(job: jobs.Job, target: str, path: str) -> list[str]:
    return {"gke": gke.command(path), "slurm": slurm.command(path), "skypilot": skypilot.command(job, path)}[target]


def _submit(job: jobs.Job, asked: argparse.Namespace) -> int:
    missing = [name for name in job.secrets if name not in os.environ and asked.target != "gke"]
    if missing:
        raise mistakes.Mistake(
            f"starting {job.name}: wanted {', '.join(missing)} in the environment, where they are not."
        )
    if asked.xpk:
        return _run(gke.xpk(job))
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, f"{job.name}{_SUFFIX[asked.target]}")
        path.write_text(_SCRIPT[asked.target](job))
        return _run(_command(job, asked.target, str(path)))


def _on_tpu_vm(job: jobs.Job, asked: argparse.Namespace) -> int:
    if asked.action == "start":
        return tpu_vm.watch(job, tpu_vm.ask_gcloud)
    return max(_run(step.words) for step in _steps(job, asked.action))


def _run(words: list[str]) -> int:
    try:
        return subprocess.run(words, check=False).returncode
    except FileNotFoundError:
        raise mistakes.Mistake(f"there is no {words[0]} here, which was to run {jobs.shell(words)}.") from None


_START: dict[str, Callable[[jobs.Job, argparse.Namespace], int]] = {
    "local": lambda job, asked: local.run(job),
    "tpu_vm": _on_tpu_vm,
    "gke": _submit,
    "slurm": _submit,
    "skypilot": _submit,
}

if __name__ == "__main__":
    sys.exit(main())
