"""Traces of a run's steps for xprof, where TensorBoard finds them: of steps that the recipe names, and, of a run that
is going on, of the next ones once a process of it gets a signal."""

import logging
import pathlib
import signal
import threading
from collections.abc import Sequence
from typing import Any

import jax

from speechlm_jax import peers, runtime

SIGNAL = signal.SIGUSR1
"""`kill -USR1 PROCESS` asks for a trace of the next steps of that process."""
_log = logging.getLogger(__name__)


class Profiler:
    """Told of every step; traces `count` steps behind each of `after`, and when it is asked. Traces go to `folder`;
    where one cannot be made, the run goes on without."""

    def __init__(self, folder: pathlib.Path, after: Sequence[int], count: int):
        self._folder, self._after, self._count = folder, frozenset(after), count
        self._asked, self._left, self._first = False, 0, 0
        self._former: Any = None
        # Elsewhere Python lets nobody handle a signal.
        self._handles = threading.current_thread() is threading.main_thread()
        if self._handles:
            self._former = signal.signal(SIGNAL, self._ask)

    @property
    def is_tracing(self) -> bool:
        """Whether steps are being traced."""
        return self._left > 0

    def _ask(self, *_: Any) -> None:
        self._asked = True

    def step(self, done: int, metrics: Any) -> None:
        """So many steps are done, the last of them with these metrics."""
        if self._left:
            self._left -= 1
            if not self._left:
                jax.block_until_ready(metrics)
                self._stop(f"{self._first} to {done}")
        if not self._left and (self._asked or done in self._after):
            self._asked, self._first = False, done + 1
            try:
                jax.profiler.start_trace(str(self._folder))
                self._left = self._count
            except (OSError, RuntimeError) as error:
                _log.error("tracing steps from %d on: %s. The run goes on without", self._first, error)

    def _stop(self, steps: str) -> None:
        try:
            jax.profiler.stop_trace()
        except (OSError, RuntimeError) as error:
            _log.error("writing the trace of steps %s: %s. The run goes on without", steps, error)
            return
        # Each process traces itself, and it may be another than the first that was asked.
        runtime.say(f"process {peers.own()} has traced steps {steps}: tensorboard --logdir={self._folder}")

    def close(self) -> None:
        """Ends a trace that is under way; a second call does nothing."""
        if self._left:
            self._left = 0
            self._stop(f"from {self._first} on")
        if self._handles:
            signal.signal(SIGNAL, self._former)
            self._handles = False
