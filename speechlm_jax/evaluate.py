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
    parser.add_argument(
        "--manifest", help="take the tasks `manifest_...` from this manifest; all of it, if it has no field `split`"
    )
    parser.add_argument("--max_examples", type=int, help="score at most this many records of each task")
    parser.add_argument("--rows", type=int, help="rows computed at once (default: at most 8)")
    parser.add_argument("--json", help="write the scores here as JSON")


def run(
    *,
    checkpoint: str,
    task: list[str] | tuple[str, ...],
    split: str = "test",
    task_module: list[str] | tuple[str, ...] = (),
    manifest: str | None = None,
    max_examples: int | None = None,
    decode_steps: int | None = None,
    rows: int | None = None,
    json: str | None = None,
) -> dict[str, Any]:
    """Scores each task of `task` on a split with the weights of a checkpoint, and prints a line for each.

    decode_steps: tokens that the decoder may write, the end token too; None: as many as Row.targets. `cut_off` counts
    the examples that needed more.

    rows: rows of a batch, shared by the devices of this machine; None: those of training, but at most 8.

    Raises ValueError for a checkpoint, task or split that is not there.
    """
    from speechlm_jax import there

    there.check_checkpoint(checkpoint)
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
        rows=rows,
        json_path=json,
    )
