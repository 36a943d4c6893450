"""What a script of this folder has measured: printed as JSON, and kept beside the code."""

import argparse
import json
import os
import pathlib
import re
import sys
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from speechlm_jax import provenance, runtime, whole_files

KEPT = pathlib.Path(__file__).parent / "results"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flag that `tell` goes by."""
    parser.add_argument("--keep", metavar="NAME", type=_name, help=f"also write it to benchmarks/{KEPT.name}/NAME.json")


def positive(text: str) -> int:
    """A whole number above 0, as a flag says it."""
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"wanted a whole number above 0, found {text}")
    return int(text)


def _name(text: str) -> str:
    if not re.fullmatch(r"\w+", text):
        raise argparse.ArgumentTypeError(f"wanted a name of letters, digits and _, found {text}")
    return text


def durations(path: str) -> np.ndarray:
    """The seconds that a file tells, one a line. Ends the script where it tells something else."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Of a file that is empty, which is told below.
            seconds = np.loadtxt(path, ndmin=1)
    except (OSError, ValueError) as error:
        sys.exit(f"reading --lengths={path}: {error}. Wanted a duration in seconds a line.")
    if seconds.ndim != 1 or not seconds.size or not np.all((seconds > 0) & np.isfinite(seconds)):
        sys.exit(f"reading --lengths={path}: wanted a duration in seconds above 0 a line.")
    return seconds


def tell(found: Mapping[str, Any], given: argparse.Namespace, *libraries: str) -> dict[str, Any]:
    """Prints what was found as the last line of a script, and returns it: with the command, what the environment says
    to XLA and to the C library, versions, and the machine."""
    runtime.quiet()
    told = {
        **found,
        "command": command(sys.argv),
        "environment": {name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
        "versions": provenance.versions(*libraries),
        **provenance.machine(),
    }
    print(json.dumps(told))
    if given.keep:
        whole_files.write_json(KEPT / f"{given.keep}.json", told)
    return told


ENVIRONMENT = ("JAX_PLATFORMS", "XLA_FLAGS", "GLIBC_TUNABLES")


def command(words: list[str]) -> str:
    """A command line as one would give it anywhere: of files that lie outside the repository, the name alone."""
    script, *rest = words
    return " ".join(["python", f"benchmarks/{pathlib.Path(script).name}", *map(_without_folder, rest)])


def _without_folder(word: str) -> str:
    flag, equals, value = word.rpartition("=")
    outside = value.startswith(("/", "..", "~"))
    return f"{flag}{equals}{value.rpartition('/')[2]}" if outside else word


def kept(name: str) -> dict[str, Any]:
    """What was kept under a name."""
    return json.loads((KEPT / f"{name}.json").read_text(encoding="utf-8"))
