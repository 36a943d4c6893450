"""Processes of this machine as one run: their lines side by side, one end for all, and on again after a notice."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType

from launch import job as jobs
from launch import mistakes

_POLL_SECONDS = 0.1
_DEVICES = re.compile(r"\s*--xla_force_host_platform_device_count=\d+")


def run(job: jobs.Job) -> int:
    """Runs the job to its end and returns its exit code.

    A run that was told to stop is started again, unless it was this process that was told: it passes the notice on, and
    a second one ends all at once. Raises Mistake for processes that cannot be."""
    _check(job)
    for life in range(job.retries + 1):
        group = Group(job.command(sys.executable), environments(job, os.environ), job.local.grace_seconds)
        with _passing_on(group.stop):
            code = group.wait()
        goes_on = code in jobs.RESTARTED or code >= 128
        if not goes_on or group.is_told or life == job.retries:
            return code
        jobs.say(f"launch: the run ended with code {code}; starting it again, {life + 1} of {job.retries}")
    raise AssertionError


def script(job: jobs.Job) -> str:
    """What would run, a line for each process."""
    _check(job)
    lines = []
    for told in _told(job, port="PORT"):
        assigned = " ".join(f"{name}={jobs.shell([value])}" for name, value in {**job.environment, **told}.items())
        lines.append(f"{assigned} {jobs.shell(job.command())}".strip())
    return "\n".join(lines) + "\n"


def environments(job: jobs.Job, inherited: Mapping[str, str]) -> list[dict[str, str]]:
    """Of each process; they meet at a port that was free just now."""
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        port = listener.getsockname()[1]
    flags = _DEVICES.sub("", inherited.get("XLA_FLAGS", ""))
    made = []
    for told in _told(job, port=str(port)):
        if "XLA_FLAGS" in told:
            told["XLA_FLAGS"] = f"{flags} {told['XLA_FLAGS']}".strip()
        made.append({**inherited, **job.environment, **told})
    return made


class Group:
    """Processes that end together."""

    def __init__(self, command: Sequence[str], environments: Sequence[Mapping[str, str]], grace_seconds: float):
        self.is_told = False
        """Whether somebody asked for the end."""
        self._grace_seconds = grace_seconds
        self._deadline: float | None = None
        self._processes: list[subprocess.Popen[bytes]] = []
        self._printing: list[threading.Thread] = []
        alone = len(environments) == 1
        for number, environment in enumerate(environments):
            # In a session of its own: the terminal's ^C reaches this process alone, which passes it on.
            process = subprocess.Popen(
                list(command),
                env=dict(environment),
                stdout=None if alone else subprocess.PIPE,
                stderr=None if alone else subprocess.STDOUT,
                start_new_session=True,
            )
            self._processes.append(process)
            if not alone:
                width = len(str(len(environments) - 1))
                thread = threading.Thread(target=_print_lines, args=(process, f"[{number:>{width}}] "), daemon=True)
                thread.start()
                self._printing.append(thread)

    def stop(self) -> None:
        """Passes a notice on; the second one ends all at once."""
        self._end(signal.SIGKILL if self.is_told else signal.SIGTERM)
        self.is_told = True

    def wait(self) -> int:
        """The exit code of the first process that failed, once all have ended; 128 and its number for a signal."""
        code = 0
        running = list(self._processes)
        while running:
            for process in list(running):
                if process.poll() is None:
                    continue
                running.remove(process)
                found = process.returncode if process.returncode >= 0 else 128 - process.returncode
                code = code or found
                if self._deadline is None and running:
                    self._deadline = time.monotonic() + self._grace_seconds
                    if found and found not in jobs.RESTARTED:
                        # What has been told to stop ends by itself, with the others; of what fails, they may not know.
                        self._end(signal.SIGTERM)
            if self._deadline is not None and time.monotonic() > self._deadline:
                self._deadline += self._grace_seconds
                self._end(signal.SIGKILL)
            time.sleep(_POLL_SECONDS)
        for thread in self._printing:
            thread.join()
        return code

    def _end(self, notice: signal.Signals) -> None:
        for process in self._processes:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    # Its readers, too, if it cannot end them any more.
                    os.killpg(process.pid, notice) if notice == signal.SIGKILL else process.send_signal(notice)


def _check(job: jobs.Job) -> None:
    local = job.local
    if local.processes < 1 or local.devices < 0 or local.gpus < 0 or (local.gpus and local.devices):
        raise mistakes.Mistake(
            "local: wanted processes of 1 or more, and devices (pretended, of each) or gpus (a process for each), "
            f"found processes = {local.processes}, devices = {local.devices}, gpus = {local.gpus}."
        )


def _told(job: jobs.Job, port: str) -> list[dict[str, str]]:
    """What each process is told of its place."""
    local = job.local
    count = local.gpus or local.processes
    made = []
    for number in range(count):
        told = {}
        if count > 1:
            told["SPEECHLM_COORDINATOR"] = f"localhost:{port}"
            told["SPEECHLM_PROCESSES"], told["SPEECHLM_PROCESS_ID"] = str(count), str(number)
        if local.gpus:
            told["CUDA_VISIBLE_DEVICES"] = str(number)
        if local.devices:
            told["JAX_PLATFORMS"] = "cpu"
            told["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={local.devices}"
        made.append(told)
    return made


def _print_lines(process: "subprocess.Popen[bytes]", mark: str) -> None:
    assert process.stdout is not None
    with process.stdout as lines:
        for line in lines:
            # In one piece: the lines of others stand between.
            sys.stdout.buffer.write(mark.encode() + line.rstrip(b"\n") + b"\n")
            sys.stdout.buffer.flush()


@contextlib.contextmanager
def _passing_on(stop: Callable[[], None]) -> Iterator[None]:
    """Has SIGTERM and SIGINT call `stop`."""

    def told(number: int, frame: FrameType | None) -> None:
        stop()

    former = {notice: signal.signal(notice, told) for notice in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for notice, handler in former.items():
            signal.signal(notice, handler)
