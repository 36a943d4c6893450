"""What is otherwise between two sets of scores, by task and metric."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from speechlm_jax import metrics

LESS_IS_BETTER = ("wer", "cer", "loss", "perplexity", "mel_cepstral_distortion", "commonest_code_share")
NEAR_ONE_IS_BEST = ("duration_ratio",)


def of(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What became of each metric of a task: `before`, `after` (None where it was not measured), `change`, the direction
    that is `worse` ("up", "down", or "" where neither is), and whether the two are `apart`: where the same examples
    were scored, whether the 95% interval of the change, `low` to `high`, leaves out 0, by a paired bootstrap; else
    whether their own intervals leave a gap (None without)."""
    told = {}
    for metric in _metrics({**after, **{name: value for name, value in before.items() if value is not None}}):
        old, new = before.get(metric), after.get(metric)
        low, high = _interval(before, after, metric)
        ends: list[Any] = [scores.get(f"{metric}_{end}") for scores in (before, after) for end in ("low", "high")]
        if low is not None and high is not None:
            apart = not low <= 0 <= high
        else:
            apart = None if None in ends else bool(ends[1] < ends[2] or ends[3] < ends[0])
        told[metric] = {
            "before": old,
            "after": new,
            "change": None if old is None or new is None else new - old,
            "low": low,
            "high": high,
            "worse": _worse(metric),
            "apart": apart,
        }
    return told


def table(change: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Changes by task and metric as lines for people."""
    lines = [f"{'task':<44}{'metric':<28}{'before':>10}{'after':>10}{'change':>10}  {'95% interval':<20}worse is"]
    for name, changed in change.items():
        for metric, told in changed.items():
            numbers = "".join(_cell(told[key], sign) for key, sign in (("before", ""), ("after", ""), ("change", "+")))
            interval = "" if told["low"] is None else f"{told['low']:+.4f} {told['high']:+.4f}"
            mark = "*" if told["apart"] else ""
            lines.append(f"{name:<44}{metric:<28}{numbers}  {interval:<20}{told['worse']:<8}{mark}".rstrip())
    return "\n".join([*lines, "* the 95% interval of the change leaves out 0; without one, those of both leave a gap"])


def _interval(before: Mapping[str, Any], after: Mapping[str, Any], metric: str) -> tuple[float | None, float | None]:
    one, other = (scores.get(f"{metric}{metrics.RESAMPLES}") for scores in (before, after))
    examples = before.get(metrics.EXAMPLES)
    if one is None or other is None or examples is None or examples != after.get(metrics.EXAMPLES):
        return None, None
    low, high = metrics.paired(one, other)
    return (None, None) if math.isnan(low) else (low, high)


def _metrics(scores: Mapping[str, Any]) -> list[str]:
    """The scores themselves, without counts and without what stands beside a score under its name: wer_words, wer_low.
    A name that goes on where another ends is a score of its own if it has an interval of its own."""
    numbers = [name for name, value in scores.items() if isinstance(value, int | float) and name not in metrics.COUNTS]
    return [
        name
        for name in numbers
        if f"{name}_low" in scores or not any(name.startswith(f"{other}_") for other in numbers)
    ]


def _worse(metric: str) -> str:
    """Whether a metric is worse when it goes up or down; neither of one that is best at 1."""

    def is_one_of(names: Sequence[str]) -> bool:
        return any(part == name or part.startswith(f"{name}_") for part in metric.split("/") for name in names)

    return "up" if is_one_of(LESS_IS_BETTER) else "" if is_one_of(NEAR_ONE_IS_BEST) else "down"


def _cell(value: float | None, sign: str) -> str:
    return f"{'-':>10}" if value is None else f"{value:>{sign}10.4f}"
