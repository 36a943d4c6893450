"""Records that cannot be used: counted by reason, told once each, and bounded by a budget."""

import collections
import dataclasses
import threading
from collections.abc import Callable

from speechlm_jax.data import config


@dataclasses.dataclass(frozen=True)
class BadRecord:
    """One record that was skipped."""

    task: str
    id: str
    reason: str


class TooManyBadRecords(ValueError):
    """More records were bad than the run's budget allows."""


class Quarantine:
    """Counts what is read and what is skipped. Safe to share between threads; errors are raised by `check` alone."""

    def __init__(self, budget: config.BadRecords, on_bad: Callable[[BadRecord], None] | None = None):
        self._budget, self._on_bad = budget, on_bad
        self._lock = threading.Lock()
        self._told: set[tuple[str, str]] = set()
        self.read = 0
        self.skipped = 0
        self.records: list[BadRecord] = []
        """The first thousand different ones."""

    def add(self, task: str, record_id: str | bytes, reason: str) -> None:
        """Skips a record."""
        name = record_id.decode("utf-8", "replace") if isinstance(record_id, bytes) else str(record_id)
        record = BadRecord(task, name, reason)
        with self._lock:
            self.skipped += 1
            new = (task, name) not in self._told
            if new and len(self._told) < 1000:
                self._told.add((task, name))
                self.records.append(record)
        if new and self._on_bad:
            self._on_bad(record)

    def count_read(self, number: int = 1) -> None:
        """Counts records that were asked for."""
        with self._lock:
            self.read += number

    @property
    def over_budget(self) -> bool:
        """Whether more was skipped than may be."""
        with self._lock:
            return self.skipped > self._budget.grace and self.skipped > self._budget.max_share * self.read

    def check(self) -> None:
        """Raises TooManyBadRecords when the budget is spent."""
        if not self.over_budget:
            return
        reasons = collections.Counter(record.reason for record in self.records).most_common(3)
        named = "; ".join(
            f"{count}x {reason} (such as {next(r.id for r in self.records if r.reason == reason)})"
            for reason, count in reasons
        )
        raise TooManyBadRecords(
            f"reading records: {self.skipped} of {self.read} could not be used, the budget is {self._budget.grace} and "
            f"{self._budget.max_share:.1%}. Most often: {named}. Mend the data, or raise BadRecords.max_share."
        )
