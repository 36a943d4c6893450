"""A verb that keeps what it is given and ends as it is told to."""

import argparse
import dataclasses
import errno
import os
from typing import Any, Literal

from speechlm_jax import limits, preemption, whole_files

RECEIVED: list[dict[str, Any]] = []


@dataclasses.dataclass(frozen=True)
class Part:
    """Something that a whole has."""

    width: int = 4
    """Steps from side to side."""
    rate: float = 0.5
    kind: Literal["round", "square"] = "round"
    names: tuple[str, ...] = ()
    label: str | None = None

    def __post_init__(self):
        if self.width % 2:
            raise ValueError(f"a part is even, found Part.width = {self.width}.")


@dataclasses.dataclass(frozen=True)
class Whole:
    """What the verb requires."""

    folder: str = ""
    steps: int = 1
    part: Part = Part()
    spare: Part | None = None
    exact: bool = False


@dataclasses.dataclass(frozen=True)
class Stray:
    """What no test makes known to gin."""

    width: int = 4


def end() -> None:
    """What a test puts in its place."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's own flags."""
    parser.add_argument("--ending", help="how to end")
    parser.add_argument("--count", type=int, help="a number")


def run(*, whole: Whole, ending: str = "", count: int = 0, config_text: str = "") -> None:
    """Keeps its keywords.

    ending: how the
        verb ends.
    config_text: not for users.
    """
    RECEIVED.append({"whole": whole, "ending": ending, "count": count, "config_text": config_text})
    if ending == "mistake":
        raise ValueError("doing this, wanted that, found neither. Set Whole.steps.")
    if ending == "chained mistake":
        try:
            int("seven")
        except ValueError as error:
            raise ValueError("seven is no number") from error
    if ending == "storage":
        try:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        except OSError as error:
            raise ValueError(f"reading a.wav: {error}") from error
    if ending == "library":
        whole_files.write_json("no\0name", {})
    if ending == "called":
        end()
    if ending == "own code":
        int("seven")
    if ending == "file":
        open("no/such/file").close()
    if ending == "fault":
        limits.at_least(Part(), 0, "no_such_field")
    if ending == "preempted":
        raise preemption.Preempted("saved at step 3; start the same command again.")
    if ending == "interrupted":
        raise KeyboardInterrupt
