"""What the fault suite has tried and found, in a file: $SPEECHLM_FAULTS/summary.json; and what its tests share."""

import json
import os
import pathlib
import time

import pytest
import small_run
from faults import killed_runs

from speechlm_jax import cli


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

    def add(self, told):
        """What another has found, by the same names."""
        for name, found in told.items():
            if isinstance(found, dict):
                self.count(name, **found)
            else:
                self.most(name, found)


_SUMMARY = pytest.StashKey[Summary]()
_BEGAN = pytest.StashKey[float]()
_OF_WORKERS = "speechlm_faults"


def pytest_configure(config):
    config.stash[_SUMMARY] = Summary()
    config.stash[_BEGAN] = time.monotonic()


@pytest.fixture(scope="session")
def faults(request):
    return request.config.stash[_SUMMARY]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """Of pytest-xdist's workers."""
    node.config.stash[_SUMMARY].add(getattr(node, "workeroutput", {}).get(_OF_WORKERS, {}))


def pytest_sessionfinish(session):
    told = session.config.stash[_SUMMARY].told
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput[_OF_WORKERS] = told
    elif told and (folder := os.environ.get("SPEECHLM_FAULTS")):
        told["minutes"] = round((time.monotonic() - session.config.stash[_BEGAN]) / 60, 1)
        path = pathlib.Path(folder) / "summary.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(told, indent=1, sort_keys=True) + "\n")


@pytest.fixture(autouse=True)
def no_process_is_left():
    yield
    for process in killed_runs.STARTED:
        if process.poll() is None:
            process.kill()
            process.wait()
    killed_runs.STARTED.clear()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """With recordings, their manifest, a recipe and its vocabulary; what is compiled is that of all tests."""
    made, own = tmp_path_factory.mktemp("faults"), tmp_path_factory.getbasetemp()
    compiled = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "compiled"
    compiled.mkdir(exist_ok=True)
    (made / "compiled").symlink_to(compiled)
    small_run.write(made)
    assert cli.main(["data", f"--gin_file={made}/recipe.gin", "--train_vocabulary=460"]) == 0
    return made
