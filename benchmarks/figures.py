"""What a script of this folder has measured: printed as JSON, and kept beside the code."""

import argparse
import json
import os
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

from speechlm_jax import provenance, runtime, whole_files

KEPT = pathlib.Path(__file__).parent / "results"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flag that `tell` goes by."""
    parser.add_argument("--keep", metavar="NAME", help=f"also write it to benchmarks/{KEPT.name}/NAME.json")


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
