"""What a run has left in its folder, for a report."""

import collections
import contextlib
import json
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from speechlm_jax.inference import shown
from speechlm_jax.training import kept_recipe, kept_rows, ledger, metric_lines, standing

Series = tuple[list[int], list[float]]
"""Steps, and the number at each."""


class Checkpoint(NamedTuple):
    """A step that stands."""

    step: int
    bytes: int
    written: float
    """As time.time."""


class Life(NamedTuple):
    """From the start of a process to its last line."""

    began: float
    until: float
    step: int | None
    """That it stood at in the end."""


class Run(NamedTuple):
    """All of it."""

    folder: pathlib.Path
    standing: standing.Standing
    trained: dict[str, Series]
    """By the names of metrics.jsonl."""
    scored: dict[str, Series]
    lives: list[Life]
    spent: ledger.Report | None
    checkpoints: list[Checkpoint]
    recipe: str
    bad_records: dict[str, int]
    """How many of each reason."""
    rows: dict[str, np.ndarray]
    """Of some rows of a batch, lane by lane, the segments that stand in them."""
    shown: tuple[int, list[shown.Shown]]
    """The step of the last evaluation that looked into examples, and those."""
    damaged: list[str]
    """What could not be read of all this, a line each."""


def read(folder: str) -> Run:
    """Raises ValueError where there is no run."""
    path = pathlib.Path(folder)
    stands = standing.of(path, time.time())
    recipe = path / kept_recipe.FILE
    has_ledger = (path / ledger.FILE).exists()
    damaged: list[str] = []
    return Run(
        folder=path,
        standing=stands,
        trained=_series(metric_lines.read(path, "train")),
        scored=_series(metric_lines.read(path, "evaluation")),
        lives=_lives(path) if has_ledger else [],
        spent=ledger.read(path) if has_ledger else None,
        checkpoints=list(_checkpoints(path, stands.checkpoints)),
        recipe=recipe.read_text(encoding="utf-8", errors="replace") if recipe.exists() else "",
        bad_records=_reasons(path),
        rows=_kept(path / kept_rows.FILE, kept_rows.read, {}, damaged),
        shown=_kept(path / shown.FILE, shown.read, (0, []), damaged),
        damaged=damaged,
    )


def _kept(path: pathlib.Path, read: Callable[[pathlib.Path], Any], nothing: Any, damaged: list[str]) -> Any:
    """What a file has that only pages read; `nothing` where there is none, or it is damaged, which is told."""
    try:
        return read(path) if path.exists() else nothing
    except ValueError as error:
        damaged.append(str(error))
        return nothing


def _series(lines: Iterator[dict[str, Any]]) -> dict[str, Series]:
    found: dict[str, Series] = {}
    for line in lines:
        for name, value in line.items():
            if name not in ("step", "kind") and isinstance(value, int | float):
                steps, values = found.setdefault(name, ([], []))
                steps.append(line["step"])
                values.append(value)
    return found


def _lives(folder: pathlib.Path) -> list[Life]:
    lives: dict[float, Life] = {}
    for line in ledger.lines(folder):
        began, step = line["life"], line["step"]
        if step is None and began in lives:
            step = lives[began].step
        lives[began] = Life(began, line["to"], step)
    return [lives[began] for began in sorted(lives)]


def _checkpoints(run: pathlib.Path, steps: list[int]) -> Iterator[Checkpoint]:
    for step in steps:
        folder = run / "checkpoints" / str(step)
        # A run that goes on may remove one meanwhile.
        with contextlib.suppress(FileNotFoundError):
            size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
            yield Checkpoint(step, size, folder.stat().st_mtime)


def _reasons(folder: pathlib.Path) -> dict[str, int]:
    reasons: collections.Counter[str] = collections.Counter()
    for path in sorted(folder.glob("bad_records*.jsonl")):
        for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                reasons[str(json.loads(text).get("reason", "(none told)"))] += 1
            except (ValueError, AttributeError):
                continue
    return dict(reasons.most_common())
