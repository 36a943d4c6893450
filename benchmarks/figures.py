"""What a script of this folder has measured: printed as JSON, and kept beside the code."""

import argparse
import json
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

from speechlm_jax import provenance, whole_files

KEPT = pathlib.Path(__file__).parent / "results"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flag that `tell` goes by."""
    parser.add_argument("--keep", metavar="NAME", help=f"also write it to benchmarks/{KEPT.name}/NAME.json")


def tell(found: Mapping[str, Any], given: argparse.Namespace, *libraries: str) -> None:
    """The last line of a script: what was found, by which command, with which versions, on which machine."""
    told = {**found, "command": command(sys.argv), "versions": provenance.versions(*libraries), **provenance.machine()}
    print(json.dumps(told))
    if given.keep:
        whole_files.write_json(KEPT / f"{given.keep}.json", told)


def command(words: list[str]) -> str:
    """A command line without the folders of the machine that it was given on, and without what keeps it."""
    script, *rest = words
    while "--keep" in rest:
        place = rest.index("--keep")
        del rest[place : place + 2]
    kept = [word for word in rest if not word.startswith("--keep=")]
    return " ".join(["python", f"benchmarks/{pathlib.Path(script).name}", *(word.rpartition("/")[2] for word in kept)])


def kept(name: str) -> dict[str, Any]:
    """What was kept under a name."""
    return json.loads((KEPT / f"{name}.json").read_text(encoding="utf-8"))
