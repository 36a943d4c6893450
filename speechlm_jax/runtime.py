"""The process that a verb runs in: its noise, its terminal, its devices, its place among other processes."""

import contextlib
import os
import pathlib
import re
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

BEGAN = time.monotonic()
"""When this process began, or soon after: the front door imports this before anything slow."""
_beginnings = iter([BEGAN])


def beginning() -> float:
    """When what asks for it began, by time.monotonic: with the process, or now where something else did before."""
    return next(_beginnings, time.monotonic())


def quiet() -> None:
    """Asks TensorFlow, gRPC and libtpu to keep notes about themselves off the terminal. Call it before they are
    imported; what the environment says already stands."""
    for name, value in {
        **({} if _may_have_tpu() else _NO_TPU),
        **({} if _is_of_google() else _NO_CLOUD),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "GRPC_VERBOSITY": "ERROR",
        "TF_ENABLE_ONEDNN_OPTS": "0",  # Its notice, and sums that depend on the number of threads.
    }.items():
        os.environ.setdefault(name, value)


_NO_TPU = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v4-8",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}
"""Where libtpu is installed to compile alone, it would ask the cloud what machine this is, complain, and keep other
processes from using it."""


_NO_CLOUD = {"NO_GCE_CHECK": "true"}
"""TFDS asks a cloud's metadata server when it is imported, and waits for an answer. On Google's machines that is whom
TensorFlow asks, too, in whose name it reads a bucket."""


def _is_of_google() -> bool:
    product = pathlib.Path("/sys/class/dmi/id/product_name")
    return product.exists() and product.read_text(errors="replace").startswith("Google")


def _may_have_tpu() -> bool:
    return any(pathlib.Path("/dev").glob("accel*")) or any(pathlib.Path("/dev/vfio").glob("[0-9]*"))


_NOTES = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog|I0000 [^\n]*(?:cudart_stub|port|cpu_feature_guard)\.cc:"
)
_filtering = threading.Lock()


@contextlib.contextmanager
def without_loading_notes() -> Iterator[None]:
    """Drops the lines that TensorFlow's libraries write to standard error while they are loaded, which none of their
    settings silences. Everything else that the process writes there passes on."""
    if not _filtering.acquire(blocking=False):
        yield
        return
    sys.stderr.flush()
    terminal = os.dup(2)
    reader, writer = os.pipe()
    os.dup2(writer, 2)
    os.close(writer)

    def pass_on() -> None:
        with os.fdopen(reader, "rb") as lines:
            for line in lines:
                if not _NOTES.match(line):
                    os.write(terminal, line)

    filtering = threading.Thread(target=pass_on, daemon=True)
    filtering.start()
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(terminal, 2)
        # A child process that was started meanwhile may hold the pipe for longer.
        filtering.join(timeout=1.0)
        if not filtering.is_alive():
            os.close(terminal)
        _filtering.release()


def hide_accelerators_from_tensorflow() -> None:
    """Leaves GPUs and TPUs to JAX. TensorFlow must not have run an operation yet."""
    with without_loading_notes():
        import tensorflow as tf

    for kind in ("GPU", "TPU"):
        tf.config.set_visible_devices([], kind)


_WATCHED = sys.stderr is not None and sys.stderr.isatty()


def is_terminal() -> bool:
    """Whether a person watched standard error when the process began."""
    return _WATCHED


def say(line: str) -> None:
    """One line for people, on standard error: standard output belongs to results."""
    print(line, file=sys.stderr, flush=True)


