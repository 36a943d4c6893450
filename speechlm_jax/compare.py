"""Verb `compare`: two files of scores in, and out comes which of the differences chance alone would not make."""

import argparse
import json as json_text
import pathlib
from collections.abc import Mapping
from typing import Any

from speechlm_jax import whole_files


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this verb."""
    parser.add_argument("before", help="what `speechlm evaluate --json=FILE` has written")
    parser.add_argument("after", help="the same of another checkpoint, or of another search")
    parser.add_argument("--json", help="write what was found here as JSON")


def run(*, before: str, after: str, json: str | None = None) -> dict[str, Any]:
    """Prints a line for each metric of each task that both files score: both scores, their difference, its 95% interval
    by a paired bootstrap over the examples, and whether that leaves out 0.

    Raises ValueError for a file that holds no scores, and where the two share no task of one split.
    """
    from speechlm_jax.inference import changes

    whole_files.check_file(json, "--json")
    first, second = (_read(path) for path in (before, after))
    doing = f"comparing {after} with {before}"
    if first["split"] != second["split"]:
        raise ValueError(f"{doing}: one scores the split {first['split']!r}, the other {second['split']!r}.")
    own, others = first["scores"], second["scores"]
    shared = [name for name in own if name in others]
    if not shared:
        raise ValueError(f"{doing}: they share no task; one scores {', '.join(own)}, the other {', '.join(others)}.")
    found = {name: changes.of(own[name], others[name]) for name in shared}
    for name, told in (("before", first), ("after", second)):
        print(f"{name}: step {told['step']} of {told['checkpoint']}, {told['split']}")
    print(changes.table(found))
    for line in _reservations(first, second, shared):
        print(line)
    told = {"before": before, "after": after, "split": first["split"], "change": found}
    if json is not None:
        whole_files.write_json(json, told)
    return told


def _read(path: str) -> dict[str, Any]:
    doing = f"reading the scores in {path}"
    try:
        told = json_text.loads(whole_files.read_text(pathlib.Path(path)))
    except (OSError, ValueError) as error:
        raise ValueError(f"{doing}: {error}. Name a file that `speechlm evaluate --json` has written.") from error
    wanted = {"split": str, "step": int, "checkpoint": str, "scores": dict, "versions": dict}
    strange = [
        name for name, kind in wanted.items() if not isinstance(told, dict) or not isinstance(told.get(name), kind)
    ]
    if strange or not all(isinstance(scores, dict) for scores in told["scores"].values()):
        raise ValueError(
            f"{doing}: wanted what `speechlm evaluate --json` writes, without --before, found something else"
            f"{f' (no {strange[0]})' if strange else ''}."
        )
    return told


def _reservations(first: Mapping[str, Any], second: Mapping[str, Any], shared: list[str]) -> list[str]:
    """What a reader of the table should know."""
    from speechlm_jax import metrics

    lines = []
    own, others = first["scores"], second["scores"]
    for side, told, other in (("before", own, others), ("after", others, own)):
        if alone := sorted(told.keys() - other.keys()):
            lines.append(f"only {side} scores {', '.join(alone)}")
        lines += [
            f"not scored {side}: {name}: {told[name]['not_scored']}" for name in shared if "not_scored" in told[name]
        ]
    for name in shared:
        examples = [scores[name].get(metrics.EXAMPLES) for scores in (own, others)]
        if None not in examples and examples[0] != examples[1]:
            lines.append(
                f"{name}: other examples were scored, or other targets, so that no two scores are of one example"
            )
    libraries = first["versions"].keys() | second["versions"].keys()
    for library in sorted(libraries):
        old, new = (told["versions"].get(library) for told in (first, second))
        if old != new:
            lines.append(f"{library} was {old} before and is {new} after")
    return lines
