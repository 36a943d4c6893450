"""Verb `materialise`: the packed rows of a run, written ahead and read in training in place of the tasks' records."""

import argparse
import json
from typing import Any

from speechlm_jax import provenance, runtime, whole_files
from speechlm_jax.training import config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this verb."""
    parser.add_argument("--out", help="the folder to write; bind Stream.written to it in training")
    parser.add_argument("--steps", type=int, help="for so many steps from the first (default: Recipe.steps)")
    parser.add_argument("--steps_per_file", type=int, help="so many steps of a data shard in a file (default: 500)")
    parser.add_argument("--workers", type=int, help="processes that write (default: one for each processor)")


def run(
    *, recipe: config.Recipe, out: str = "", steps: int = 0, steps_per_file: int = 500, workers: int = 0
) -> dict[str, Any]:
    """Writes the rows that a run of this recipe would train on, and prints and returns what was written. Started again
    it goes on, also with more steps: what is whole stays.

    A run with Stream.written = `out` takes the same rows in the same order, needs no TensorFlow and none of the tasks'
    data, and stops and goes on as any other; it may change to the tasks themselves, and back, at any checkpoint.

    Raises ValueError where `out` holds rows of another recipe, or something else.
    """
    from speechlm_jax import there

    if not out:
        raise ValueError("writing rows: wanted a folder to write, --out, found none. Name it.")
    if steps < 0 or steps_per_file < 1 or workers < 0:
        raise ValueError(
            f"writing rows: wanted --steps and --workers of 0 or more and --steps_per_file of 1 or more, found "
            f"--steps={steps}, --steps_per_file={steps_per_file}, --workers={workers}."
        )
    if recipe.data.stream.written:
        raise ValueError(
            f"writing rows: they would be read from {recipe.data.stream.written}. Set Stream.written = ''."
        )
    there.check_data(recipe.data)
    whole_files.check_folder(out, "--out")
    runtime.hide_accelerators_from_tensorflow()
    from speechlm_jax.data import row_writer

    found = row_writer.materialise(
        recipe.data,
        seed=recipe.seed,
        steps=steps or recipe.steps,
        steps_per_file=steps_per_file,
        out=out,
        workers=workers or provenance.cpus(),
    )
    print(json.dumps(found, indent=1))
    return found
