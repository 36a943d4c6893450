"""Verb `experiment`: a recipe in, and out comes what it is worth: trained, scored, and set beside simple guesses."""

import argparse
import os
import pathlib
import time
from collections.abc import Mapping
from typing import Any

from speechlm_jax import runtime, whole_files
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
    Recipe.run_dir/summary.json: each task's score with its interval, and what simple methods score on the same.

    pieces: of the vocabulary; 0: it must be there. languages: codes that get a token in it; (): the usual ones.

    recogniser: a run's folder or checkpoint; what the model speaks is also judged by what this one hears.

    config_text: as in `train`. Raises ValueError for what cannot be read or scored.
    """
    from speechlm_jax import there, train

    there.check_data(recipe.data, with_vocabulary=not pieces)
    started = time.monotonic()
    cpu = time.process_time()
    runtime.hide_accelerators_from_tensorflow()
    if pieces and not os.path.exists(recipe.data.vocabulary):
        from speechlm_jax.data import report

        report.train_vocabulary(recipe.data, pieces, fields=None, languages=languages)
    train.run(recipe=recipe, config_text=config_text)
    from speechlm_jax.inference import scoring

    trained = time.monotonic() - started
    names = [recipe.data.stream.mixture]
    examples = scoring.Examples(names=names, split=split, limit=max_examples, recogniser=recogniser)
    found = scoring.score(recipe.run_dir, examples, beside_guesses=True)
    summary = {
        "checkpoint": found["checkpoint"],
        "step": found["step"],
        "split": split,
        "tasks": {name: _judged(name, scores) for name, scores in found["scores"].items()},
        "seconds": round(time.monotonic() - started, 1),
        "training_seconds": round(trained, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
    }
    whole_files.write_json(pathlib.Path(recipe.run_dir) / "summary.json", summary)
    print(table(summary["tasks"]))
    return summary


def _judged(name: str, scores: Mapping[str, Any]) -> dict[str, Any]:
    """A task's headline: its metric, the interval, and what simple methods score."""
    # No spaces part Chinese words.
    headlines = ("heard/cer", "ctc/cer", "cer", *HEADLINES) if name.endswith("_zh") else HEADLINES
    numbers = {key: value for key, value in scores.items() if isinstance(value, int | float)}
    metric = next((headline for headline in headlines if headline in numbers), next(iter(numbers)))
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
        low, high = own["interval"]
        numbers = {
            "score": f"{own['score']:.3f}",
            "95% interval": "" if low is None or high is None else f"{low:.3f} to {high:.3f}",
            **{method: "" if value is None else f"{value:.3f}" for method, value in own["baselines"].items()},
            "examples": own["examples"] or "",
        }
        lines.append(f"{name:<44}{own['metric']:<28}" + "".join(f"{numbers[head]:>{width}}" for head, width in heads))
    return "\n".join(lines)
