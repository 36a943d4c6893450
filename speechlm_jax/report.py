"""Verb `report`: one page that shows what runs have left in their folders."""

import argparse
import pathlib
import sys

from speechlm_jax import whole_files


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this verb."""
    parser.add_argument("run_dir", nargs="+", help="a run's folder; several are shown side by side")
    parser.add_argument("--out", help="the HTML file to write (default: report.html in the first run's folder)")


def run(*, run_dir: list[str], out: str | None = None) -> str:
    """Writes one HTML file that needs no network and returns its path: curves by head and task, pace, where the time
    went, checkpoints, scores with intervals, what was read and what could not be, and the recipe. The run may be going
    on.

    A file that only this page reads, and that is damaged, is left out, and said so. Raises ValueError where there is no
    run, or the file could not be written.
    """
    path = pathlib.Path(run_dir[0]) / "report.html" if out is None else pathlib.Path(out)
    whole_files.check_file(out, "--out")
    from speechlm_jax.reporting import page, run_files, sheet

    runs = [run_files.read(folder) for folder in run_dir]
    for one in runs:
        for line in one.damaged:
            print(f"left out: {line}", file=sys.stderr)
    sheet.keep(path, page.write(runs))
    print(path)
    return str(path)
