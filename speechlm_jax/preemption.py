"""The notice to stop, SIGTERM or Ctrl-C, and what a run does about it: saves where it stands, and ends with a code of
its own."""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, NoReturn

from speechlm_jax import runtime

PREEMPTED, INTERRUPTED = 42, 130
"""Exit codes: to be started again, nothing that was saved is lost; stopped from the keyboard."""

_AGAIN_SECONDS = 1.0
"""A notice so soon after the first is the same one, which a scheduler and a shell may both have passed on."""


class Preempted(Exception):
    """The process was told to stop and has saved its state: the same command, started again, goes on from there."""


class Preemption:
    """While this is open, the notice to stop ends nothing by itself once there is something to save.

    with preemption.Preemption() as notice:
        train_step = compile()  # The notice ends the process on the spot, with PREEMPTED.
        notice.begin()
        for step in range(steps):
            with notice.at_once():
                batch = next(batches)
            state = train_step(state, batch)
            notice.check(step)

    A thread hears the notice, so that it is also heard while Python waits for a compiler or a disk; another one, a
    second or more after the first, ends the process on the spot. Checkpoints that are saved stay whole.

    Processes that joined a group stop at the same step, whichever of them is told; JAX agrees on it, and listens to
    SIGTERM itself. There Ctrl-C is passed on to it.
    """

    def __init__(self) -> None:
        self._told = self._at_once = self._begun = False
        self._heard_at: float | None = None
        self._alone = True
        self._former: dict[signal.Signals, Any] = {}
        self._closing = contextlib.ExitStack()

    def __enter__(self) -> "Preemption":
        import jax

        self._alone = not jax.distributed.is_initialized()
        # Only the main thread may set a handler.
        if threading.current_thread() is threading.main_thread():
            self._listen((signal.SIGTERM, signal.SIGINT) if self._alone else (signal.SIGINT,))
        return self

    def _listen(self, notices: tuple[signal.Signals, ...]) -> None:
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        former = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for notice in notices:
            self._former[notice] = signal.signal(notice, self._tell) or signal.SIG_DFL
        ear = threading.Thread(target=self._hear_all, args=(reader,), daemon=True, name="preemption")
        ear.start()
        # In the reverse order: the thread ends when nobody can write to it any more.
        self._closing.callback(os.close, reader)
        self._closing.callback(ear.join)
        self._closing.callback(os.close, writer)
        self._closing.callback(signal.set_wakeup_fd, former)
        for notice, handler in self._former.items():
            self._closing.callback(signal.signal, notice, handler)

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def begin(self) -> None:
        """From here on there is something to save, and the notice waits for `check` or `at_once`."""
        self._begun = True

    @property
    def age(self) -> float | None:
        """Seconds since this process was told, if it was."""
        return None if self._heard_at is None else time.monotonic() - self._heard_at

    def check(self, step: int) -> None:
        """Raises Preempted where the process is to stop; every process of a group asks once after every step."""
        from jax.experimental import multihost_utils

        # The second is False for a process alone.
        if self._told or multihost_utils.reached_preemption_sync_point(step):
            raise Preempted

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """For work that may take long and has nothing to lose: the notice ends it wherever it stands, by Preempted.
        A process of a group goes on until all can stop."""
        self._at_once = True
        try:
            if self._told:
                raise Preempted
            yield
        finally:
            self._at_once = False

    def _tell(self, *_: object) -> None:
        """What Python does in the main thread, as soon as it is there again."""
        if not self._alone:
            return
        self._told = True
        if self._at_once:
            self._at_once = False
            raise Preempted

    def _hear_all(self, reader: int) -> None:
        while number := os.read(reader, 1):
            if number[0] in self._former:
                self._hear(signal.Signals(number[0]))

    def _hear(self, notice: signal.Signals) -> None:
        first = self._heard_at is None
        if not first and (self.age or 0.0) < _AGAIN_SECONDS:
            return
        code = INTERRUPTED if notice == signal.SIGINT else PREEMPTED
        if not first:
            _leave(code, "told to stop again: ended where it stood; the checkpoints that were saved are whole.")
        self._heard_at = time.monotonic()
        if not self._alone:
            os.kill(os.getpid(), signal.SIGTERM)
        elif not self._begun:
            _leave(code, "told to stop before its first step: nothing is lost; the same command starts it again.")
        else:
            runtime.say("told to stop: the state is saved first; told again, it ends at once")


def _leave(code: int, message: str) -> NoReturn:
    """Ends the process from any thread, whatever the others wait for."""
    runtime.say(message)
    sys.stdout.flush()
    os._exit(code)
