"""Steps since the last line of metrics: what they told, and how long the device stood waiting for data."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax

from speechlm_jax import runtime
from speechlm_jax.training import monitor, startup, step


class Window:
    """Opened once for a run; `end` gives the line of metrics and begins the next window. The first step of all ends the
    start of the run, which is then told. `clock` gives seconds."""

    def __init__(self, beginning: startup.Startup, clock: Callable[[], float] = time.monotonic) -> None:
        self._beginning = beginning
        self._clock = clock
        self._began = clock()
        self._metrics: list[step.Metrics] = []
        self._last: step.Metrics | None = None
        """Of the step that was added last, in this window or the one before: the device may still be at work on it."""
        self._waited = 0.0
        self.skipped = 0
        """Steps in a row that were skipped, up to the one before the last that was added."""

    def fetch(self, ahead: Iterator[Any]) -> Any:
        """The next batch. Time counts as waiting when the device has finished the step before and stands still."""
        asked = self._clock()
        element = next(ahead)
        if self._last is None:
            self._beginning.end("first batch")
        if self._last is not None and self._last.skipped.is_ready():
            self._waited += self._clock() - asked
        # One step in flight is enough to keep a device busy, and bounds what is held in memory.
        self._finish()
        return element

    def add(self, metrics: step.Metrics) -> None:
        """Keeps the metrics of a step, which may not be finished."""
        if self._last is None:
            jax.block_until_ready(metrics.skipped)
            self._beginning.end("first step")
            runtime.say(self._beginning.text())
        else:
            self.skipped = self.skipped + 1 if int(self._last.skipped) else 0
        self._metrics.append(metrics)
        self._last = metrics

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """What is done inside takes none of the window's time: an evaluation is no training."""
        self._finish()
        left = self._clock()
        try:
            yield
        finally:
            self._began += self._clock() - left

    def end(self, *, coefficients: Mapping[str, float], heads: Sequence[str], tasks: Sequence[str]) -> dict[str, float]:
        """The window as names and numbers, see `monitor.summarise`; the next one begins."""
        self._finish()
        now = self._clock()
        numbers = monitor.summarise(
            self._metrics,
            coefficients=coefficients,
            heads=heads,
            tasks=tasks,
            seconds=now - self._began,
            data_wait_seconds=self._waited,
        )
        self._began, self._metrics, self._waited = now, [], 0.0
        return numbers

    def _finish(self) -> None:
        """Returns when the device has finished the last step."""
        if self._last is not None:
            jax.block_until_ready(self._last.skipped)
