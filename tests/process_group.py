"""Processes of this machine that belong to one run, and have eight pretended devices between them."""

import os
import socket


def flags(devices: int) -> str:
    """XLA's, for so many pretended devices in place of the eight of tests."""
    return os.environ["XLA_FLAGS"].replace("device_count=8", f"device_count={devices}")


def environments(count: int) -> list[dict[str, str]]:
    """The environment of each of `count` processes."""
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        port = listener.getsockname()[1]
    told = {
        "SPEECHLM_COORDINATOR": f"localhost:{port}",
        "SPEECHLM_PROCESSES": str(count),
        "XLA_FLAGS": flags(8 // count),
    }
    return [{**os.environ, **told, "SPEECHLM_PROCESS_ID": str(number)} for number in range(count)]
