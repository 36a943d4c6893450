"""`python -m launch TARGET JOB.toml`: starts a job somewhere, or says with --dry-run what it would do.

Neither JAX nor speechlm_jax is imported, so that it runs wherever Python does.
"""

import argparse
import difflib
import importlib
import os
import pathlib
import pkgutil
import sys
from collections.abc import Sequence
from types import ModuleType

from launch import fits, mistakes, targets
from launch import job as jobs

ACTIONS = ("start", "watch", "status", "logs", "delete")
_INTERRUPTED = 130


def members() -> dict[str, ModuleType]:
    """The targets by name: each is a file of targets/ with ABOUT, told(job, asked) and start(job, asked)."""
    names = [module.name for module in pkgutil.iter_modules(targets.__path__)]
    return {name: importlib.import_module(f"launch.targets.{name}") for name in names}


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code: that of the run where it is waited for; 2 for a mistake in the job."""
    known = members()
    about = "\n".join(f"  {name:<10}{member.ABOUT}" for name, member in known.items())
    parser = argparse.ArgumentParser(
        prog="python -m launch",
        description=f"Starts one job on one machine or many. Targets:\n\n{about}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("target", choices=known, metavar="TARGET", help="one of those above")
    parser.add_argument("job", metavar="JOB", help="a TOML file; launch/job.py says what may stand in it")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="such as local.processes=4")
    parser.add_argument("--dry-run", action="store_true", help="print exactly what would run, and run nothing")
    parser.add_argument("--no-plan", action="store_true", help="do not ask first whether the job fits its devices")
    parser.add_argument("--xpk", action="store_true", help="gke: by xpk in place of kubectl")
    parser.add_argument("--action", choices=ACTIONS, default="start", help="tpu_vm: start, the default, or watch, ...")
    given = parser.parse_args(argv)
    try:
        return _do(given, known[given.target])
    except mistakes.Mistake as error:
        jobs.say(f"launch: {error}")
        return 2
    except KeyboardInterrupt:
        jobs.say("launch: stopped from the keyboard")
        return _INTERRUPTED


def _do(given: argparse.Namespace, member: ModuleType) -> int:
    job, target = jobs.read(given.job, given.set), given.target
    asked = jobs.Asked(given.action, given.xpk)
    if asked.action != "start" and target != "tpu_vm":
        raise mistakes.Mistake(f"--action={asked.action} is of tpu_vm; {target} has commands of its own for it.")
    if asked.by_xpk and target != "gke":
        raise mistakes.Mistake("--xpk is of gke.")
    if asked.action == "start":
        _check_recipe(job)
    # What is missing is said before the plan, which takes minutes.
    shown = member.told(job, asked)
    plan = fits.command(job, target) if asked.action == "start" and not given.no_plan else None
    if given.dry_run:
        print((f"# does it fit?\n{jobs.shell(plan)}\n\n" if plan else "") + shown, end="")
        return 0
    missing = [name for name in job.secrets if name not in os.environ] if target in _TAKES_SECRETS_FROM_HERE else []
    if missing:
        raise mistakes.Mistake(f"starting {job.name}: wanted {', '.join(missing)} in the environment, found none.")
    if asked.action == "start" and not given.no_plan:
        fits.check(job, target)
    return member.start(job, asked)


def _check_recipe(job: jobs.Job) -> None:
    """Raises Mistake for a gin file that is neither here nor one of this code base, with the one that was meant. One
    that is named by its whole path may lie where the run will be."""
    folders = (pathlib.Path(), _ROOT, pathlib.Path(job.tpu_vm.code))
    for path in job.recipe:
        if pathlib.Path(path).is_absolute() or any((folder / path).is_file() for folder in folders):
            continue
        there = [str(file.relative_to(_ROOT)) for file in sorted((_ROOT / "gin_configs").rglob("*.gin"))]
        near = difflib.get_close_matches(path, there, n=1)
        raise mistakes.Mistake(
            f"starting {job.name}: wanted the gin file recipe = '{path}', found none here."
            + (f" Did you mean {near[0]}?" if near else " A recipe that lies elsewhere is named by its whole path.")
        )


_ROOT = pathlib.Path(__file__).parents[1]
_TAKES_SECRETS_FROM_HERE = ("local", "slurm", "skypilot")

if __name__ == "__main__":
    sys.exit(main())
