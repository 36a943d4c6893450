"""Processes of this machine that belong to one run, and have eight pretended devices between them."""

import contextlib
import os
import subprocess
from collections.abc import Sequence

from launch import job
from launch.targets import local


def flags(devices: int) -> str:
    """XLA's, for so many pretended devices in place of the eight of tests."""
    return os.environ["XLA_FLAGS"].replace("device_count=8", f"device_count={devices}")


def environments(count: int) -> list[dict[str, str]]:
    """The environment of each of `count` processes."""
    here = job.Local(processes=count, devices=8 // count)
    return local.environments(job.Job(name="tests", recipe=("none.gin",), local=here), os.environ)


def said(group: Sequence[subprocess.Popen[str]], seconds: float) -> list[tuple[str, str]]:
    """What each process wrote to standard output and standard error, where they are pipes. None is left behind, and no
    pipe, where one has not ended in time."""
    with contextlib.ExitStack() as ended:
        for process in group:
            ended.enter_context(process)
            ended.callback(process.kill)
        return [process.communicate(timeout=seconds) for process in group]
