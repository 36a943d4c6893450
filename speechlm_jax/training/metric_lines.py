"""The lines that a run tells in metrics.jsonl: each has its step, its kind, and numbers by name."""

import json
import os
import pathlib
import sys
from collections.abc import Iterator
from typing import Any

from speechlm_jax import whole_files

FILE = "metrics.jsonl"
AGAIN = "evaluation_again"
"""The kind of the line before an evaluation that was cut off and is begun again. It is so once: one that always fails,
or outlasts every life of a run, must not keep it from its steps."""


def read(folder: str | os.PathLike[str], *kinds: str) -> Iterator[dict[str, Any]]:
    """Those of a run's metrics.jsonl that are of these kinds; none where it has no such file yet."""
    path = pathlib.Path(folder) / FILE
    texts = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    found = (json.loads(text) for text in texts if _is_kept(text, sys.maxsize))
    return (line for line in found if line.get("kind") in kinds)


def cut(path: pathlib.Path, last_step: int) -> None:
    """Drops lines of metrics.jsonl that tell of a step after `last_step`, or that a crash left unfinished. The file is
    replaced at once, so a reader sees the old one or the new one."""
    if not path.exists():
        return
    kept = [line for line in path.read_text(encoding="utf-8").splitlines() if _is_kept(line, last_step)]
    whole_files.write_text(path, "".join(f"{line}\n" for line in kept))


def scores(folder: str | os.PathLike[str], name: str) -> dict[int, float]:
    """Step -> a score of the evaluations that a run's metrics.jsonl tells of, such as 'my_task/wer'."""
    lines = read(folder, "evaluation")
    return {line["step"]: line[name] for line in lines if line.get(name) is not None}


def is_scored(folder: str | os.PathLike[str], step: int) -> bool:
    """Whether a run's metrics.jsonl tells of an evaluation at a step, or that one was begun again there."""
    return any(line["step"] == step for line in read(folder, "evaluation", AGAIN))


def _is_kept(line: str, last_step: int) -> bool:
    try:
        return json.loads(line)["step"] <= last_step
    except (ValueError, KeyError, TypeError):
        return False
