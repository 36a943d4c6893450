"""Processes that run the command line, forked from one that has imported its libraries: real ones, which spare the
seconds of processor time that TensorFlow, JAX and the rest take to be imported by each."""

import faulthandler
import multiprocessing
import os
import pathlib
import runpy
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

ROOT = pathlib.Path(__file__).parents[1]
_context = multiprocessing.get_context("forkserver")
# Nothing here makes a device, whose threads no fork would have.
_context.set_forkserver_preload(
    [
        "librosa.filters",
        "tensorboardX",
        "speechlm_jax.cli",
        "speechlm_jax.data.manifest_tasks",
        "speechlm_jax.training.loop",
        "speechlm_jax.training.validation",
    ]
)


class Process:
    """`speechlm` with some words, begun: with the methods of subprocess.Popen that tests use. What it writes to both
    streams goes to `said`, or is given by `communicate`."""

    def __init__(self, words: Sequence[object], said: pathlib.Path | None = None, **environment: str):
        """environment: what differs from that of the test."""
        self._said, self._is_mine = said, said is None
        if self._said is None:
            handle, name = tempfile.mkstemp(suffix=".txt")
            os.close(handle)
            self._said = pathlib.Path(name)
        self._said.touch()
        told = {**os.environ, **environment}
        self._process = _context.Process(target=_run, args=([str(word) for word in words], told, str(self._said)))
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    @property
    def returncode(self) -> int | None:
        """As subprocess tells it: less than 0 for the signal that ended the process."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """The exit code, if it has ended."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, once it has ended."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("speechlm", timeout or 0.0)
        return self._process.exitcode

    def communicate(self, timeout: float | None = None) -> tuple[str, None]:
        """What it has written, once it has ended."""
        self.wait(timeout)
        said = self._said.read_text()
        if self._is_mine:
            self._said.unlink()
        return said, None

    def wait_until_said(self, words: str, timeout: float = 240.0) -> None:
        """Returns once it has written these words. Fails where it ends before."""
        deadline = time.monotonic() + timeout
        while words not in (said := self._said.read_text()):
            assert self.poll() is None and time.monotonic() < deadline, said
            time.sleep(0.01)

    def send_signal(self, notice: signal.Signals) -> None:
        """To the process, if it has not ended."""
        if self.poll() is None:
            os.kill(self.pid, notice)

    def kill_once(self, happened: Callable[[], bool]) -> None:
        """Ends it at once when that has come to pass, unless it has ended before."""
        while self.poll() is None and not happened():
            time.sleep(0.01)
        self.kill()
        self.wait()

    def kill(self) -> None:
        """Ends it at once."""
        self.send_signal(signal.SIGKILL)


def run(*words: object, **environment: str) -> str:
    """What a command writes to both streams, which is to end well."""
    process = Process(words, **environment)
    said, _ = process.communicate()
    assert process.returncode == 0, said
    return said


def _run(words: list[str], environment: dict[str, str], said: str) -> None:
    """In the process that was forked: all that a new interpreter would have done."""
    own = os.open(said, os.O_WRONLY | os.O_APPEND)
    sys.stdout.flush(), sys.stderr.flush()
    os.dup2(own, 1), os.dup2(own, 2)
    # One that is ended by SIGABRT says what it was doing.
    faulthandler.enable()
    former = dict(os.environ)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    sys.path[:0] = [str(ROOT), *environment.get("PYTHONPATH", "").split(os.pathsep)]
    _read_again(former)
    sys.argv = ["speechlm", *words]
    runpy.run_module("speechlm_jax", run_name="__main__")


def _read_again(former: Mapping[str, str]) -> None:
    """What was read from the environment, the terminal and the clock when modules were imported."""
    import jax

    from speechlm_jax import runtime

    for name, value in os.environ.items():
        key = name.lower()
        if name.startswith("JAX_") and value != former.get(name) and key in jax.config.values:
            stands: Any = jax.config.values[key]
            if isinstance(stands, bool):
                stands = value.lower() in ("1", "true", "yes", "on")
            elif isinstance(stands, int | float):
                stands = type(stands)(value)
            else:
                stands = value
            jax.config.update(key, stands)
    runtime._WATCHED = False
    runtime.BEGAN = time.monotonic()
    runtime._beginnings = iter([runtime.BEGAN])
