"""What the fault suite has tried and found, against what is promised.

    python benchmarks/reliability.py [SUMMARY] [--keep NAME]

SUMMARY: runs/faults/summary.json, which `make test-faults` leaves. It ends with code 1 where something is missing or
beyond its limit. The last line of standard output is JSON: the summary, with what it was made with.
"""

import argparse
import json
import pathlib
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import figures

LEAST = {
    "kill_points/tried": 20,
    "topologies/tried": 1,
    "corruptions/tried": 200,
    "not_finite/injections": 3,
    "hangs/tried": 2,
    "fuzz/inputs": 10_000,
}
EQUAL = {
    "kill_points/identical": "kill_points/tried",
    "topologies/identical": "topologies/tried",
    "corruptions/detected": "corruptions/tried",
    "not_finite/runs_that_ended": "not_finite/injections",
    "hangs/identical": "hangs/tried",
}
MOST = {
    "not_finite/not_finite": 0,
    "lost_steps": 8,
    "soak/memory_ratio": 1.03,
    "soak/threads_ratio": 1.02,
    "soak/files_ratio": 1.0,
    "safeguards/overhead": 0.03,
    "safeguards/overhead_in_all": 0.03,
    "minutes": 25.0,
}
"""Steps that were lost: the runs of the suite save every fourth, and a kill may cut one save off. Overheads are shares
of a step."""


def main() -> int:
    """Prints the summary; 1 where it falls short."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("summary", nargs="?", type=pathlib.Path, default=pathlib.Path("runs/faults/summary.json"))
    figures.add_arguments(parser)
    given = parser.parse_args()
    try:
        summary = json.loads(given.summary.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        parser.error(f"{given.summary}: wanted what `make test-faults` leaves, found {error!r}")
    wrong = list(shortfalls(summary))
    print("\n".join(wrong), file=sys.stderr)
    figures.tell(summary, given)
    return int(bool(wrong))


def shortfalls(summary: Mapping[str, Any]) -> Iterator[str]:
    """A line for each promise that a summary does not keep."""
    found = {
        f"{name}/{part}" if part else name: value
        for name, own in summary.items()
        for part, value in (own.items() if isinstance(own, dict) else [("", own)])
    }
    for name, other in EQUAL.items():
        if found.get(name) is None or found[name] != found.get(other):
            yield f"{name} is {found.get(name)}, wanted that of {other}, {found.get(other)}"
    for name, limit in LEAST.items():
        if found.get(name, 0) < limit:
            yield f"{name} is {found.get(name)}, wanted {limit} or more"
    for name, limit in MOST.items():
        if name not in found or found[name] > limit:
            yield f"{name} is {found.get(name)}, wanted {limit} at most"


if __name__ == "__main__":
    sys.exit(main())
