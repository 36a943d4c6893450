"""Verb `experiment`: a recipe in, and out comes what it is worth: trained, scored, and set beside simple guesses."""

import argparse
import os
import pathlib
import time
from collections.abc import Mapping
from typing import Any

from speechlm_jax import metrics, provenance, runtime, whole_files
from speechlm_jax.training import config

HEADLINES = (
    *("heard/wer", "ctc/wer", "bleu", "exact_match", "accuracy", "wer"),
    *("mel_cepstral_distortion", "hits/masked_tokens", "hits/masked_speech", "hits/targets"),
)
"""What a task is judged by: the first of these that it has, else its first score."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this verb."""
    parser.add_argument("--split", help="split to score (default: test)")
    parser.add_argument("--max_examples", type=int, help="score at most this many records of each task")
    parser.add_argument("--recogniser", help="a checkpoint that writes down what the model speaks")


def run(
    *,
    recipe: config.Recipe,
    split: str = "test",
    max_examples: int | None = None,
    pieces: int = 0,
    languages: tuple[str, ...] = (),
    recogniser: str | None = None,
    config_text: str = "",
) -> dict[str, Any]:
    """Trains the vocabulary where there is none, then the recipe, scores every task of its mixture, and writes
    Recipe.run_dir/summary.json: each task's score with its interval, and what simple methods score on the same records.
    Its seconds are this process's alone: of a run that goes on (`resumed`) they leave out what came before.

    pieces: of the vocabulary; 0: it must be there, as it must for a finetuning. languages: codes that get a token in
    it; (): the usual ones.

    recogniser: a run's folder or checkpoint; what the model speaks is also judged by what this one hears.

    config_text: as in `train`. Raises ValueError for what cannot be read or scored.
    """
    from speechlm_jax import there, train

    # A vocabulary belongs to what was pretrained with it.
    if recipe.finetune is not None:
        there.check_checkpoint(recipe.finetune.checkpoint)
        pieces = 0
    if recogniser is not None:
        there.check_checkpoint(recogniser)
    there.check_run_dir(recipe.run_dir)
    there.check_data(recipe.data, with_vocabulary=not pieces)
    started, cpu = time.monotonic(), time.process_time()
    resumed = there.has_checkpoints(recipe.run_dir)
    runtime.hide_accelerators_from_tensorflow()
    from speechlm_jax.data import features, registration
    from speechlm_jax.inference import scoring

    names = [recipe.data.stream.mixture]
    examples = scoring.Examples(names=names, split=split, limit=max_examples, recogniser=recogniser)
    # Told before all the training.
    registration.register(recipe.data, bind_vocabulary=False)
    scoring.subtasks(names, examples)
    if recipe.evaluation is not None:
        from speechlm_jax.training import validation

        validation.chosen(recipe)
    if pieces and not os.path.exists(recipe.data.vocabulary):
        from speechlm_jax.data import report

        report.train_vocabulary(recipe.data, pieces, fields=None, languages=languages)
    elif pieces and not resumed:
        runtime.say(
            f"the vocabulary {recipe.data.vocabulary} is there and is taken as it is. Where it was made of other "
            "texts, set Data.vocabulary to a file that is not there yet."
        )
    features.bind(recipe.data.vocabulary)
    training = time.monotonic()
    train.run(recipe=recipe, config_text=config_text)
    trained = time.monotonic() - training
    # As this recipe has the tasks: a run that is done may be scored on another split's manifest than it was begun with.
    found = scoring.score(recipe.run_dir, examples, registered=True, beside_guesses=True)
    summary = {
        "checkpoint": found["checkpoint"],
        "step": found["step"],
        "split": split,
        "resumed": resumed,
        "tasks": {name: _judged(scores) for name, scores in found["scores"].items()},
        "seconds": round(time.monotonic() - started, 1),
        "training_seconds": round(trained, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "versions": provenance.versions(),
        **provenance.machine(),
    }
    whole_files.write_json(pathlib.Path(recipe.run_dir) / "summary.json", summary)
    print(table(summary["tasks"]))
    return summary


def _judged(scores: Mapping[str, Any]) -> dict[str, Any]:
    """A task's headline: its metric, the interval, and what simple methods score; or why it is not scored."""
    if "not_scored" in scores:
        return {"not_scored": scores["not_scored"]}
    numbers = {key: value for key, value in scores.items() if isinstance(value, int | float)}
    judging = [key for key in numbers if key not in metrics.COUNTS]
    if not judging:
        return {"not_scored": "no loss head of the run and no metric of the task has anything to say of it"}
    # No spaces part the words of such texts.
    east_asian = any(metrics.is_east_asian(sample["target"]) for sample in scores.get("samples", ()))
    headlines = ("heard/cer", "ctc/cer", "cer", *HEADLINES) if east_asian else HEADLINES
    metric = next((headline for headline in headlines if headline in numbers), judging[0])
    guesses = {method: own.get(metric.removeprefix("ctc/")) for method, own in scores["guesses"].items()}
    known = [value for value in guesses.values() if value is not None]
    return {
        "metric": metric,
        "score": numbers[metric],
        "interval": [numbers.get(f"{metric}_low"), numbers.get(f"{metric}_high")],
        # Simple methods are asked for accuracy and such, of which more is better; an error rate has the constant alone.
        "baseline": max(known) if known else None,
        "baselines": guesses,
        "examples": numbers.get("examples"),
        "scores": numbers,
    }


def table(tasks: Mapping[str, Mapping[str, Any]]) -> str:
    """Each task's score with its interval, and what simple methods score, as lines for people."""
    heads = (("score", 8), ("95% interval", 18), ("constant", 10), ("shallow", 9), ("examples", 10))
    lines = [f"{'task':<44}{'metric':<28}" + "".join(f"{name:>{width}}" for name, width in heads)]
    for name, own in tasks.items():
        if "not_scored" in own:
            lines.append(f"{name:<44}not scored: {own['not_scored']}")
            continue
        low, high = own["interval"]
        numbers = {
            "95% interval": "" if low is None or high is None else f"{low:.3f} to {high:.3f}",
            **{
                name: "" if value is None else f"{value:.3f}"
                for name, value in {"score": own["score"], **own["baselines"]}.items()
            },
            "examples": own["examples"] or "",
        }
        lines.append(f"{name:<44}{own['metric']:<28}" + "".join(f"{numbers[head]:>{width}}" for head, width in heads))
    return "\n".join(lines)
