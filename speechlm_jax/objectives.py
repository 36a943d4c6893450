"""Every objective at once on one machine: pretrain on the mixture of all of them, and score each beside a guess; then
finetune for one use, and score again.

python -m speechlm_jax.objectives [--use USE] [--steps N]            (what `make objectives` runs)
"""

import argparse
import collections
import json
import pathlib
import sys
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from speechlm_jax import cli, intelligibility, runtime


class Run(NamedTuple):
    """What is trained, and what it is scored on."""

    name: str
    """Of the recipe and of the run's folder."""
    mixture: str
    max_examples: int
    """Records of each task that are scored."""


PRETRAINING = Run("objectives", "embedded_objectives_en_zh", 100)
USES = {
    "translation": Run("objectives_translation", "embedded_translations_en_zh", 300),
    "understanding": Run("objectives_understanding", "embedded_understanding_en_zh", 300),
    "speaking": Run("objectives_speaking", "embedded_speaking_en_zh", 50),
}
"""Each goes on from the weights of the pretraining."""
VOCABULARY = pathlib.Path("runs/objectives/vocabulary.model")
SPLIT = "test_sentences"
GUESSES = 500
"""Training examples that the constant guess is taken from."""
HEADLINES = ("ctc/wer", "bleu", "exact_match", "accuracy", "mel_cepstral_distortion", "wer")
"""What a task is judged by: the first of these that it has, else the share of single guesses that are right."""


def main() -> int:
    """Runs the verbs one after the other and writes the run's summary.json; the exit code of the first that fails,
    else 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--use", choices=list(USES), help="finetune for this use what was pretrained before")
    parser.add_argument("--steps", type=int, help="training steps (default: the recipe's)")
    choices = parser.parse_args()
    started = time.monotonic()
    run = USES[choices.use] if choices.use else PRETRAINING
    recipe, folder = f"gin_configs/recipes/{run.name}.gin", pathlib.Path("runs") / run.name
    folder.mkdir(parents=True, exist_ok=True)
    scores = folder / "scores.json"
    verbs = [
        ["train", f"--gin_file={recipe}", *([f"--gin.Recipe.steps={choices.steps}"] if choices.steps else [])],
        [
            *("evaluate", f"--checkpoint={folder}", f"--task={run.mixture}", f"--split={SPLIT}"),
            *(f"--max_examples={run.max_examples}", f"--json={scores}"),
        ],
    ]
    if not VOCABULARY.exists():
        verbs = [["data", f"--gin_file={recipe}", "--train_vocabulary=1200"], *verbs]
    for words in verbs:
        runtime.say(f"\n$ speechlm {' '.join(words)}")
        if code := cli.main(words):
            return code
    found = json.loads(scores.read_text(encoding="utf-8"))["scores"]
    tasks = {name: _judged(name, own, run.max_examples) for name, own in found.items()}
    summary = {"seconds": round(time.monotonic() - started, 1), "checkpoint": str(folder), "tasks": tasks}
    if choices.use == "speaking":
        for language in ("en", "zh"):
            summary[f"intelligibility_{language}"] = intelligibility.compare(
                str(folder),
                str(folder),
                recipe=recipe,
                task=f"embedded_recognition_{language}",
                split=SPLIT,
                folder=folder / f"speech_{language}",
                examples=run.max_examples,
            )
    (folder / "summary.json").write_text(json.dumps(summary, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print(f"\n{'task':<44}{'metric':<26}{'score':>9}{'guess':>9}{'examples':>10}")
    for name, own in tasks.items():
        numbers = "".join(f"{own[key]:>9.3f}" if own[key] is not None else f"{'':>9}" for key in ("score", "baseline"))
        print(f"{name:<44}{own['metric']:<26}{numbers}{own['examples'] or '':>10}")
    return 0


def _judged(name: str, own: Mapping[str, Any], examples: int) -> dict[str, Any]:
    """A task's headline: its metric, the interval, and what the same guess for every example would have scored."""
    guesses = _constant_guess(name, examples)
    headlines = ("ctc/cer", *HEADLINES) if name.endswith("_zh") else HEADLINES  # Chinese has no spaces between words.
    metric = next((headline for headline in headlines if headline in own), "")
    if not metric:
        metric = next((key for key in own if key.startswith("hits/")), next(iter(own)))
    plain = metric.removeprefix("ctc/")
    return {
        "metric": metric,
        "score": own[metric],
        "interval": [own.get(f"{metric}_low"), own.get(f"{metric}_high")],
        "baseline": guesses.get(plain, guesses.get(metric)),
        "examples": own.get("examples"),
        "scores": {key: value for key, value in own.items() if isinstance(value, int | float)},
    }


def _constant_guess(name: str, examples: int) -> dict[str, Any]:
    """The metrics of a task whose every answer is the commonest one of training; of masked tokens, whose every guess
    is the commonest token that was masked."""
    import seqio

    from speechlm_jax.data import config, one_pass, quarantine

    task = seqio.TaskRegistry.get(name)
    bad = quarantine.Quarantine(config.BadRecords(max_share=1.0))
    train, held_out = (
        list(one_pass.examples(task, split, quarantine=bad, limit=limit))
        for split, limit in (("train", GUESSES), (SPLIT, examples))
    )
    masked = [
        [int(token) for token, weight in zip(one["masked_tokens"], one["masked_weights"], strict=True) if weight]
        for one in train
    ]
    if any(masked):
        (token, _), *_ = collections.Counter(token for tokens in masked for token in tokens).most_common(1)
        wanted = [t for one in held_out for t, w in zip(one["masked_tokens"], one["masked_weights"], strict=True) if w]
        return {"hits/masked_tokens": sum(int(one) == token for one in wanted) / max(len(wanted), 1)}
    if not train or "targets_pretokenized" not in train[0] or len(train[0]["target_audio"]):
        return {}
    texts = [[example["targets_pretokenized"].decode() for example in examples] for examples in (train, held_out)]
    (guess, _), *_ = collections.Counter(texts[0]).most_common(1)
    found: dict[str, Any] = {}
    for function in task.predict_metric_fns:
        found |= function(targets=texts[1], predictions=[guess] * len(texts[1]))
    return found


if __name__ == "__main__":
    sys.exit(main())
