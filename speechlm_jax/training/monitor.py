"""What a run tells: metrics.jsonl and examples in its folder, trackers, and how far it is on the terminal."""

import collections
import json
import logging
import math
import os
import pathlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from speechlm_jax import batch, metrics, runtime, whole_files
from speechlm_jax.inference import shown
from speechlm_jax.training import kept_rows, metric_lines, trackers
from speechlm_jax.training import step as step_room

ROOM_FOR_EVENTS = 2**20
"""Bytes that a disk has left where trackers are told of numbers."""
ROOM_FOR_EXAMPLES = 2**28
"""Of recordings and pictures."""
_log = logging.getLogger(__name__)
COLLAPSED = 4.0
"""A codebook of which fewer codes than this are in use tells nothing."""


def summarise(
    steps: Sequence[step_room.Metrics],
    *,
    coefficients: Mapping[str, float],
    heads: Sequence[str],
    tasks: Sequence[str],
    seconds: float,
    data_wait_seconds: float = 0.0,
) -> dict[str, float]:
    """Names and numbers of the steps since the last line: weighted means of what they summed, rates and norms.

    'loss', 'loss/<head>', 'loss/<head>/<task>', 'share/<task>' of the examples, 'seconds/<task>' of speech and
    'tokens/<task>', 'gradient_norm', 'parameter_norm', 'learning_rate', 'skipped_steps', 'code_perplexity' (of the
    least used codebook) and 'code_perplexity/<codebook>', 'steps_per_second', 'audio_seconds_per_second' (useful ones),
    'tokens_per_second' (likewise), 'examples_per_second', 'data_wait_share' of the time.

    Args:
        heads, tasks: in the order of the sums' axes.
    """
    fetched = jax.device_get(list(steps))
    sums = total([one.sums for one in fetched])
    named = losses(sums, coefficients=coefficients, heads=heads, tasks=tasks)
    skipped = sum(int(one.skipped) for one in fetched)
    examples = sums.examples.sum()
    counted = max(len(fetched) - skipped, 1)
    frames_per_second = batch.SAMPLE_RATE / batch.HOP
    for place, task in enumerate(tasks):
        named[f"share/{task}"] = float(sums.examples[place] / examples) if examples else 0.0
        named[f"seconds/{task}"] = float(sums.audio_frames[place] / frames_per_second)
        named[f"tokens/{task}"] = float(sums.tokens[place])
    if sums.codes is not None and sums.codes.sum() > 0:
        used = [metrics.perplexity(counts) for counts in sums.codes]
        named["code_perplexity"] = min(used)
        named |= {f"code_perplexity/{place}": codes for place, codes in enumerate(used)}
    return named | {
        "gradient_norm": float(sum(float(one.gradient_norm) for one in fetched) / counted),
        "parameter_norm": max((float(one.parameter_norm) for one in fetched), default=0.0),
        "learning_rate": float(fetched[-1].learning_rate) if fetched else 0.0,
        "skipped_steps": float(skipped),
        "steps_per_second": len(fetched) / seconds,
        "audio_seconds_per_second": float(sums.audio_frames.sum()) / frames_per_second / seconds,
        "tokens_per_second": float(sums.tokens.sum()) / seconds,
        "examples_per_second": float(examples) / seconds,
        "data_wait_share": data_wait_seconds / seconds,
    }


def step_losses(
    steps: Sequence[step_room.Metrics], *, coefficients: Mapping[str, float], heads: Sequence[str]
) -> list[float]:
    """The loss of each step; NaN where nothing was learned in it, as in one that was skipped."""
    found = []
    for one in steps:
        totals, weights = (np.asarray(sums, np.float64).sum(axis=1) for sums in (one.sums.totals, one.sums.weights))
        parts = [coefficients[head] * totals[h] / weights[h] for h, head in enumerate(heads) if weights[h] > 0]
        found.append(sum(parts) if parts else math.nan)
    return found


class Spikes:
    """Steps whose loss stands far above those before it: by SPREADS times the median distance from the median. After
    LASTING in a row that is what is usual."""

    SPREADS = 12.0
    KEPT, NEEDED, LASTING = 128, 32, 16

    def __init__(self) -> None:
        self._usual: collections.deque[float] = collections.deque(maxlen=self.KEPT)
        self._in_a_row = 0

    def of(self, losses: Sequence[float], *, last: int) -> list[str]:
        """A line for each, such as "loss 9.1 at step 7, usually 2.3". losses: of the steps up to `last`."""
        told = []
        for step, loss in zip(range(last - len(losses) + 1, last + 1), losses, strict=True):
            if math.isnan(loss):
                continue
            if len(self._usual) >= self.NEEDED:
                usual = float(np.median(self._usual))
                spread = float(np.median(np.abs(np.asarray(self._usual) - usual)))
                if loss > usual + self.SPREADS * max(spread, 0.01 * abs(usual)):
                    told.append(f"loss {loss:.4g} at step {step}, usually {usual:.4g}")
                    self._in_a_row += 1
                    if self._in_a_row == self.LASTING:
                        self._usual.clear()
                    continue
            self._in_a_row = 0
            self._usual.append(loss)
        return told


