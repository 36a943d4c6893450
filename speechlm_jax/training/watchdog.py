"""A run that stands still is ended, and says where it stood: the stacks of every thread of every process."""

import contextlib
import faulthandler
import os
import pathlib
import sys
import threading
import time
from collections.abc import Iterator
from typing import IO

import jax

from speechlm_jax import endings, peers, runtime
from speechlm_jax.training import config, ledger

_POLL_SECONDS = 2.0
_STANDARD_ERROR = 2


class Watchdog:
    """Looks, from a thread of its own, at how long a run has been in its phase.

    with watchdog.Watchdog(recipe.watchdog, book, folder):
        ...

    Where that is longer than its limit, it writes the stacks of all threads to <folder>/stacks-<process>.txt, tells the
    other processes of the run, which write theirs, and ends the process with endings.STALLED.
    """

    def __init__(self, choices: config.Watchdog, book: ledger.Ledger, folder: str | os.PathLike[str]):
        self._choices, self._book = choices, book
        self._path = pathlib.Path(folder) / f"stacks-{peers.own()}.txt"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="watchdog")

    def __enter__(self) -> "Watchdog":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        faulthandler.cancel_dump_traceback_later()

    def limit(self) -> float:
        """Seconds that the present phase may take."""
        usual = self._book.usual_step()
        if self._book.phase not in ("step", "data_wait") or usual is None:
            return self._choices.other_seconds
        return max(self._choices.least_seconds, self._choices.multiple * usual)

    def _watch(self) -> None:
        before = None
        while not self._stop.wait(_POLL_SECONDS):
            phase, limit = self._book.phase, self.limit()
            waited = time.monotonic() - self._book.since
            # Where a library holds the interpreter, this thread stands still, too.
            faulthandler.dump_traceback_later(2 * limit, exit=True, file=_STANDARD_ERROR)
            if waited > limit:
                self._end(self._reason(phase, waited, limit), first=True)
            said = ""
            with contextlib.suppress(jax.errors.JaxRuntimeError):  # The first process has ended, which JAX tells.
                said = peers.stalled()
                if phase != before:
                    peers.tell(phase)
                    before = phase
            if said:
                self._end(f"{said} This process is at {phase} since {waited:.0f} s.", first=False)

    def _reason(self, phase: ledger.Phase, waited: float, limit: float) -> str:
        usual = self._book.usual_step()
        steps = "" if usual is None else f"; a step usually takes {usual:.3g} s"
        setting = "least_seconds and Watchdog.multiple" if limit != self._choices.other_seconds else "other_seconds"
        return (
            f"process {peers.own()} stands still at {phase}: since {waited:.0f} s, wanted {limit:.0f} s or less"
            f"{steps} (Watchdog.{setting})."
        )

    def _end(self, why: str, *, first: bool) -> None:
        with _file(self._path) as file:
            faulthandler.dump_traceback(file, all_threads=True)
        runtime.say(
            f"training: {why} Stacks of all threads: {self._path}. The same command goes on from what is saved."
        )
        if first and (others := sorted({*range(peers.count())} - {peers.own()})):
            with contextlib.suppress(jax.errors.JaxRuntimeError):
                peers.stall(why)
                runtime.say(f"training: the others: {peers.in_words(others)}")
        # The others must hear of it, through the service that the first process holds.
        time.sleep(_POLL_SECONDS * (2 if first else 1) + _POLL_SECONDS * (peers.own() == 0))
        sys.stderr.flush()
        os._exit(endings.STALLED)


@contextlib.contextmanager
def _file(path: pathlib.Path) -> Iterator[IO[str]]:
    """To write to; standard error where the disk is what stands still, or is full."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        opened = path.open("w", encoding="utf-8")
    except OSError:
        yield sys.stderr
        return
    with opened:
        yield opened
