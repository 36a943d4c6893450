"""A run that stands still is ended, and says where it stood: the stacks of every thread of every process."""

import contextlib
import faulthandler
import logging
import os
import pathlib
import threading
import time

import jax

from speechlm_jax import endings, peers, runtime
from speechlm_jax.training import config, ledger

_log = logging.getLogger(__name__)
_POLL_SECONDS = 2.0
_STANDARD_ERROR = 2


class Watchdog:
    """Looks, from a thread of its own, at how long a run has been in its phase.

    with watchdog.Watchdog(recipe.watchdog, book, folder):
        ...

    Where that is longer than its limit, it writes the stacks of all threads to <folder>/stacks-<process>.txt, or to
    standard error where the disk is what stands still, tells the other processes of the run, which write theirs, and
    ends the process with endings.STALLED. So it does, with the other's code, where another process ends by an error.
    Where not even Python's threads run any more, the stacks go to standard error after twice the time, and the process
    ends with code 1.
    """

    def __init__(self, choices: config.Watchdog, book: ledger.Ledger, folder: str | os.PathLike[str]):
        self._choices, self._book = choices, book
        self._path = pathlib.Path(folder) / f"stacks-{peers.own()}.txt"
        self._stop, self._ending = threading.Event(), threading.Lock()
        self._watching = threading.Thread(target=self._watch, daemon=True, name="watchdog")
        # Of its own: where the first process hangs, what it is asked has no answer.
        self._listening = threading.Thread(target=self._listen, daemon=True, name="watchdog of others")

    def __enter__(self) -> "Watchdog":
        self._watching.start()
        self._listening.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(jax.errors.JaxRuntimeError):
            if peers.own() == 0 and peers.count() > 1 and 0 in peers.ends():
                time.sleep(2 * _POLL_SECONDS)  # With the first process goes what the others hear of it by.
        self._stop.set()
        self._watching.join()
        self._listening.join(2 * _POLL_SECONDS)
        faulthandler.cancel_dump_traceback_later()

    def limit(self) -> tuple[float, str]:
        """Seconds that the present phase may take, and the settings that say so."""
        usual, choices = self._book.usual_step(), self._choices
        if self._book.phase not in ("step", "data_wait") or usual is None:
            return choices.other_seconds, "Watchdog.other_seconds"
        return max(choices.least_seconds, choices.multiple * usual), "Watchdog.least_seconds and Watchdog.multiple"

    def _watch(self) -> None:
        while not self._stop.wait(_POLL_SECONDS):
            phase, (limit, setting) = self._book.phase, self.limit()
            waited = time.monotonic() - self._book.since
            # Where a library holds the interpreter, this thread stands still, too.
            faulthandler.dump_traceback_later(2 * limit, exit=True, file=_STANDARD_ERROR)
            if waited > limit:
                self._end(endings.STALLED, self._reason(phase, waited, limit, setting), first=True)

    def _listen(self) -> None:
        told = None
        while not self._stop.wait(_POLL_SECONDS):
            phase, ends = self._book.phase, {}
            try:
                ends = peers.ends()
                if phase != told:
                    peers.tell(phase)
                    told = phase
            except Exception as error:  # Such as that the first process has ended, which JAX tells of.
                _log.debug("asking the other processes where they are: %s", error)
            # One that ends by itself has more to say than that another does.
            if ends and peers.own() not in ends and not self._stop.is_set():
                code, why = next(iter(ends.values()))
                waited = time.monotonic() - self._book.since
                self._end(code, f"{why} This process is at {phase} since {waited:.0f} s.", first=False)

    def _reason(self, phase: ledger.Phase, waited: float, limit: float, setting: str) -> str:
        usual = self._book.usual_step()
        steps = "" if usual is None else f"; a step usually takes {usual:.3g} s"
        return (
            f"process {peers.own()} stands still at {phase}: since {waited:.0f} s, wanted {limit:.0f} s or less"
            f"{steps} ({setting})."
        )

    def _end(self, code: int, why: str, *, first: bool) -> None:
        """Ends the process, whatever of the rest does not work any more."""
        if not self._ending.acquire(blocking=False):
            return
        try:
            again = " The same command goes on from what is saved." if code == endings.STALLED else ""
            runtime.say(f"training: {why} Stacks of all threads: {self._path}.{again}")
            # A disk may be what stands still.
            writing = threading.Thread(target=self._write_stacks, daemon=True)
            writing.start()
            if first and peers.count() > 1:
                telling = threading.Thread(target=_tell_others, args=(code, why), daemon=True)
                telling.start()
                telling.join(_POLL_SECONDS)
                if telling.is_alive():
                    runtime.say("training: process 0, by which the others are told and asked, does not answer.")
            writing.join(_POLL_SECONDS)
            if writing.is_alive():
                faulthandler.dump_traceback(_STANDARD_ERROR, all_threads=True)
            # The others must hear of it, through the service that the first process holds.
            time.sleep(_POLL_SECONDS * (2 if first else 1) + _POLL_SECONDS * (peers.own() == 0))
        finally:
            os._exit(code)

    def _write_stacks(self) -> None:
        written = 0
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("w", encoding="utf-8") as file:
                # It does not say that a disk is full.
                faulthandler.dump_traceback(file, all_threads=True)
            written = self._path.stat().st_size
        if not written:
            faulthandler.dump_traceback(_STANDARD_ERROR, all_threads=True)


def _tell_others(code: int, why: str) -> None:
    """That this process ends; and tells people where the others are."""
    with contextlib.suppress(jax.errors.JaxRuntimeError):
        peers.end(code, why)
        others = sorted({*range(peers.count())} - {peers.own()})
        runtime.say(f"training: the others: {peers.in_words(others)}")


def tell_of(error: BaseException) -> None:
    """Says to the other processes of a run that this one ends by an error; their watchdogs end them, with its code."""
    code, message = endings.judged(error)
    if code == endings.FAULT:  # Its message is the stack, which others do not see.
        message = f"{type(error).__name__}: {error}"
    with contextlib.suppress(jax.errors.JaxRuntimeError):
        peers.end(code, f"process {peers.own()} has ended: {message}")
