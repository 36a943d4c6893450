"""The notice to stop, SIGTERM or Ctrl-C, and what a run does about it: saves where it stands, and ends with a code of
its own."""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn

from speechlm_jax import runtime

if TYPE_CHECKING:
    from speechlm_jax import common_stop

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
        notice.check()
        for batch in batches:  # Within notice.at_once()
            state = train_step(state, batch)
            notice.check()

    A thread hears the notice, so that it is also heard while Python waits for a compiler or a disk; another one, a
    second or more after the first, ends the process on the spot. Checkpoints that are saved stay whole.

    Processes that joined a group stop at the same check, whichever of them is told.
    """

    def __init__(self) -> None:
        self._told = self._at_once = self._begun = False
        self._heard_at: float | None = None
        self._common: common_stop.CommonStop | None = None
        self._former: dict[signal.Signals, Any] = {}
        self._closing = contextlib.ExitStack()

    def __enter__(self) -> "Preemption":
        from speechlm_jax import common_stop, peers

        if peers.count() > 1:
            self._common = common_stop.CommonStop()
            self._closing.callback(self._common.close)
        # Only the main thread may set a handler.
        if threading.current_thread() is threading.main_thread():
            self._listen()
        return self

    def _listen(self) -> None:
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        former = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for notice in (signal.SIGTERM, signal.SIGINT):
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

    def check(self) -> None:
        """Raises Preempted where the process is to stop; every process of a group asks at the same points."""
        if self._told if self._common is None else self._common.reached():
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
        if self._common is not None:
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
        if self._common is not None:
            self._common.tell()
            runtime.say("told to stop: all processes of the run stop at one step; told again, this one ends at once")
        elif not self._begun:
            _leave(code, "told to stop before its first step: nothing is lost; the same command starts it again.")
        else:
            runtime.say("told to stop: the state is saved first; told again, it ends at once")


def _leave(code: int, message: str) -> NoReturn:
    """Ends the process from any thread, whatever the others wait for."""
    runtime.say(message)
    sys.stdout.flush()
    os._exit(code)
