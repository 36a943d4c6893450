"""Verb `evaluate`: a checkpoint and tasks in, scores out."""

import argparse
from typing import Any

from speechlm_jax import runtime


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this verb."""
    parser.add_argument("--checkpoint", help="a run's folder, its checkpoints folder, or one step")
    parser.add_argument("--task", action="append", help="a SeqIO task or mixture; may be given several times")
    parser.add_argument("--split", help="split to score (default: test)")
    parser.add_argument("--task_module", action="append", help="a module that registers tasks, beside the checkpoint's")
    parser.add_argument("--manifest", help="take the tasks `manifest_...` from this manifest")
    parser.add_argument("--max_examples", type=int, help="score at most this many records of each task")
    parser.add_argument("--json", help="write the scores here as JSON")


def run(
    *,
    checkpoint: str,
    task: list[str] | tuple[str, ...],
    split: str = "test",
    task_module: list[str] | tuple[str, ...] = (),
    manifest: str | None = None,
    max_examples: int | None = None,
    decode_steps: int = 96,
    json: str | None = None,
) -> dict[str, Any]:
    """Scores each task of `task` on a split with the weights of a checkpoint, and prints a line for each.

    Raises ValueError for a checkpoint, task or split that is not there.
    """
    runtime.hide_accelerators_from_tensorflow()
    from speechlm_jax.inference import scoring

    return scoring.score(
        checkpoint,
        names=list(task),
        split=split,
        task_modules=list(task_module),
        manifest=manifest,
        limit=max_examples,
        decode_steps=decode_steps,
        json_path=json,
    )
