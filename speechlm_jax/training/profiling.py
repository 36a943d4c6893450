"""Traces of a run's steps for xprof, where TensorBoard finds them: of steps that the recipe names, and, of a run that
is going on, of the next ones once its processes get a signal."""

import contextlib
import pathlib
import signal
import threading
from collections.abc import Sequence
from typing import Any

import jax

from speechlm_jax import peers

SIGNAL = signal.SIGUSR1
"""`kill -USR1 PROCESS` asks for a trace of the next steps of that process."""


class Profiler:
    """Told of every step; traces `count` steps behind each of `after`, and when it is asked. Traces go to `folder`."""

    def __init__(self, folder: pathlib.Path, after: Sequence[int], count: int):
        self._folder, self._after, self._count = folder, frozenset(after), count
        self._asked, self._until, self._first = False, 0, 0
        self._former: Any = None
        # Elsewhere Python lets nobody handle a signal.
        self._handles = threading.current_thread() is threading.main_thread()
        if self._handles:
            self._former = signal.signal(SIGNAL, self._ask)

    def _ask(self, *_: Any) -> None:
        self._asked = True

    def step(self, done: int, metrics: Any) -> None:
        """So many steps are done, the last of them with these metrics."""
        if self._until and done >= self._until:
            jax.block_until_ready(metrics)
            self._stop(done)
        if not self._until and (self._asked or done in self._after):
            self._asked, self._first, self._until = False, done + 1, done + self._count
            jax.profiler.start_trace(str(self._folder))

    def _stop(self, done: int) -> None:
        self._until = 0
        jax.profiler.stop_trace()
        peers.say(f"traced steps {self._first} to {done}: tensorboard --logdir={self._folder}")

    def close(self) -> None:
        """Ends a trace that is under way; a second call does nothing."""
        if self._until:
            self._until = 0
            with contextlib.suppress(RuntimeError):
                jax.profiler.stop_trace()
        if self._handles:
            signal.signal(SIGNAL, self._former)
            self._handles = False
