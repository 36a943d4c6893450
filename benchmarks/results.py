"""What the recipes reach: summaries of runs, kept beside the code, and docs/results.md, which is written from them.

    python benchmarks/results.py [RUN_FOLDER ...]

Keeps the summary.json of each folder, which `speechlm experiment`, `make objectives` and `make transfer` leave there,
as benchmarks/results/recipes/NAME.json, and writes docs/results.md anew from all that are kept.
"""

import argparse
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from speechlm_jax import experiment, transfer, whole_files

ROOT = pathlib.Path(__file__).parents[1]
KEPT = ROOT / "benchmarks" / "results" / "recipes"
PAGE = ROOT / "docs" / "results.md"

ALSO = (
    *("near/accuracy", "auc", "f1", "macro_f1", "unweighted_average_recall", "chrf", "wer", "cer", "ctc/cer"),
    *("duration_ratio", "heard_recordings/wer", "heard_recordings/cer", "perplexity/masked_tokens", "code_perplexity"),
)
"""Scores that are kept beside the one that a task is judged by."""

HEAD = """# What the recipes reach

Each table is the summary of one run of a recipe on held-out records, as `speechlm experiment` and `make transfer` leave
it: `benchmarks/results.py` keeps the summaries in `benchmarks/results/recipes` and
writes this page from them. `constant` is what the commonest answer scores (of speech: another recording; of hidden or
continued text and of hidden speech, `hits/`: the commonest token or code), `shallow` what logistic regression does on
tf-idf of words and characters, or a support vector machine on the means and deviations of MFCC. CPU minutes are those
of training and scoring together, on all cores; other work on the machine makes them more.
"""


def main() -> None:
    """Keeps what is told, and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="*", type=pathlib.Path, help="a folder with a summary.json")
    summaries = {}
    for run in parser.parse_args().run:
        path = run / "summary.json"
        try:
            summaries[run.name] = kept(json.loads(path.read_text(encoding="utf-8")))
            _section(run.name, summaries[run.name])
        except (OSError, ValueError, KeyError) as error:
            parser.error(
                f"{path}: wanted the summary that `speechlm experiment` or `make transfer` leaves, found {error!r}. "
                "Run the recipe again, or name another folder."
            )
    KEPT.mkdir(parents=True, exist_ok=True)
    for name, summary in summaries.items():
        whole_files.write_json(KEPT / f"{name}.json", summary)
    PAGE.write_text(page(), encoding="utf-8")


def kept(summary: Mapping[str, Any]) -> dict[str, Any]:
    """A summary without the path of its checkpoint, and with few of its scores."""
    found = {name: value for name, value in summary.items() if name != "checkpoint"}
    if "tasks" in found:
        found["tasks"] = {
            name: {**own, "scores": {score: own["scores"][score] for score in ALSO if _known(own, score)}}
            for name, own in found["tasks"].items()
        }
    return found


def _known(own: Mapping[str, Any], score: str) -> bool:
    # Of the area under a curve, one class knows nothing.
    return own.get("scores", {}).get(score) is not None


def page() -> str:
    """The page of all summaries that are kept, in the order of their names."""
    parts = [HEAD]
    for path in sorted(KEPT.glob("*.json")):
        parts.append(_section(path.stem, json.loads(path.read_text(encoding="utf-8"))))
    return "\n".join(parts)


def _section(name: str, summary: Mapping[str, Any]) -> str:
    table = experiment.table(summary["tasks"]) if "tasks" in summary else transfer.table(summary)
    beside = [
        f"{task:<44}" + "  ".join(f"{score} {value:.3f}" for score, value in own["scores"].items())
        for task, own in summary.get("tasks", {}).items()
        if own.get("scores")
    ]
    table = "\n".join([table, *(["", "beside them", *beside] if beside else [])])
    return f"## {name}\n\n{_told(summary)}\n\n```text\n{table}\n```\n"


def _told(summary: Mapping[str, Any]) -> str:
    cores = "1 core" if summary["cpus"] == 1 else f"{summary['cpus']} cores"
    made = f"jax {summary['versions']['jax']}, {summary['device']} ({cores})."
    if "tasks" not in summary:
        return f"Recognition finetuned from each start, once for each seed; {made}"
    # What a run that went on had spent before, nobody counted.
    spent = "" if summary["resumed"] else f"{summary['cpu_seconds'] / 60:.1f} CPU minutes, "
    return f"Step {summary['step']}, split `{summary['split']}`, {spent}{made}"


if __name__ == "__main__":
    main()
