"""Steps since the last line of metrics: what they told, and how long the device stood waiting for data."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from speechlm_jax import peers
from speechlm_jax.data import prefetch
from speechlm_jax.training import ledger, monitor, startup, step

_POLL_SECONDS = 0.001


def _is_ready(ahead: Iterator[Any]) -> bool:
    """Whether the next batch is there; not, where that is not known."""
    return isinstance(ahead, prefetch.Prefetch) and ahead.is_ready()


class Window:
    """Opened once for a run; `end` gives the line of metrics and begins the next window. The first step of all ends the
    start of the run, which is then told. Where the time goes is told to `book`, too. `clock` gives seconds."""

    def __init__(
        self, beginning: startup.Startup, book: ledger.Ledger, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._beginning, self._book = beginning, book
        self._clock = clock
        self._began = clock()
        self._metrics: list[step.Metrics] = []
        self._last: step.Metrics | None = None
        """Of the step that was added last, in this window or the one before: the device may still be at work on it."""
        self._unseen: step.Metrics | None = None
        self._started = False
        self._waited = 0.0
        self._spikes = monitor.Spikes()
        self.skipped = 0
        """Steps in a row that were skipped, up to the last one that was looked at."""
        self.broken = False
        """Whether the weights were not finite after it."""

    def fetch(self, ahead: Iterator[Any]) -> Any:
        """The next batch. What it comes too late counts as waiting: from where the device has finished the step before
        it."""
        while not self._is_idle() and not _is_ready(ahead):
            time.sleep(_POLL_SECONDS)
        asked = self._clock()
        self._book.enter("data_wait")
        element = next(ahead)
        if not self._started:
            self._beginning.end("first batch")
        self._book.enter("step")
        if self._started:
            self._waited += self._clock() - asked
        # `add` has waited for the step before the last, so that a device has the next one before it is done, and no
        # more. Processors that pretend to be devices may come to the collectives of both at once, and wait for ever.
        if jax.default_backend() == "cpu":
            self._finish()
        return element

    def add(self, metrics: step.Metrics) -> None:
        """Keeps the metrics of a step, which may not be finished, and looks at the step before."""
        if not self._started:
            jax.block_until_ready(metrics.skipped)
            self._beginning.end("first step")
            peers.say(self._beginning.text())
            self._started = True
        self.look()
        self._book.lap()
        self._metrics.append(metrics)
        self._last = self._unseen = metrics

    def look(self) -> None:
        """Looks at the last step, which is waited for."""
        if self._unseen is None:
            return
        skipped, norm = jax.device_get((self._unseen.skipped, self._unseen.parameter_norm))
        self.skipped = self.skipped + 1 if skipped else 0
        # Of a step that was skipped it is 0: the weights are those of the step before.
        self.broken = not np.isfinite(norm)
        self._unseen = None

    @property
    def unseen(self) -> int:
        """Steps that were added and not looked at yet: the last one, or none."""
        return int(self._unseen is not None)

    @contextlib.contextmanager
    def aside(self, phase: ledger.Phase) -> Iterator[None]:
        """What is done inside takes none of the window's time: an evaluation is no training."""
        self._finish()
        left = self._clock()
        try:
            with self._book.within(phase):
                yield
        finally:
            self._began += self._clock() - left

    def begin_again(self) -> None:
        """Forgets the steps of this window: the run has gone back behind them."""
        self._finish()
        self._began, self._metrics, self._waited = self._clock(), [], 0.0
        self._spikes = monitor.Spikes()
        self.skipped, self.broken = 0, False
        self._last = self._unseen = None

    def end(
        self, last: int, *, coefficients: Mapping[str, float], heads: Sequence[str], tasks: Sequence[str]
    ) -> dict[str, float]:
        """The window, up to step `last`, as names and numbers: those of `monitor.summarise`, and 'loss_spikes', which
        are told; the next one begins."""
        self._finish()
        now = self._clock()
        steps = jax.device_get(self._metrics)
        spikes = self._spikes.of(monitor.step_losses(steps, coefficients=coefficients, heads=heads), last=last)
        if spikes:
            peers.say(spikes[0] + (f", and {len(spikes) - 1} more since" if len(spikes) > 1 else ""))
        numbers = monitor.summarise(
            steps,
            coefficients=coefficients,
            heads=heads,
            tasks=tasks,
            seconds=now - self._began,
            data_wait_seconds=self._waited,
        )
        numbers["loss_spikes"] = float(len(spikes))
        self._began, self._metrics, self._waited = now, [], 0.0
        return numbers

    def _is_idle(self) -> bool:
        return self._last is None or self._last.skipped.is_ready()

    def _finish(self) -> None:
        """Returns when the device has finished the last step."""
        if self._last is not None:
            jax.block_until_ready(self._last.skipped)
