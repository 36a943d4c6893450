"""What a figure or a checkpoint was made with: libraries and machine."""

import importlib.metadata
import os
import pathlib
import platform
from typing import Any

LIBRARIES = ("speechlm-jax", "jax", "flax", "optax", "orbax-checkpoint", "numpy")


def versions(*more: str) -> dict[str, str]:
    """The versions of LIBRARIES and of `more`; what is not installed is left out."""
    found = {}
    for library in (*LIBRARIES, *more):
        try:
            found[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:  # The package itself may run from a checkout.
            continue
    return found


def cpus() -> int:
    """The cores that this process may use: fewer than there are under taskset or Slurm; only Linux says so."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    """The name of the processor, which only Linux tells; Python's own knows no more than its kind."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def machine() -> dict[str, Any]:
    """The devices that JAX computes on, and the computer around them."""
    import jax

    return {
        "device": jax.devices()[0].device_kind,
        "devices": jax.device_count(),
        "cpus": cpus(),
        "machine": _processor() or platform.processor() or platform.machine(),
        "python": platform.python_version(),
    }
