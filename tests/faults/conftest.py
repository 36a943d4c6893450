"""What the fault suite has tried and found, in a file: $SPEECHLM_FAULTS/summary.json."""

import json
import os
import pathlib

import pytest


class Summary:
    """Numbers by name."""

    def __init__(self):
        self.told = {}

    def count(self, name, **counts):
        """Adds to the counts of a thing."""
        own = self.told.setdefault(name, {})
        for kind, number in counts.items():
            own[kind] = own.get(kind, 0) + number

    def most(self, name, number):
        """Keeps the largest."""
        self.told[name] = max(self.told.get(name, number), number)


@pytest.fixture(scope="session")
def faults():
    summary = Summary()
    yield summary
    if folder := os.environ.get("SPEECHLM_FAULTS"):
        path = pathlib.Path(folder) / "summary.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(summary.told, indent=1) + "\n")
