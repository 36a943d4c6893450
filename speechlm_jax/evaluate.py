"""Verb `evaluate`: a checkpoint and tasks in, scores out."""

import argparse
import dataclasses
from collections.abc import Sequence
from typing import Any

from speechlm_jax import runtime, whole_files
from speechlm_jax.inference import config

_SHOWN = 4
"""Examples of each task that a page has."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this verb."""
    parser.add_argument("--checkpoint", help="a run's folder, its checkpoints folder, or one step")
    parser.add_argument(
        "--before", help="a checkpoint from before a finetuning: both are scored on the same examples and compared"
    )
    parser.add_argument(
        "--task", action="append", help="a SeqIO task or mixture; may be given several times (with --before not needed)"
    )
    parser.add_argument("--split", help="split to score (default: test)")
    parser.add_argument("--task_module", action="append", help="a module that registers tasks, beside the checkpoint's")
    parser.add_argument(
        "--manifest", help="take the tasks `manifest_...` from this manifest; all of it, if it has no field `split`"
    )
    parser.add_argument("--recogniser", help="a checkpoint that writes down what the model speaks")
    parser.add_argument("--beam", type=int, help="follow so many hypotheses at once, as Search.beam")
    parser.add_argument("--max_examples", type=int, help="score at most this many records of each task")
    parser.add_argument("--rows", type=int, help="rows computed at once (default: at most 8)")
    parser.add_argument("--json", help="write the scores here as JSON")
    parser.add_argument("--html", help="write a page of scores and examples here: what was heard, said and looked at")
    parser.add_argument("--show", action="append", metavar="ID", help="an example for that page (default: some)")


def run(
    *,
    checkpoint: str = "",
    before: str | None = None,
    task: list[str] | tuple[str, ...] = (),
    split: str = "test",
    task_module: list[str] | tuple[str, ...] = (),
    manifest: str | None = None,
    max_examples: int | None = None,
    decode_steps: int | None = None,
    rows: int | None = None,
    recogniser: str | None = None,
    decoding: config.Search = config.GREEDY,
    beam: int | None = None,
    json: str | None = None,
    html: str | None = None,
    show: list[str] | tuple[str, ...] = (),
) -> dict[str, Any]:
    """Scores each task of `task` on a split with the weights of a checkpoint, and prints a line for each; with
    `before`, of both checkpoints, and prints a table of what has changed.

    before: the checkpoint that a finetuning began from, of the same vocabulary. Without `task`, the mixture that it
    learned from is scored: what of it was forgotten?

    decode_steps: tokens that the decoder may write, the end token too; None: as many as Row.targets. `cut_off` counts
    the examples that needed more.

    rows: rows of a batch, shared by the devices of this machine; None: those of training, but at most 8.

    decoding: how the decoder's text is looked for.

    recogniser: a run's folder or checkpoint. Of speech that the model makes of texts, `heard/wer` says how much of it
    this one mishears, and `heard_recordings/wer` how much of the true recordings.

    json: what was scored stands beside it until it is whole; the same command, without `before`, goes on behind that.

    html: a page with examples of each task, of which the model is asked where it looks: those whose ids `show` names,
    or the least likely one, the likeliest and others.

    Raises ValueError for a checkpoint, task or split that is not there.
    """
    # The task is only missing where no checkpoint of before says what it learned from.
    missing = [flag for flag, given in (("--checkpoint", checkpoint), ("--task", task or before)) if not given]
    if missing:
        raise ValueError(f"{', '.join(missing)} must be set, and nothing sets it.")
    from speechlm_jax import there

    for path in (checkpoint, before, recogniser):
        if path is not None:
            there.check_checkpoint(path)
    whole_files.check_file(json, "--json")
    whole_files.check_file(html, "--html")
    _check_page(html, before, show)
    runtime.hide_accelerators_from_tensorflow()
    from speechlm_jax.inference import forgetting, scoring

    examples = scoring.Examples(
        names=list(task),
        split=split,
        task_modules=list(task_module),
        manifest=manifest,
        limit=max_examples,
        decode_steps=decode_steps,
        rows=rows,
        recogniser=recogniser,
        decoding=decoding if beam is None else dataclasses.replace(decoding, beam=beam),
        shown=0 if html is None else max(len(show), _SHOWN),
        shown_ids=show,
    )
    if before is None:
        found = scoring.score(checkpoint, examples, out=json)
        if html is not None:
            _write_page(html, found, show)
        return found
    found = forgetting.compare(checkpoint, before, examples)
    if json is not None:
        whole_files.write_json(json, found)
    return found


def _check_page(html: str | None, before: str | None, show: Sequence[str]) -> None:
    """Raises ValueError where flags ask for a page that there is not."""
    if html is not None and before is not None:
        raise ValueError("scoring: --html shows one checkpoint, and --before names another. Leave one of them out.")
    if show and html is None:
        raise ValueError(
            "scoring: --show names examples of a page, found no --html. Name its file, or leave --show out."
        )


def _write_page(path: str, found: dict[str, Any], asked: Sequence[str]) -> None:
    """Of what was scored; takes out of it what is for the page alone. asked: the ids that are to be on it."""
    from speechlm_jax.reporting import scored, sheet

    shown = found.pop("shown")
    if missing := sorted({*asked} - {one.id for one in shown}):
        runtime.say(f"--show: no example that was scored is called {', '.join(map(repr, missing))}")
    sheet.keep(path, scored.write(found, shown))
    runtime.say(f"wrote {path}")