class Remarks:
    """What of a run's lines of metrics is likely a mistake, each told once."""

    def __init__(self, heads: Sequence[str]):
        self._heads = ", ".join(heads)
        self._told, self._drawn, self._learned = set[str](), set[str](), set[str]()

    def of(self, numbers: Mapping[str, float]) -> list[str]:
        """What is new in this line. Raises ValueError where every task has been drawn, and nothing learned from."""
        shares = {name.removeprefix("share/"): share for name, share in numbers.items() if name.startswith("share/")}
        # A line may be of one step and one task, so it is the run that is looked at.
        self._drawn |= {task for task, share in shares.items() if share > 0}
        self._learned |= {name.split("/", 2)[2] for name in numbers if name.startswith("loss/") and name.count("/") > 1}
        idle = sorted(self._drawn - self._learned)
        mend = "Name the head of what it is to learn in Losses.coefficients"
        if idle and not self._learned and self._drawn >= shares.keys():
            raise ValueError(
                f"training on {', '.join(idle)}: wanted examples that a loss head reads, found none for "
                f"{self._heads}. {mend}."
            )
        found = [
            f"no example of {task} was read by a loss head ({self._heads}). {mend}, or leave the task out."
            for task in idle
        ]
        if 0 < numbers.get("code_perplexity", math.inf) < COLLAPSED:
            found.append(
                "of the codes of hidden speech few are in use. Is the speech silent, or are MaskedSpeech.codes too few?"
            )
        new = [remark for remark in found if remark not in self._told]
        self._told.update(new)
        return new


def total(sums: Sequence[step_room.Sums]) -> step_room.Sums:
    """The sums of several batches as one, in float64 and int64."""
    wide = [jax.tree.map(_wide, one) for one in jax.device_get(list(sums))]
    return jax.tree.map(lambda *values: np.sum(values, axis=0), *wide)


def _wide(value: Any) -> np.ndarray:
    value = np.asarray(value)
    return value.astype(np.int64 if value.dtype.kind == "i" else np.float64)


def losses(
    sums: step_room.Sums, *, coefficients: Mapping[str, float], heads: Sequence[str], tasks: Sequence[str]
) -> dict[str, float]:
    """'loss', 'loss/<head>' and 'loss/<head>/<task>': weighted means; a head or task without weight has no entry, and
    'loss' is NaN where none has."""
    if len(tasks) > sums.totals.shape[1]:
        raise ValueError(f"{len(tasks)} tasks do not fit in {sums.totals.shape[1]} slots. Set Recipe.task_slots.")
    named: dict[str, float] = {"loss": math.nan}
    weighed = [(h, head) for h, head in enumerate(heads) if sums.weights[h].sum() > 0]
    for h, head in weighed:
        named[f"loss/{head}"] = float(sums.totals[h].sum() / sums.weights[h].sum())
        for t, task in enumerate(tasks):
            if sums.weights[h, t] > 0:
                named[f"loss/{head}/{task}"] = float(sums.totals[h, t] / sums.weights[h, t])
    if weighed:
        named["loss"] = sum(coefficients[head] * named[f"loss/{head}"] for _, head in weighed)
    return named


