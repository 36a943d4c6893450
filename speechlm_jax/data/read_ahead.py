"""Iterators that work ahead in threads, and that end before the interpreter does."""

import atexit
import collections
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from typing import Any

_AHEAD_PER_THREAD = 8
_QUIET_SECONDS = 0.5
_PATIENCE_SECONDS = 10.0


def in_order(call: Callable[[Any], Any], arguments: Iterable[Any], threads: int) -> Iterator[Any]:
    """call(argument) of each argument, in order, worked out by threads that end with the iterator (0: by none)."""
    if threads == 0:
        yield from map(call, arguments)
        return
    own: set[int] = set()
    executor = futures.ThreadPoolExecutor(threads, "read", initializer=lambda: own.add(threading.get_ident()))
    pending: collections.deque = collections.deque()
    try:
        for argument in arguments:
            try:
                pending.append(executor.submit(call, argument))
            except RuntimeError:
                # The interpreter is ending, and begins no new work.
                return
            if len(pending) > _AHEAD_PER_THREAD * threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        # Whoever collects garbage may close it, one of these threads too, which cannot wait for itself.
        executor.shutdown(wait=threading.get_ident() not in own, cancel_futures=True)


def ends_in_time(make: Callable[[], Iterator[Any]]) -> Callable[[], Iterator[Any]]:
    """`make`, with iterators that stop when the interpreter ends.

    TensorFlow's threads pull on a generator dataset until its iterator is destroyed, which happens after the
    interpreter is gone; a thread that is in Python at that moment never comes back, and the process never ends.
    """

    def generate() -> Iterator[Any]:
        this, values = object(), make()
        try:
            while not _work.ending:
                _work.begin(this)
                try:
                    value = next(values)
                except StopIteration:
                    return
                finally:
                    _work.rest(this)
                yield value
        finally:
            _work.rest(this)

    return generate


class _Work:
    """Who is at work, and when somebody last was."""

    def __init__(self):
        self.ending = False
        self._busy: set[object] = set()
        self._last = -math.inf

    def begin(self, who: object) -> None:
        self._busy.add(who)

    def rest(self, who: object) -> None:
        self._busy.discard(who)
        self._last = time.monotonic()

    def end(self) -> None:
        """Lets nobody begin, and waits until all rest and TensorFlow's threads have had time to leave Python."""
        self.ending = True
        give_up = time.monotonic() + _PATIENCE_SECONDS
        while (now := time.monotonic()) < give_up and (self._busy or now < self._last + _QUIET_SECONDS):
            time.sleep(0.01)


_work = _Work()
atexit.register(_work.end)
