"""What the fault suite has tried and found, in a file: $SPEECHLM_FAULTS/summary.json; and what its tests share."""

import contextlib
import fcntl
import json
import os
import pathlib
import re
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


@contextlib.contextmanager
def made_once(path):
    """Whether what belongs into a folder is still to be made: one worker makes it, and the others wait for that."""
    path.mkdir(exist_ok=True)
    with open(path / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield not (path / ".made").exists()
        (path / ".made").touch()


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """With recordings, their manifest, a recipe and its vocabulary, and with all runs: one for all workers."""
    own = tmp_path_factory.getbasetemp()
    shared = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "faults"
    with made_once(shared) as missing:
        if missing:
            small_run.write(shared)
            assert cli.main(["data", f"--gin_file={shared}/recipe.gin", "--train_vocabulary=460"]) == 0
    return shared


@pytest.fixture(scope="session")
def whole(folder):
    """The function (processes, *bindings) -> the folder of the run that nothing happened to, done once for all."""

    def of(processes, *bindings):
        name = f"whole-{processes}-" + "-".join(re.sub(r"\W+", "_", binding) for binding in bindings)
        with made_once(folder / name) as missing:
            if missing:
                killed_runs.Run(folder, name, processes, *bindings).end()
        return folder / name

    return of
