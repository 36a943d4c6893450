"""Where in their work all processes of a run stop, once one of them is told to.

JAX has a service for it, which is turned off: it hears SIGTERM in C, so that a second one goes unheard, and has
processes stop at one step number above the last that they have asked about. One that goes on from step 100, and is told
before it asks, is to stop at 1; and orbax asks about numbers of its own.
"""

import itertools
import logging
import threading

from speechlm_jax import peers

_TOLD, _AT = "told_to_stop", "to_stop_after"
_POLL_SECONDS, _SOON_SECONDS = 1.0, 0.1
_groups = itertools.count()
_log = logging.getLogger(__name__)


class CommonStop:
    """The processes of a group ask `reached` at the same points of their work, if not at the same time, and are told
    yes at the same one.

    A process that learns of the notice says how often it has asked, and asks once more at most before it knows where
    the others are: they stop at the point behind the farthest. It learns of it in a thread, so that nobody waits for a
    process that is within a step.
    """

    def __init__(self) -> None:
        # A process may train more than once.
        number = next(_groups)
        self._told, self._at = f"{_TOLD}/{number}", f"{_AT}/{number}"
        self._asked = 0
        self._said: int | None = None
        self._last: int | None = None
        self._lock, self._known, self._closed = threading.Lock(), threading.Event(), threading.Event()
        self._own_notice = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="common stop")
        self._thread.start()

    def tell(self) -> None:
        """This process was told to stop. Waits for nothing."""
        self._own_notice.set()

    def reached(self) -> bool:
        """Whether this is the point to stop at."""
        with self._lock:
            self._asked += 1
            waits = self._said is not None
        if waits:
            self._known.wait()
        return self._asked == self._last

    def close(self) -> None:
        """This process asks no more."""
        self._closed.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._known.is_set():
            closed = self._closed.wait(_POLL_SECONDS if self._said is None else _SOON_SECONDS)
            try:
                self._agree(closed)
            except Exception as error:  # Of the service on the first process, which may be back the next time.
                _log.debug("agreeing on where to stop: %s", error)
            if closed:
                self._known.set()

    def _agree(self, closed: bool) -> None:
        if self._own_notice.is_set():
            peers.note(self._told, "")
        # One that asks no more says so as well: the others may still have to know.
        if self._said is None and not closed and not peers.notes(self._told):
            return
        with self._lock:
            self._said = self._asked if self._said is None else self._said
        peers.note(self._at, f"{self._said}")
        said = peers.notes(self._at)
        if len(said) == peers.count():
            self._last = 1 + max(map(int, said.values()))
            self._known.set()
