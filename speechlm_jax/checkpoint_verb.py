"""Verb `checkpoint`: what a run has saved: told, verified, compared, removed, without accelerator or recipe."""

import argparse
import os
from typing import Any

from speechlm_jax import whole_files

ACTIONS = ("inspect", "verify", "diff", "prune")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this verb."""
    parser.add_argument("action", choices=ACTIONS, help="what to do")
    parser.add_argument("path", help="a run's folder, its checkpoints folder, or one step (prune: not one step)")
    parser.add_argument("other", nargs="?", help="diff: what to compare with, likewise")
    parser.add_argument("--values", action="store_true", help="diff: compare the numbers, too")
    parser.add_argument("--keep", type=int, help="prune: so many of the newest good steps stay, 2 or more (default: 3)")
    parser.add_argument("--remove", action="store_true", help="prune: remove, instead of only telling what would go")
    parser.add_argument("--json", help="write what was found here as JSON")


def run(
    *,
    action: str,
    path: str,
    other: str | None = None,
    values: bool = False,
    keep: int = 3,
    remove: bool = False,
    json: str | None = None,
) -> dict[str, Any]:
    """Tells of checkpoints. inspect: the steps that are there, and of the newest good one, or the one that is named,
    each array's name, shape and words, the model, versions, mesh and vocabulary. verify: each step's content against
    its checksums. diff: the arrays, recipe lines, vocabulary and versions in which two differ. prune: what is left of
    saves that failed, steps that are not as they were written, and all but the newest good ones.

    Raises ValueError where there is no checkpoint, where verify finds a step that is not as it was written, and where a
    run that goes on holds the folder that is to be pruned.
    """
    from speechlm_jax import there

    for given in (path, other):
        if given is not None:
            there.check_checkpoint(given)
    if (action == "diff") != (other is not None):
        found = "none" if other is None else other
        raise ValueError(
            f"{action} of {path}: `diff` takes two checkpoints and the others one, found another: {found}."
        )
    if keep < 2:
        raise ValueError(f"pruning {path}: wanted --keep of 2 or more, so that one may be damaged, found {keep}.")
    whole_files.check_file(json, "--json")
    # It reads files: a TPU or GPU is left to who trains on it.
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    from speechlm_jax import checkpoint_report

    if action == "inspect":
        told = checkpoint_report.inspect(path)
    elif action == "verify":
        told = checkpoint_report.verify(path)
    elif action == "diff":
        assert other is not None
        told = checkpoint_report.diff(path, other, values=values)
    else:
        told = checkpoint_report.prune(path, keep=keep, remove=remove)
    print("\n".join(told.pop("lines")))
    if json is not None:
        whole_files.write_json(json, told)
    if action == "verify" and told["broken"]:
        raise ValueError(
            f"verifying {path}: {len(told['broken'])} of {len(told['steps'])} steps are not as they were written. A "
            "run that goes on sets them aside; `speechlm checkpoint prune --remove` removes them."
        )
    return told
