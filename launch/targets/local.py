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
from collections.abc import Iterator, Mapping, Sequence
from types import FrameType

from launch import job as jobs
from launch import mistakes

ABOUT = "processes of this machine"
_POLL_SECONDS = 0.1
_AGAIN_SECONDS = 1.0
"""A shell and a scheduler may both pass one notice on: sooner, it is the same."""
_MOST_KILLED = 3
"""Lives in a row that a signal ended, as a crash does: then it is no machine that was taken away."""
_NOTICES = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_DEVICES = re.compile(r"\s*--xla_force_host_platform_device_count=\d+")


def told(job: jobs.Job, asked: jobs.Asked) -> str:
    """What would run, a line for each process."""
    _check(job)
    lines = []
    for own in _told(job, os.environ, port="PORT"):
        assigned = " ".join(f"{name}={jobs.shell([value])}" for name, value in {**job.environment, **own}.items())
        lines.append(f"{assigned} {jobs.shell(job.command())}".strip())
    return "\n".join(lines) + "\n"


def start(job: jobs.Job, asked: jobs.Asked) -> int:
    """Runs the job to its end and returns its exit code.

    A run that was told to stop is started again, unless it was this process that was told: it passes the notice on, and
    a second one ends all at once. Raises Mistake for processes that cannot be.
    """
    _check(job)
    life, killed = 0, 0
    with _Notices() as notices:
        while True:
            began = time.monotonic()
            with contextlib.closing(Group(environments(job, os.environ), job.local.grace_seconds)) as group:
                group.start(job.command(sys.executable))
                code = group.wait(notices)
            before = killed if time.monotonic() - began < jobs.LONG_LIFE_SECONDS else 0
            killed = before + 1 if code >= 128 else 0
            goes_on = code in jobs.RESTARTED or 0 < killed < _MOST_KILLED
            if not goes_on or notices.count:
                return code
            if life == job.retries:
                jobs.say(f"launch: the run ended with code {code}, and is not started again: retries = {job.retries}")
                return code
            life += 1
            jobs.say(f"launch: the run ended with code {code}; starting it again, {life} of {job.retries}")


def environments(job: jobs.Job, inherited: Mapping[str, str]) -> list[dict[str, str]]:
    """Of each process; they meet at a port that was free just now."""
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        port = listener.getsockname()[1]
    return [{**inherited, **job.environment, **own} for own in _told(job, inherited, port=str(port))]


class Group:
    """Processes that end together; to be closed."""

    def __init__(self, environments: Sequence[Mapping[str, str]], grace_seconds: float):
        self._environments, self._grace_seconds = environments, grace_seconds
        self._deadline: float | None = None
        self._killed = False
        self._processes: list[subprocess.Popen[bytes]] = []
        self._printing: list[threading.Thread] = []

    def start(self, command: Sequence[str]) -> None:
        """All of them."""
        width, alone = len(str(len(self._environments) - 1)), len(self._environments) == 1
        for number, environment in enumerate(self._environments):
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
                thread = threading.Thread(target=_print_lines, args=(process, f"[{number:>{width}}] "), daemon=True)
                thread.start()
                self._printing.append(thread)

    def wait(self, notices: "_Notices") -> int:
        """The exit code of the first process that failed, once all have ended; 128 and its number for a signal."""
        code, heard, running = 0, 0, list(self._processes)
        while running:
            if notices.count > heard:
                heard = notices.count
                self._end(signal.SIGTERM if heard == 1 else signal.SIGKILL)
                self._deadline = self._deadline or time.monotonic() + self._grace_seconds
            for process in [one for one in running if one.poll() is not None]:
                running.remove(process)
                found = process.returncode if process.returncode >= 0 else 128 - process.returncode
                code = code or found
                if found and running and self._deadline is None:
                    self._deadline = time.monotonic() + self._grace_seconds
                    if found not in jobs.RESTARTED:
                        # What has been told to stop ends by itself, with the others; of what fails, they may not know.
                        self._end(signal.SIGTERM)
            if self._deadline is not None and time.monotonic() > self._deadline:
                if not self._killed:
                    jobs.say(
                        f"launch: {len(running)} processes go on after {self._grace_seconds:g} s and are killed; "
                        "local.grace_seconds gives them longer"
                    )
                self._killed = True
                self._end(signal.SIGKILL)
            time.sleep(_POLL_SECONDS)
        for thread in self._printing:
            thread.join()
        return code

    def close(self) -> None:
        """Ends whatever is left."""
        self._end(signal.SIGKILL)
        for process in self._processes:
            process.wait()

    def _end(self, notice: signal.Signals) -> None:
        for process in self._processes:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    # Those that it has started, too, where it can end them no more.
                    os.killpg(process.pid, notice) if notice == signal.SIGKILL else process.send_signal(notice)


class _Notices:
    """How often this process was told to stop, from the start of the first child on."""

    def __init__(self) -> None:
        self.count, self._last = 0, -_AGAIN_SECONDS

    def __enter__(self) -> "_Notices":
        self._former = {notice: signal.signal(notice, self._hear) for notice in _NOTICES}
        return self

    def __exit__(self, *_: object) -> None:
        for notice, handler in self._former.items():
            signal.signal(notice, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if now - self._last >= _AGAIN_SECONDS:
            self.count, self._last = self.count + 1, now


def _check(job: jobs.Job) -> None:
    local = job.local
    if local.processes < 1 or local.devices < 0 or local.gpus < 0 or (local.gpus and local.devices):
        raise mistakes.Mistake(
            "local: wanted processes of 1 or more, and devices (pretended, of each) or gpus (a process for each), "
            f"found processes = {local.processes}, devices = {local.devices}, gpus = {local.gpus}."
        )


def _told(job: jobs.Job, inherited: Mapping[str, str], port: str) -> Iterator[dict[str, str]]:
    """What each process is told of its place."""
    local, given = job.local, {**inherited, **job.environment}
    count = local.gpus or local.processes
    there = [name for name in given.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    if there and local.gpus > len(there):
        raise mistakes.Mistake(f"local: wanted {local.gpus} gpus, found CUDA_VISIBLE_DEVICES={','.join(there)}.")
    flags = _DEVICES.sub("", given.get("XLA_FLAGS", ""))
    for number in range(count):
        own = {}
        if count > 1:
            own["SPEECHLM_COORDINATOR"] = f"localhost:{port}"
            own["SPEECHLM_PROCESSES"], own["SPEECHLM_PROCESS_ID"] = str(count), str(number)
        if local.gpus:
            own["CUDA_VISIBLE_DEVICES"] = there[number] if there else str(number)
        if local.devices:
            own["JAX_PLATFORMS"] = "cpu"
            own["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count={local.devices}".strip()
        yield own


def _print_lines(process: "subprocess.Popen[bytes]", mark: str) -> None:
    assert process.stdout is not None
    with process.stdout as lines:
        for line in lines:
            # In one piece: the lines of others stand between.
            sys.stdout.buffer.write(mark.encode() + line.rstrip(b"\n") + b"\n")
            sys.stdout.buffer.flush()
