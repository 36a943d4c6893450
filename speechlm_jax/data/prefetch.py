"""Making the next elements of an iterator in a thread, a few ahead."""

import logging
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

_logger = logging.getLogger(__name__)


class Prefetch:
    """Makes the next elements of an iterator in a thread. An error of the iterator is raised where it is taken."""

    PATIENCE_SECONDS = 10.0

    def __init__(self, source: Iterator[Any], depth: int, prepare: Callable[[Any], Any] = lambda element: element):
        self._queue: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(max(depth, 1))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._fill, args=(source, prepare), daemon=True, name="prefetch")
        self._thread.start()

    def _fill(self, source: Iterator[Any], prepare: Callable[[Any], Any]) -> None:
        try:
            for element in source:
                self._put((prepare(element), None))
                if self._stop.is_set():
                    return
            self._put((None, StopIteration()))
        except BaseException as error:
            self._put((None, error))

    def _put(self, entry: tuple[Any, BaseException | None]) -> None:
        while not self._stop.is_set():
            try:
                self._queue.put(entry, timeout=0.1)
            except queue.Full:
                continue
            return

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        element, error = self._queue.get()
        if error is not None:
            self._queue.put((None, error))
            raise error
        return element

    def is_ready(self) -> bool:
        """Whether `next` would not wait."""
        return not self._queue.empty()

    def check(self) -> None:
        """Raises the error that the thread has come upon, if there is no element before it. Waits for nothing."""
        with self._queue.mutex:
            error = self._queue.queue[0][1] if self._queue.queue else None
        if error is not None and not isinstance(error, StopIteration):
            raise error

    def close(self) -> None:
        """Stops the thread and waits for it; one that is still at work after `PATIENCE_SECONDS` is told to the log."""
        self._stop.set()
        self._thread.join(timeout=self.PATIENCE_SECONDS)
        if self._thread.is_alive():
            _logger.warning(
                "ending what makes batches ahead: its thread is still at work after %g seconds, and is left behind",
                self.PATIENCE_SECONDS,
            )
