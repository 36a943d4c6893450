"""What a finetuning has cost and won: the scores of two checkpoints on the same examples, side by side."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any

from speechlm_jax import metrics, runtime
from speechlm_jax.inference import loading, scoring

LESS_IS_BETTER = ("wer", "cer", "loss", "perplexity", "mel_cepstral_distortion", "commonest_code_share")
NEAR_ONE_IS_BEST = ("duration_ratio",)


def compare(checkpoint: str, before: str, examples: scoring.Examples) -> dict[str, Any]:
    """Scores by task of `before` and of `checkpoint`, and their changes; prints the table. See `evaluate.run`.

    Both read the rows of `before` and are measured by its loss heads. Without names, the mixture that it learned from
    is scored. Raises ValueError where the two do not share a vocabulary.
    """
    started, split = time.monotonic(), examples.split
    first, second = (loading.load(path, rows=examples.rows) for path in (before, checkpoint))
    if first.vocabulary.hash != second.vocabulary.hash:
        raise ValueError(
            f"comparing {second.folder} with {first.folder}: wanted two checkpoints of one vocabulary, found "
            f"{second.vocabulary.hash} and {first.vocabulary.hash}, so that their tokens mean different things. Name "
            "the checkpoint that the finetuning began from in --before."
        )
    # Of two manifests that of `before` stands, whose tasks are in question; of one, that one.
    for loaded in (second, first) if first.data.manifest is not None else (first, second):
        scoring.register(loaded, examples)
    tasks = scoring.subtasks(examples.names or [first.data.stream.mixture], examples)
    listener = scoring.listener_of(examples)
    found: dict[str, Any] = {}
    for when, loaded in (("before", first), ("after", _alike(second, first))):
        evaluator, scores = scoring.evaluator_of(loaded, examples, listener), {}
        for name, task in tasks.items():
            # A model without a lane has no room for the tasks that fill it: those it does not score.
            scores[name] = evaluator.score(loaded.params, task, split, limit=examples.limit)
            runtime.say(f"{when}: {name}/{split}  {scoring.in_words(scores[name])}")
        scoring.check_scored(loaded.folder, scores)
        found[when] = scoring.described(loaded, examples, scores)
    found["change"] = {
        name: changes(own, found["after"]["scores"][name]) for name, own in found["before"]["scores"].items()
    }
    found["seconds"] = round(time.monotonic() - started, 1)
    print(table(found["change"]))
    for when in ("before", "after"):
        for name, own in found[when]["scores"].items():
            if "not_scored" in own:
                print(f"{name:<44}not scored {when}: {own['not_scored']}")
    return found


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What became of each metric of a task: `before`, `after` (None where it was not measured), `change`, the direction
    that is `worse` ("up", "down", or "" where neither is), and whether the 95% intervals lie `apart` (None without)."""
    told = {}
    for metric in _metrics({**before, **after}):
        old, new = before.get(metric), after.get(metric)
        ends: list[Any] = [scores.get(f"{metric}_{end}") for scores in (before, after) for end in ("low", "high")]
        told[metric] = {
            "before": old,
            "after": new,
            "change": None if old is None or new is None else new - old,
            "worse": _worse(metric),
            "apart": None if None in ends else bool(ends[1] < ends[2] or ends[3] < ends[0]),
        }
    return told


def table(change: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Changes by task and metric as lines for people."""
    lines = [f"{'task':<44}{'metric':<28}{'before':>10}{'after':>10}{'change':>10}  worse is"]
    for name, changed in change.items():
        for metric, told in changed.items():
            numbers = "".join(_cell(told[key], sign) for key, sign in (("before", ""), ("after", ""), ("change", "+")))
            lines.append(f"{name:<44}{metric:<28}{numbers}  {told['worse']:<8}{'*' if told['apart'] else ''}".rstrip())
    return "\n".join([*lines, "* the 95% intervals do not overlap"])


def _alike(loaded: loading.Loaded, other: loading.Loaded) -> loading.Loaded:
    """A model that reads the rows of another's and is measured by its heads, as far as it has the parts for them."""
    own = loaded.data.row
    row = dataclasses.replace(other.data.row, subsampling=own.subsampling, reduction=own.reduction)
    if loaded.model.speech_out is None:
        row = dataclasses.replace(row, target_audio_seconds=0.0)
    data = dataclasses.replace(loaded.data, row=row, stream=other.data.stream)
    return loaded._replace(data=data, heads=other.heads)


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
