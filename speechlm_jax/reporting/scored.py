"""The page of a checkpoint that was scored: its scores with intervals, and examples that were looked into."""

from collections.abc import Mapping, Sequence
from typing import Any

from speechlm_jax.inference import shown
from speechlm_jax.reporting import examples, sheet


def write(found: Mapping[str, Any], looked: Sequence[shown.Shown]) -> str:
    """The page. found: as `inference.scoring.score` returns it."""
    nothing = "none: nothing was written or spoken that a metric reads, or none has such an id"
    tabs = {
        "Scores": "".join(_scores(name, scores) for name, scores in found["scores"].items()),
        "Examples": sheet.look_at(examples.of(looked), "examples") or sheet.note(nothing),
        "Recipe": sheet.text(found["recipe"]),
    }
    title = f"{found['checkpoint']} on {found['split']}"
    return sheet.write(title, {name: [column] for name, column in tabs.items()})


def _scores(task: str, scores: Mapping[str, Any]) -> str:
    """Every number of a task, with its interval where it has one."""
    numbers = {name: value for name, value in scores.items() if isinstance(value, int | float)}
    rows = [
        (
            name,
            sheet.number(value),
            sheet.interval(numbers[f"{name}_low"], numbers[f"{name}_high"])
            if f"{name}_low" in numbers and f"{name}_high" in numbers
            else "",
        )
        for name, value in numbers.items()
        if not name.endswith(("_low", "_high"))
    ]
    return sheet.table(task, ("score", "", "95% interval"), rows)