class Monitor:
    """Where the numbers of a run go. Every process may call it; the first one writes."""

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        start: int,
        steps: int,
        open_trackers: Callable[[pathlib.Path], Sequence[trackers.Tracker]] = lambda folder: (),
    ):
        """
        Args:
            folder: the run's.
            start: steps done: lines of a former life of the run that tell of later ones are cut off.
            steps: of the whole run.
            open_trackers: gives what else is told, for the run's folder.
        """
        self.steps = steps
        self._lines: whole_files.Lines | None = None
        self._trackers: list[trackers.Tracker] = []
        self._bar: Any = None
        if jax.process_index() != 0:
            return
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / metric_lines.FILE
        self._open(start)
        # Those that write into the folder may wait for ever behind what found no room there.
        if shutil.disk_usage(folder).free >= ROOM_FOR_EVENTS:
            self._trackers += open_trackers(folder)
        else:
            _log.error(
                "telling trackers of the run: there is no room in %s. They are told nothing in this life", folder
            )
        if runtime.is_terminal():
            import tqdm

            self._bar = tqdm.tqdm(total=steps, initial=start, desc="training", unit=" steps", dynamic_ncols=True)

    def write(self, step: int, numbers: Mapping[str, float], *, kind: str = "train") -> None:
        """One line of metrics.jsonl, where what is not finite is null, and the trackers' '<kind>/<name>'.

        Args:
            step: steps done.
            kind: 'train', 'evaluation', 'rollback', or metric_lines.AGAIN.
        """
        if self._lines is None:
            return
        finite = {name: float(value) if math.isfinite(value) else None for name, value in numbers.items()}
        self._lines.add(json.dumps({"step": step, "kind": kind, **finite}, allow_nan=False))
        told = {f"{kind}/{name}": value for name, value in finite.items() if value is not None}
        self._track(lambda tracker: tracker.numbers(step, told))

    def examples(self, step: int, found: Sequence[shown.Shown]) -> None:
        """Those of an evaluation: in the run's folder, where they replace the ones before, and to the trackers."""
        if self._lines is None or not found:
            return
        self._keep(f"the examples of step {step}", shown.FILE, lambda path: shown.write(path, step, found))
        self._track(lambda tracker: tracker.examples(step, found), ROOM_FOR_EXAMPLES)

    def rows(self, rows: batch.Batch) -> None:
        """How a batch of this life is laid out."""
        if self._lines is None:
            return
        self._keep("how rows are laid out", kept_rows.FILE, lambda path: kept_rows.write(path, kept_rows.ids(rows)))

    def _keep(self, what: str, name: str, write: Callable[[pathlib.Path], None]) -> None:
        """In a file of the run's folder that only pages read."""
        try:
            write(self._path.with_name(name))
        except OSError as error:
            _log.error("keeping %s: %s. The run goes on without", what, error.strerror)

    def _track(self, tell: Callable[[trackers.Tracker], None], room: int = ROOM_FOR_EVENTS) -> None:
        for tracker in list(self._trackers):
            try:
                # TensorBoard's writer would stand still for ever behind an event that found no room.
                if shutil.disk_usage(self._path.parent).free >= room:
                    tell(tracker)
            except Exception as error:  # Of whatever kind a service has. Nothing that a run is for hangs on it.
                self._trackers.remove(tracker)
                _log.error("telling %s of the run: %s. It is told no more in this life", type(tracker).__name__, error)

    def go_back(self, step: int) -> None:
        """Cuts off the lines that tell of later steps."""
        if self._lines is None:
            return
        self._open(step)
        if self._bar is not None:
            self._bar.n = step
            self._bar.refresh()

    def _open(self, step: int) -> None:
        """Opens the file behind its lines until a step."""
        metric_lines.cut(self._path, step)
        self._lines = whole_files.Lines(self._path)

    def advance(self) -> None:
        """Counts a step on the terminal's bar."""
        if self._bar is not None:
            self._bar.update()

    def show(self, step: int, numbers: Mapping[str, float], saved: int | None = None) -> None:
        """What a person watches, from the numbers of `write`: beside the bar on a terminal, else a plain line.
        saved: the last checkpoint."""
        if self._lines is None:
            return
        parts = {
            "loss": f"{numbers['loss']:.4f}",
            "audio s/s": f"{numbers['audio_seconds_per_second']:.1f}",
            "tokens/s": f"{numbers['tokens_per_second']:.0f}",
            "waiting": f"{numbers['data_wait_share']:.0%}",
        }
        if "mfu" in numbers:
            parts["mfu"] = f"{numbers['mfu']:.1%}"
        if saved:
            parts["saved"] = f"{saved}"
        if numbers["skipped_steps"]:
            parts["skipped"] = f"{numbers['skipped_steps']:.0f}"
        if self._bar is not None:
            self._bar.set_postfix(parts)
            return
        parts["left"] = _clock((self.steps - step) / numbers["steps_per_second"])
        words = "  ".join(f"{name} {value}" for name, value in parts.items())
        runtime.say(f"step {step}/{self.steps}  {words}")

    def close(self) -> None:
        """Closes files and bar; a second call does nothing."""
        self._track(lambda tracker: tracker.close(), room=0)
        if self._bar is not None:
            self._bar.close()
        self._lines = self._bar = None
        self._trackers = []


def _clock(seconds: float) -> str:
    """'1:02:03'."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
