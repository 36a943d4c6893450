"""Records that cannot be used: counted by reason, told once each, and bounded by a budget."""

import collections
import dataclasses
import json
import os
import pathlib
import re
import threading
from collections.abc import Callable

from speechlm_jax import whole_files
from speechlm_jax.data import config


@dataclasses.dataclass(frozen=True)
class BadRecord:
    """One record that was skipped."""

    task: str
    id: str
    reason: str


class TooManyBadRecords(ValueError):
    """More records were bad than the run's budget allows."""


class File:
    """Writes each bad record as a line of JSON at the end of a file, as it is met; one that stands there already, from
    before a restart, is not written again."""

    def __init__(self, path: str | os.PathLike):
        path = pathlib.Path(path)
        content = path.read_text("utf-8", "replace") if path.exists() else ""
        self._lines = whole_files.Lines(path)
        self._written = {key for line in content.splitlines() if (key := _key_of(line)) is not None}

    def __call__(self, record: BadRecord) -> None:
        key = _key(record.task, record.id)
        if key in self._written:
            return
        self._written.add(key)
        self._lines.add(json.dumps(dataclasses.asdict(record)))


class Quarantine:
    """Counts what is read and what is skipped. Safe to share between threads; errors are raised by `check` alone.

    on_bad is told of each record once, however often it is met.
    """

    def __init__(self, budget: config.BadRecords, on_bad: Callable[[BadRecord], None] | None = None):
        self._budget, self._on_bad = budget, on_bad
        self._lock = threading.Lock()
        self._told: set[int] = set()
        self._spent = False
        self._read_of: collections.Counter[str] = collections.Counter()
        self._skipped_of: collections.Counter[str] = collections.Counter()
        self.records: list[BadRecord] = []
        """The first thousand different ones."""

    def add(self, task: str, record_id: str | bytes, reason: str) -> None:
        """Skips a record."""
        name = record_id.decode("utf-8", "replace") if isinstance(record_id, bytes) else str(record_id)
        record = BadRecord(task, name, reason)
        with self._lock:
            new = _key(task, name) not in self._told
            self._told.add(_key(task, name))
            self._skipped_of[task] += 1
            # A few that are met again in every pass are no more than a few, unless the task has little else.
            most = 2 * self._skipped_of[task] > (self._read_of[task] or self.read)
            many = most or len(self._told) > self._budget.grace
            share_spent = self.skipped > self._budget.max_share * self.read
            self._spent = self._spent or (self.skipped > self._budget.grace and many and share_spent)
            if new and len(self.records) < 1000:
                self.records.append(record)
        if new and self._on_bad:
            self._on_bad(record)

    def count_read(self, number: int = 1, *, task: str = "") -> None:
        """Counts records that were asked for. task: whose, where there may be several."""
        with self._lock:
            self._read_of[task] += number

    @property
    def read(self) -> int:
        """Records that were asked for."""
        return self._read_of.total()

    @property
    def skipped(self) -> int:
        """Records that were skipped, each as often as it was met."""
        return self._skipped_of.total()

    @property
    def different(self) -> int:
        """Records that were skipped, each once."""
        return len(self._told)

    @property
    def over_budget(self) -> bool:
        """Whether more was skipped than may be: once it was, for good. Readers stop at that, and one that stopped must
        not be forgotten because the others read on."""
        return self._spent

    def check(self) -> None:
        """Raises TooManyBadRecords when the budget is spent."""
        if not self.over_budget:
            return
        kinds = collections.defaultdict(list)
        for record in self.records:
            kinds[_SPECIFIC.sub("", record.reason)].append(record)
        commonest = sorted(kinds.values(), key=len, reverse=True)[:3]
        named = "; ".join(f"{len(alike)}x such as {alike[0].id}: {alike[0].reason}" for alike in commonest)
        too_large = any("Row." in alike[0].reason for alike in commonest)
        raise TooManyBadRecords(
            f"reading records: {self.skipped} of {self.read} could not be used, {self.different} different ones; the "
            f"budget is {self._budget.grace} and {self._budget.max_share:.1%}. Most often: {named}. "
            + ("`speechlm data --propose_row` says how much room is wanted; or mend" if too_large else "Mend")
            + " the data, or raise BadRecords.max_share."
        )


_SPECIFIC = re.compile(r"\S*[/\\]\S*|\d+(\.\d+)?")
"""What tells one reason from another of its kind: paths and numbers."""


def _key(task: str, record_id: str) -> int:
    """A number for a record, good within this process: millions of them may be kept."""
    return hash((task, record_id))


def _key_of(line: str) -> int | None:
    try:
        written = json.loads(line)
        return _key(written["task"], written["id"])
    except (ValueError, KeyError, TypeError):
        return None