class Progress:
    """How far long work has come: a bar on a terminal; elsewhere one plain line every `every_seconds`.

    with runtime.Progress("reading", total=1000, unit="records") as progress:
        for record in records:
            progress.advance()
    """

    def __init__(self, what: str, *, total: int | None = None, unit: str = "steps", every_seconds: float = 30.0):
        self.what, self.total, self.unit, self.every_seconds = what, total, unit, every_seconds
        self.count = 0
        self._told = -1
        self._bar: Any = None
        self._started = self._spoken = time.monotonic()

    def __enter__(self) -> "Progress":
        if is_terminal():
            import tqdm

            self._bar = tqdm.tqdm(desc=self.what, total=self.total, unit=f" {self.unit}", file=sys.stderr)
        return self

    def advance(self, count: int = 1) -> None:
        """Counts work that is done."""
        self.count += count
        if self._bar is not None:
            self._bar.update(count)
        elif time.monotonic() - self._spoken >= self.every_seconds:
            self._spoken = time.monotonic()
            self._say()

    def over(self, things: Any) -> Iterator[Any]:
        """Yields things, and counts each as done once the next is asked for."""
        for thing in things:
            yield thing
            self.advance()

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()
        elif self._told < self.count:
            self._say()

    def _say(self) -> None:
        self._told = self.count
        of = f" of {self.total:,}" if self.total is not None else ""
        say(f"{self.what}: {self.count:,}{of} {self.unit}, {time.monotonic() - self._started:.0f} s")


def initialize() -> None:
    """Joins the processes of this run; to be called once, before JAX looks for devices. A process alone joins nobody.

    SPEECHLM_COORDINATOR (host:port of the first process, or `auto` where JAX can ask the cluster), SPEECHLM_PROCESSES
    and SPEECHLM_PROCESS_ID say who belongs to the run. A process of which nothing is heard for
    SPEECHLM_HEARTBEAT_SECONDS (100) is taken for dead, and ends the others.
    Raises ValueError where they contradict each other.
    """
    import jax

    membership = _membership(os.environ)
    if membership is None or jax.distributed.is_initialized():
        return
    coordinator, processes, process_id = membership
    heartbeat = _whole_numbers(os.environ, {"SPEECHLM_HEARTBEAT_SECONDS": "100"})[0]
    # What it does is ours: see common_stop.
    jax.config.update("jax_enable_preemption_service", False)
    if coordinator == "auto":
        jax.distributed.initialize(heartbeat_timeout_seconds=heartbeat)
        return
    # JAX would listen on every interface, where all who call stand on this machine.
    here = coordinator if coordinator.rpartition(":")[0] in ("localhost", "127.0.0.1", "[::1]") else None
    jax.distributed.initialize(
        coordinator,
        processes,
        process_id,
        heartbeat_timeout_seconds=heartbeat,
        coordinator_bind_address=here,
        # It would take the one GPU of a Slurm task's number, though whoever told us the rest has dealt them already.
        cluster_detection_method="deactivate",
    )


def _membership(environment: Any) -> tuple[str, int, int] | None:
    """The coordinator's address, the number of processes, and which of them this one is; None for a process alone."""
    coordinator = environment.get("SPEECHLM_COORDINATOR", "")
    processes, process_id = _whole_numbers(environment, _ALONE)
    if coordinator == "auto":
        return coordinator, processes, process_id
    if process_id >= processes or (processes > 1 and ":" not in coordinator):
        raise ValueError(
            f"joining the run's processes: wanted SPEECHLM_PROCESS_ID below SPEECHLM_PROCESSES, and "
            f"host:port of the first in SPEECHLM_COORDINATOR, found {process_id} of {processes} and {coordinator!r}."
        )
    return (coordinator, processes, process_id) if coordinator else None


def _whole_numbers(environment: Any, defaults: dict[str, str]) -> list[int]:
    """What the environment says, in the order of the defaults."""
    told = {name: environment.get(name, default) for name, default in defaults.items()}
    wrong = [f"{name}={value}" for name, value in told.items() if not value.isdigit()]
    if wrong:
        raise ValueError(f"joining the run's processes: wanted whole numbers, found {', '.join(wrong)}.")
    return [int(value) for value in told.values()]


_ALONE = {"SPEECHLM_PROCESSES": "1", "SPEECHLM_PROCESS_ID": "0"}


def keep_compiled(folder: str) -> None:
    """Keeps compiled programs in a folder, so that the next start of the same recipe does not compile them again. A
    folder that the environment (JAX_COMPILATION_CACHE_DIR) or an earlier call named stands."""
    import jax

    if not jax.config.values["jax_compilation_cache_dir"]:
        jax.config.update("jax_compilation_cache_dir", folder)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)
