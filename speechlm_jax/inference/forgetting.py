"""What a finetuning has cost and won: the scores of two checkpoints on the same examples, side by side."""

import dataclasses
import time
from typing import Any

from speechlm_jax import runtime
from speechlm_jax.inference import changes, loading, scoring


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
            scores[name] = evaluator.score(loaded.params, task, split, limit=examples.limit, resamples=True)
            runtime.say(f"{when}: {name}/{split}  {scoring.in_words(scores[name])}")
        scoring.check_scored(loaded.folder, scores)
        found[when] = scoring.described(loaded, examples, scores)
    found["change"] = {
        name: changes.of(own, found["after"]["scores"][name]) for name, own in found["before"]["scores"].items()
    }
    found["seconds"] = round(time.monotonic() - started, 1)
    print(changes.table(found["change"]))
    for when in ("before", "after"):
        for name, own in found[when]["scores"].items():
            if "not_scored" in own:
                print(f"{name:<44}not scored {when}: {own['not_scored']}")
    return found


def _alike(loaded: loading.Loaded, other: loading.Loaded) -> loading.Loaded:
    """A model that reads the rows of another's and is measured by its heads, as far as it has the parts for them."""
    own = loaded.data.row
    row = dataclasses.replace(other.data.row, subsampling=own.subsampling, reduction=own.reduction)
    if loaded.model.speech_out is None:
        row = dataclasses.replace(row, target_audio_seconds=0.0)
    data = dataclasses.replace(loaded.data, row=row, stream=other.data.stream)
    return loaded._replace(data=data, heads=other.heads)
