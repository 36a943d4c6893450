"""Iterators that work ahead in threads, and that end before the interpreter does."""

import atexit
import collections
import functools
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from typing import Any

_AHEAD_PER_THREAD = 8
_QUIET_SECONDS = 0.2
_PATIENCE_SECONDS = 10.0

_ending = threading.Event()
_started: set[object] = set()
_busy: set[object] = set()
_steps = collections.Counter[str]()


def in_order(call: Callable[[Any], Any], arguments: Iterable[Any], threads: int) -> Iterator[Any]:
    """call(argument) of each argument, in order, worked out by threads that end with the iterator (0: by none)."""
    if threads == 0:
        yield from map(call, arguments)
        return
    executor = futures.ThreadPoolExecutor(threads, thread_name_prefix="read")
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
        executor.shutdown(wait=True, cancel_futures=True)


def ends_in_time(make: Callable[[], Iterator[Any]]) -> Callable[[], Iterator[Any]]:
    """`make`, with iterators that stop when the interpreter ends.

    TensorFlow's threads pull on a generator dataset until its iterator is destroyed, which happens after the
    interpreter is gone; a thread that is in Python at that moment never comes back, and the process never ends.
    """

    def generate() -> Iterator[Any]:
        this = object()
        values = make()
        _started.add(this)
        try:
            while not _ending.is_set():
                _busy.add(this)
                _steps["taken"] += 1
                try:
                    value = next(values)
                except StopIteration:
                    return
                finally:
                    _busy.discard(this)
                yield value
        finally:
            _started.discard(this)

    return functools.wraps(make)(generate)


def _end() -> None:
    """Ends all iterators, and waits until nobody is at work in one."""
    _ending.set()
    give_up = time.monotonic() + _PATIENCE_SECONDS
    quiet_since, seen = time.monotonic(), -1
    while _started and time.monotonic() < give_up:
        if _busy or _steps["taken"] != seen:
            quiet_since, seen = time.monotonic(), _steps["taken"]
        elif time.monotonic() - quiet_since > _QUIET_SECONDS:
            return
        time.sleep(0.01)


atexit.register(_end)
