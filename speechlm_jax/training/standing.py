"""Where a run stands, from the files in its folder: it may be going on elsewhere, or be over."""

import contextlib
import itertools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from etils import epath

from speechlm_jax import checkpoint_steps
from speechlm_jax.training import config, kept_recipe, ledger, metric_lines

QUIET_SECONDS = 120.0
"""For so long a run that goes on may write nothing, while there are steps."""
_OF_STEPS = ("", "step", "data_wait")
"""Phases in which there are; others may be as long as the watchdog lets them."""
State = Literal["begins", "goes on", "is silent", "stopped", "is done"]


class Standing(NamedTuple):
    """What is told of a run."""

    run: str
    state: State
    phase: str
    """That it was in when it last told of its time, such as compile or evaluation; empty where that is not known."""
    silent_seconds: float
    """Since a file of it was written."""
    step: int
    steps: int | None
    """That it is to do; None where its recipe does not say."""
    losses: dict[str, float]
    """The loss, and that of each head, of its last line."""
    rates: dict[str, float]
    """Of its last line: steps_per_second, audio_seconds_per_second, tokens_per_second, data_wait_share,
    model_flops_per_second, mfu."""
    eta_seconds: float | None
    """Until its last step, at the last line's pace; None where that is not known."""
    skipped_steps: int
    bad_records: int
    rollbacks: int
    checkpoints: list[int]
    checkpoint_seconds: float | None
    """Since the last one was written."""
    evaluations: dict[str, Any]
    """The numbers of the last one, and its `step`; nothing where there is none."""
    lives: int
    goodput: float


_RATES = (
    "steps_per_second",
    "audio_seconds_per_second",
    "tokens_per_second",
    "data_wait_share",
    "model_flops_per_second",
    "mfu",
)


def of(folder: pathlib.Path, now: float) -> Standing:
    """Where a run stands at a time (of time.time). Raises ValueError where there is no run."""
    if not (folder / ledger.FILE).exists() and not (folder / kept_recipe.FILE).exists():
        raise ValueError(
            f"asking how {folder} stands: it has neither a {ledger.FILE} nor a {kept_recipe.FILE}. Name a run's folder."
        )
    told = list(metric_lines.read(folder, "train", "evaluation", "rollback"))
    trained, scored = ([line for line in told if line["kind"] == kind] for kind in ("train", "evaluation"))
    book = ledger.read(folder) if (folder / ledger.FILE).exists() else None
    last = trained[-1] if trained else {}
    step = max(int(last.get("step", 0)), book.step if book else 0)
    phase = book.phase if book else ""
    recipe = _recipe(folder)
    steps = _steps(recipe)
    rates = {name: last[name] for name in _RATES if last.get(name) is not None}
    pace = rates.get("steps_per_second", 0.0)
    files = (kept_recipe.FILE, ledger.FILE, metric_lines.FILE)
    written = [folder / name for name in files if (folder / name).exists()]
    silent = now - max((path.stat().st_mtime for path in written), default=now)
    saved = _checkpoints(folder / "checkpoints")
    return Standing(
        run=str(folder),
        state=_state(folder, step, recipe, silent, phase),
        phase=phase,
        silent_seconds=silent,
        step=step,
        steps=steps,
        losses={name: value for name, value in last.items() if _is_of_a_head(name) and value is not None},
        rates=rates,
        eta_seconds=(steps - step) / pace if pace and steps is not None and step < steps else None,
        skipped_steps=sum(int(line.get("skipped_steps") or 0) for line in trained),
        bad_records=_over_lives([int(line.get("bad_records") or 0) for line in trained]),
        rollbacks=sum(line["kind"] == "rollback" for line in told),
        checkpoints=sorted(saved),
        checkpoint_seconds=now - saved[max(saved)] if saved else None,
        evaluations={name: value for name, value in scored[-1].items() if name != "kind"} if scored else {},
        lives=book.lives if book else 1,
        goodput=book.goodput if book else 0.0,
    )


def _over_lives(counts: Sequence[int]) -> int:
    """What was counted at least, by counts that begin anew with every life."""
    ends = [one for one, then in itertools.pairwise(counts) if then < one]
    return sum(ends) + sum(counts[-1:])


def _is_of_a_head(name: str) -> bool:
    return name == "loss" or (name.startswith("loss/") and name.count("/") == 1)


def _recipe(folder: pathlib.Path) -> dict[str, str]:
    """The bindings of the recipe that trains, or trained last."""
    path = folder / kept_recipe.FILE
    return kept_recipe.bindings(path.read_text(encoding="utf-8", errors="replace") if path.exists() else "")


def _steps(recipe: Mapping[str, str]) -> int | None:
    steps = recipe.get("Recipe.steps", "")
    return int(steps) if steps.isdigit() else None


def _has_scores(folder: pathlib.Path, recipe: Mapping[str, str], steps: int) -> bool:
    """Whether all is told of the evaluation behind the last step, if one is asked for."""
    return recipe.get("Recipe.evaluation", "None") == "None" or metric_lines.is_scored(folder, steps)


def _checkpoints(folder: pathlib.Path) -> dict[int, float]:
    """When each step that stands there was written; a run that goes on may remove one meanwhile."""
    found = {}
    for step in checkpoint_steps.numbers(epath.Path(folder)):
        with contextlib.suppress(FileNotFoundError):
            if not checkpoint_steps.missing(epath.Path(folder / str(step))):
                found[step] = (folder / str(step)).stat().st_mtime
    return found


def _state(folder: pathlib.Path, step: int, recipe: Mapping[str, str], silent: float, phase: str) -> State:
    is_over, steps = ledger.has_ended(folder), _steps(recipe)
    if steps is not None and step >= steps and is_over and _has_scores(folder, recipe, steps):
        return "is done"
    if is_over:
        return "stopped"
    longest = float(recipe.get("Watchdog.other_seconds", config.Watchdog.other_seconds))
    if silent > (QUIET_SECONDS if phase in _OF_STEPS else longest):
        return "is silent"
    return "goes on" if step else "begins"
