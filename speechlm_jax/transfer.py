"""Whether pretraining transfers: recognition from a tenth of the labels, after pretraining and from scratch.

python -m speechlm_jax.transfer [--seeds N] [--pretraining_steps N] [--steps N]      (what `make transfer` runs)

Pretraining sees speech without its text and text without its speech, once. Then each seed is finetuned twice with one
recipe: from those weights, and from new ones.
"""

import argparse
import json
import math
import pathlib
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

from speechlm_jax import in_order, provenance, whole_files

FOLDER = pathlib.Path("runs/transfer")
PRETRAIN = "gin_configs/recipes/transfer.gin"
FINETUNE = "gin_configs/recipes/transfer_finetune.gin"
TASK = "embedded_recognition_tenth_en"
SPLIT = "test_sentences"
METRIC = "ctc/wer"
"""After minutes of training the CTC head hears better than the decoder writes."""
STARTS = {"scratch": ["--gin.Recipe.finetune=None"], "pretrained": []}
"""Where the weights come from -> what the finetuning is told of it."""
T_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""The 97.5% quantile of Student's t with 1, 2, ... degrees of freedom."""


def main() -> None:
    """Runs the verbs one after the other and writes runs/transfer/summary.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="finetunings of each kind (default: 3)")
    parser.add_argument("--pretraining_steps", type=int, help="default: the recipe's")
    parser.add_argument("--steps", type=int, help="of each finetuning (default: the recipe's)")
    choices = parser.parse_args()
    if not 1 <= choices.seeds <= len(T_975) + 1:
        parser.error(f"wanted 1 to {len(T_975) + 1} seeds, found --seeds={choices.seeds}")
    started = time.monotonic()
    seconds = in_order.run(_verbs(choices))
    summary = {
        "task": f"{TASK}/{SPLIT}",
        "metric": METRIC,
        **compared([{start: _scored(seed, start) for start in STARTS} for seed in range(choices.seeds)]),
        "seconds": {**seconds, "all": round(time.monotonic() - started, 1)},
        "versions": provenance.versions(),
        **provenance.machine(),
    }
    whole_files.write_json(FOLDER / "summary.json", summary)
    print(f"\n{table(summary)}\n\n{summary['seconds']['all']:.0f} seconds")


def _verbs(choices: argparse.Namespace) -> dict[str, list[str]]:
    """Name -> command line, in the order in which they are run."""
    verbs = {}
    if not (FOLDER / "vocabulary.model").exists():
        verbs["vocabulary"] = ["data", f"--gin_file={PRETRAIN}", "--train_vocabulary=1000", "--languages=en"]
    verbs["pretraining"] = ["train", f"--gin_file={PRETRAIN}", *_steps(choices.pretraining_steps)]
    for seed in range(choices.seeds):
        for start, told in STARTS.items():
            run = FOLDER / f"{start}-{seed}"
            verbs[f"{start}-{seed}"] = [
                *("train", f"--gin_file={FINETUNE}", f"--gin.Recipe.seed={seed}", f"--gin.Recipe.run_dir={run}"),
                *(*told, *_steps(choices.steps)),
            ]
            verbs[f"{start}-{seed} scores"] = [
                *("evaluate", f"--checkpoint={run}", f"--task={TASK}", f"--split={SPLIT}", f"--json={run}.json")
            ]
    return verbs


def _steps(steps: int | None) -> list[str]:
    return [] if steps is None else [f"--gin.Recipe.steps={steps}"]


def _scored(seed: int, start: str) -> dict[str, Any]:
    """The score of a finetuned run, with its interval over the test examples."""
    found = json.loads((FOLDER / f"{start}-{seed}.json").read_text(encoding="utf-8"))["scores"][TASK]
    return {
        "score": found[METRIC],
        "interval": [found[f"{METRIC}_low"], found[f"{METRIC}_high"]],
        "decoder_wer": found["wer"],
    }


def compared(seeds: Sequence[Mapping[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """What pretraining changes, of the `score` of each seed from scratch and pretrained: the mean difference, below 0
    where errors became fewer, and its 95% interval by Student's t over the seeds' own differences; None for one seed.
    """
    differences = [seed["pretrained"]["score"] - seed["scratch"]["score"] for seed in seeds]
    mean, interval = statistics.fmean(differences), None
    if len(seeds) > 1:
        quantile = T_975[len(seeds) - 2]
        half = quantile * statistics.stdev(differences) / math.sqrt(len(seeds))
        interval = [mean - half, mean + half]
    return {
        "seeds": [{**seed, "difference": difference} for seed, difference in zip(seeds, differences, strict=True)],
        "mean_difference": mean,
        "interval": interval,
    }


def table(summary: Mapping[str, Any]) -> str:
    """A line for each seed, and one for their mean, for people."""
    lines = [f"{summary['metric']} on {summary['task']}, with 95% intervals over its examples"]
    lines.append(f"{'seed':<6}{'from scratch':>24}{'pretrained':>24}{'difference':>12}")
    for number, seed in enumerate(summary["seeds"]):
        cells = "".join(f"{seed[start]['score']:>10.1%}{_between(seed[start]['interval']):>14}" for start in STARTS)
        lines.append(f"{number:<6}{cells}{seed['difference']:>+12.1%}")
    over = f"  {_between(summary['interval'])} over seeds" if summary["interval"] else ""
    return "\n".join([*lines, f"{'mean':<54}{summary['mean_difference']:>+12.1%}{over}"])


def _between(interval: Sequence[float]) -> str:
    low, high = interval
    return f"{100 * low:.1f} to {100 * high:.1f}"


if __name__ == "__main__":
    main()
