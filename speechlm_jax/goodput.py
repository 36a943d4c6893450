"""Verb `goodput`: where the time of a run went, from the lines of its ledger."""

import argparse
import pathlib
from typing import Any

from speechlm_jax import whole_files


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this verb."""
    parser.add_argument("run_dir", help="a run's folder")
    parser.add_argument("--json", help="write what was found here as JSON")


def run(*, run_dir: str, json: str | None = None) -> dict[str, Any]:
    """Prints the seconds of each phase and their shares; they sum to the time from the run's first start to the last
    line of its ledger. Goodput is the share of the time that went into steps which the run stands on.

    Raises ValueError where there is no ledger.
    """
    from speechlm_jax.training import ledger

    whole_files.check_file(json, "--json")
    report = ledger.read(pathlib.Path(run_dir))
    lives = f"{report.lives} {'life' if report.lives == 1 else 'lives'}"
    print(f"{run_dir}: step {report.step}, {lives}, {report.wall:,.1f} s, goodput {report.goodput:.1%}")
    for phase, seconds in sorted(report.seconds.items(), key=lambda entry: -entry[1]):
        if seconds:
            print(f"  {phase:<11}{seconds:>14,.1f} s {seconds / report.wall:>7.1%}  {ledger.MEANING[phase]}")
    told = {
        "step": report.step,
        "lives": report.lives,
        "wall_seconds": report.wall,
        "goodput": report.goodput,
        "seconds": report.seconds,
    }
    if json is not None:
        whole_files.write_json(json, told)
    return told
