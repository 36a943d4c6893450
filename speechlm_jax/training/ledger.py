"""Where the time of a run goes: lines of ledger.jsonl, in which every second of a life belongs to one phase."""

import collections
import contextlib
import json
import pathlib
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple, get_args

from speechlm_jax import runtime, whole_files

FILE = "ledger.jsonl"
SECONDS_OF_A_LINE = 10.0
"""At most, while there are steps."""

Phase = Literal["start", "compile", "data_wait", "step", "save", "evaluation", "rollback", "end"]
PHASES: tuple[Phase, ...] = get_args(Phase)
MEANING = {
    "start": "libraries, tasks, and the state made or restored",
    "compile": "the step compiled",
    "data_wait": "the devices stood still for want of a batch",
    "step": "steps that the run stands on",
    "save": "what saves kept the run from; most of a save goes on beside it",
    "evaluation": "scores, and the gradient norm of each head",
    "rollback": "going back to a checkpoint",
    "end": "closing what was open",
    "lost": "steps that had to be done again",
    "restart": "from the last line of a life to the start of the next",
}
"""Of the phases, and of what `read` makes of them."""


class Ledger:
    """The time of one life of a run, from the start of its process on. What it says of the present may be asked from
    another thread. `clock` gives seconds, `began` is when the process began, by it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, began: float = runtime.BEGAN):
        self._clock, self._mark = clock, began
        self._began = self._written = time.time() - (clock() - began)
        self.phase: Phase = "start"
        self.since = began
        """When the phase began, by the clock."""
        self.stands: int | None = None
        """The step that the run stands at; None until it is known."""
        self._spent: dict[str, float] = {}
        self._laps: collections.deque[float] = collections.deque(maxlen=64)
        self._lap: float | None = None
        self._lines: whole_files.Lines | None = None

    def keep(self, folder: pathlib.Path) -> None:
        """From now on lines are written to a run's folder."""
        self._lines = whole_files.Lines(folder / FILE)

    def enter(self, phase: Phase) -> None:
        """From now on time belongs to `phase`; what passed belongs to the phase that ends."""
        now, before = self._clock(), self.phase
        self._spent[before] = self._spent.get(before, 0.0) + now - self._mark
        self._mark = self.since = now
        self.phase = phase

    @contextlib.contextmanager
    def within(self, phase: Phase) -> Iterator[None]:
        """Time in here belongs to `phase`, and then again to what it belonged to before. It may be long: a line of no
        time says that it begins, and one that it is over."""
        before = self.phase
        self.enter(phase)
        self._tell()
        try:
            yield
        finally:
            self.enter(before)
            self._tell()

    def lap(self) -> None:
        """A step was begun. A line is written now and then, so that of a life that is killed little is missing."""
        now = self._clock()
        if sum(self._spent.values()) + now - self._mark > SECONDS_OF_A_LINE:
            self.write()
        if self._lap is not None:
            self._laps.append(now - self._lap)
        self._lap = now

    def usual_step(self) -> float | None:
        """The median seconds from step to step, of the last ones; None before the second."""
        return statistics.median(list(self._laps)) if self._laps else None

    def write(self) -> None:
        """Writes the time since the last line; where that cannot be written, it is told."""
        self.enter(self.phase)
        until = self._written + sum(self._spent.values())
        self._write(until, self.stands, {phase: round(seconds, 4) for phase, seconds in self._spent.items()})
        self._written, self._spent = until, {}

    def _tell(self) -> None:
        """Which phase there is, of no time and no step: both belong to the next line."""
        self._write(self._written, None, {})

    def _write(self, until: float, step: int | None, seconds: Mapping[str, float]) -> None:
        line = {
            "life": round(self._began, 3),
            "from": round(self._written, 3),
            "to": round(until, 3),
            "step": step,
            "phase": self.phase,
            "seconds": seconds,
        }
        if self._lines is not None:
            self._lines.add(json.dumps(line))


class Report(NamedTuple):
    """What became of the time from a run's first start to its last line."""

    seconds: dict[str, float]
    """By the names of MEANING."""
    lives: int
    step: int
    """That the run stands at."""
    phase: str
    """That it was in when it wrote its last line; empty where that does not say so."""

    @property
    def wall(self) -> float:
        """All of it."""
        return sum(self.seconds.values())

    @property
    def goodput(self) -> float:
        """The share of the time that went into steps which the run stands on."""
        return self.seconds["step"] / self.wall if self.wall else 0.0


def read(folder: pathlib.Path) -> Report:
    """Raises ValueError where a run has no ledger, or lines that are none."""
    told = lines(folder)
    seconds: dict[str, float] = dict.fromkeys((*PHASES, "lost", "restart"), 0.0)
    stretches: list[tuple[int, int, float]] = []
    """(step before, step at the end, seconds of steps) of what the run still stands on."""
    until, stands = told[0]["from"], 0
    for line in told:
        seconds["restart"] += line["from"] - until
        for phase, spent in line["seconds"].items():
            seconds[phase] += spent
        # A life, or a way back, that stands at a former step has lost what was done since.
        # One that ended before it knew where it stands changes nothing.
        step = stands if line["step"] is None else line["step"]
        while stretches and stretches[-1][1] > step:
            first, last, spent = stretches.pop()
            left = max(step - first, 0) / (last - first)
            seconds["step"] -= (1 - left) * spent
            seconds["lost"] += (1 - left) * spent
            if left:
                stretches.append((first, step, left * spent))
        if step > stands:
            stretches.append((stands, step, line["seconds"].get("step", 0.0)))
        until, stands = line["to"], step
    return Report(seconds, len({line["life"] for line in told}), stands, told[-1].get("phase", ""))


def has_ended(folder: pathlib.Path) -> bool:
    """Whether the last life of a run has closed what it had open."""
    return (folder / FILE).exists() and "end" in lines(folder)[-1]["seconds"]


def lines(folder: pathlib.Path) -> list[dict[str, Any]]:
    """Those of a run's ledger; what a killed process left unfinished is none. Raises ValueError as `read` does."""
    path = folder / FILE
    try:
        texts = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise ValueError(f"reading where the time of a run went: there is no {path}. Name the run's folder.") from None
    found = []
    for number, text in enumerate(texts, 1):
        with contextlib.suppress(json.JSONDecodeError):
            line = json.loads(text)
            if not _is_line(line):
                raise ValueError(f"reading {path}: wanted lines of a ledger, found another in line {number}.")
            found.append(line)
    if not found:
        raise ValueError(f"reading {path}: wanted a line or more, found none. The run may not have begun yet.")
    return found


def _is_line(told: Any) -> bool:
    numbers = ("life", "from", "to")
    if not isinstance(told, dict) or not all(isinstance(told.get(name), int | float) for name in numbers):
        return False
    if not isinstance(told.get("step", ""), int | None):
        return False
    seconds = told.get("seconds")
    return (
        isinstance(seconds, dict)
        and not seconds.keys() - {*PHASES}
        and all(isinstance(value, int | float) for value in seconds.values())
    )
