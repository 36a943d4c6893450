"""A run under way: its state step by step, and what is told, saved and scored of it, and done about what goes wrong."""

import json
import math
import pathlib
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from speechlm_jax import batch, checkpoint_retention, checkpoints, peers, whole_files
from speechlm_jax.data import chain, stream_position
from speechlm_jax.training import config, feeds, ledger, metric_lines, monitor, profiling, program, state, window


class Parts(NamedTuple):
    """What a run works with; all of it is open while it goes on."""

    recipe: config.Recipe
    text: str
    """The recipe as gin read it."""
    program: program.Program
    vocabulary: str
    """Its hash."""
    fingerprint: dict[str, Any]
    """What the order of the batches depends on."""
    source: feeds.Source
    saved: checkpoints.Folder
    writer: monitor.Monitor
    profiler: profiling.Profiler
    line: window.Window
    book: ledger.Ledger
    train_step: Callable[[state.TrainState, batch.Batch], tuple[state.TrainState, Any]]
    evaluate: Callable[[Any, Callable[[], None]], dict[str, Any]]
    """(parameters, what is called between batches) -> scores by task."""
    links: chain.Log | None
    """Where the hash of each batch is written."""
    best: checkpoint_retention.Best | None
    """What is to know the scores of checkpoints."""


class Position(NamedTuple):
    """Where the data of a run stand, and what brought it there."""

    shards: stream_position.State | None = None
    """None: at the beginning."""
    passed: int = 0
    """Batches that were passed over by going back."""
    retreats: int = 0
    """How often the run went back."""


ROLLBACK = "rollback.json"
"""The file of a run's folder that tells of the last time it went back: the step, and where the data stand since."""


def position_after(folder: pathlib.Path, restored: checkpoints.Restored) -> Position:
    """Where the data of a run stand that goes on from a checkpoint: what it says, unless the run went back to it.
    Raises ValueError where ROLLBACK is none."""
    stream, path = restored.stream, folder / ROLLBACK
    if path.exists():
        try:
            told = json.loads(whole_files.read_text(path))
            if told["step"] == restored.step:
                return Position(told["shards"], int(told["passed"]), int(told["retreats"]))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"going on from step {restored.step}: {path} is damaged ({error}). Without it the run meets the "
                "batches again that it went back from: remove it, if that is what is wanted."
            ) from None
    return Position(stream["shards"], stream.get("passed", 0), stream.get("retreats", 0))


class Course:
    """Where a run stands: the state after `done` steps, and the data after `read` batches."""

    def __init__(self, parts: Parts, now: state.TrainState, position: Position):
        self._parts, self._position = parts, position
        self._now: Any = now
        self.done = self.first = int(now.step)
        """Steps that are done; and those that were when this life began, or that it went back to."""
        self.scores: dict[str, Any] = {}
        """By task, of the last evaluation."""
        parts.book.stands = self.done
        self._has_told = False
        self._remarks = monitor.Remarks(list(parts.program.heads))

    @property
    def read(self) -> int:
        """Batches that were taken, from the beginning of the run on; it never falls."""
        return self.done + self._position.passed

    def step(self, rows: batch.Batch, shards_after: stream_position.State) -> None:
        """Trains on a batch."""
        parts = self._parts
        self._now, metrics = parts.train_step(self._now, rows)
        self.done, self._position = self.done + 1, self._position._replace(shards=shards_after)
        parts.book.stands = self.done
        if parts.links is not None:
            parts.links.write(self.read, shards_after)
        parts.saved.tend()
        parts.line.add(metrics)
        parts.writer.advance()
        parts.profiler.step(self.done, metrics)

    def goes_wrong(self, *, now: bool) -> bool:
        """Whether weights are not finite, or so many steps in a row change nothing that others will not, either. now:
        waits for the last step, which else is looked at when the next one is under way."""
        if now and not self._is_wrong():
            self._parts.line.look()
        return self._is_wrong()

    @property
    def is_idle(self) -> bool:
        """Whether the last two steps changed nothing: such a state is not worth a checkpoint, for which one would go
        that the run may have to go back to."""
        return self._parts.line.skipped > 1

    def _is_wrong(self) -> bool:
        line = self._parts.line
        return line.broken or line.skipped >= self._parts.recipe.max_skipped_steps

    def tell(self, rows: batch.Batch) -> None:
        """A line of metrics of the steps since the last one. `rows`: the last batch."""
        parts = self._parts
        made, every = parts.program, parts.recipe.gradient_norms_every
        numbers = parts.line.end(
            self.done, coefficients=made.coefficients, heads=list(made.heads), tasks=parts.source.tasks
        )
        numbers |= made.utilisation(numbers["steps_per_second"])
        numbers["bad_records"] = float(peers.sum_over_all(parts.source.bad_records.skipped))
        if every and self.done % every == 0:
            with parts.line.aside("evaluation"):
                norms = jax.device_get(made.gradient_norms(self._now, rows))
            numbers |= {f"gradient_norm/{head}": float(norm) for head, norm in norms.items()}
        for remark in self._remarks.of(numbers):
            peers.say(f"step {self.done}: {remark}")
        parts.writer.write(self.done, numbers)
        if not self._has_told:
            parts.writer.rows(rows)
        self._has_told = True
        parts.writer.show(self.done, numbers, parts.saved.published)
        parts.book.write()

    def save(self) -> None:
        """Saves where the run stands, in the background. Raises as `checkpoints.Folder.save` does. Weights that are not
        finite are not to be saved: ask whether it `goes_wrong` first."""
        parts = self._parts
        with parts.book.within("save"):
            stands = self._position._replace(shards=_gather(self._position.shards))
            assert stands.shards is not None  # There was a step.
            meta = {**parts.program.meta(parts.vocabulary, parts.text), "batches": chain.of_all(stands.shards)}
            stream = {"fingerprint": parts.fingerprint, **stands._asdict()}
            parts.saved.save(self.done, self._now, stream=stream, meta=meta)

    def begin_evaluation_again(self) -> None:
        """Notes that what was cut off is begun again, as it will not be a third time."""
        self._parts.writer.write(self.done, {}, kind=metric_lines.AGAIN)

    def score(self, *, on: Collection[str], split: str, between: Callable[[], None]) -> None:
        """Evaluates, and tells the scores. `between` is called before every batch."""
        parts = self._parts
        peers.say(f"evaluating {', '.join(on)} on {split}")
        with parts.line.aside("evaluation"):
            self.scores = parts.evaluate(state.evaluation_params(self._now), between)
            examples = [one for found in self.scores.values() for one in found.pop("shown", ())]
            parts.writer.examples(self.done, examples)
        numbers = _numbers(self.scores)
        _tell_scores(parts.writer, self.done, self.scores, numbers)
        if parts.best is not None:
            name = parts.recipe.checkpoints.keep_best
            if math.isfinite(numbers.get(name, math.nan)):
                parts.best.scores[self.done] = numbers[name]
            else:
                told = ", ".join(sorted(numbers)) or "none"
                peers.say(f"  Checkpoints.keep_best: step {self.done} has no score '{name}', but {told}")

    def go_back(self) -> None:
        """To the last good checkpoint before what went wrong; the batches since then are passed over. Raises ValueError
        where there is none, or the run has gone back too often."""
        parts, line = self._parts, self._parts.line
        seen = self.done - line.unseen
        first = seen if line.broken else seen - line.skipped + 1
        unusual, raised = "", "Recipe.max_skipped_steps or Recipe.max_rollbacks"
        if parts.recipe.optimizer.skip_above is not None:
            unusual, raised = ", or far above the usual,", f"Optimizer.skip_above, {raised}"
        what = (
            f"the norm of the weights is not finite after step {first}"
            if line.broken
            else f"the loss or a gradient was not finite{unusual} in {line.skipped} steps in a row, from step {first} "
            "on"
        )
        mend = f"Lower Schedule.peak or Optimizer.clip_norm, look into the data, or raise {raised}."
        before = self._position.retreats
        if before >= parts.recipe.max_rollbacks:
            raise ValueError(f"training: {what}, and the run has gone back {before} times before. {mend}")
        left = self.done
        parts.book.write()
        self._now = None  # Two states may not fit.
        with line.aside("rollback"):
            try:
                restored = parts.saved.restore_before(parts.program.plan, first, vocabulary=parts.vocabulary)
            except ValueError as error:
                raise ValueError(f"training: {what}; {str(error).rstrip('.')}. {mend}") from error
            self._now, self.done = restored.state, restored.step
            self._position = Position(
                self._position.shards, self._position.passed + left - self.done, retreats=before + 1
            )
            self._remember()
            # A damaged one between the two was not restored, and would keep its name from being saved again.
            parts.saved.undo(self.done + 1)
        self.first = min(self.first, self.done)
        line.begin_again()
        if parts.best is not None:
            parts.best.forget(after=self.done)
        parts.writer.go_back(self.done)
        parts.writer.write(self.done, {"from": left, "retreats": before + 1}, kind="rollback")
        parts.book.stands = self.done
        parts.book.write()
        peers.say(
            f"step {left}: {what}. The run goes back to step {self.done}, and on with other batches than the "
            f"{left - self.done} since then ({before + 1} of {parts.recipe.max_rollbacks} times)."
        )

    def _remember(self) -> None:
        """Has a life that begins before the next save pass over what this one did."""
        told = self._position._replace(shards=_gather(self._position.shards))._asdict()
        if jax.process_index() == 0:
            whole_files.write_json(pathlib.Path(self._parts.recipe.run_dir) / ROLLBACK, {"step": self.done, **told})


def _gather(shards: stream_position.State | None) -> stream_position.State | None:
    """The state of all data shards, from the processes that hold them."""
    if shards is None or jax.process_count() == 1:
        return shards
    text = np.frombuffer(json.dumps(shards).encode(), np.uint8)
    sizes = peers.gathered(np.array(len(text)))
    padded = np.zeros(int(sizes.max()), np.uint8)
    padded[: len(text)] = text
    texts = peers.gathered(padded)
    merged: stream_position.State = {}
    for row, size in zip(texts, sizes, strict=True):
        merged |= json.loads(row[: int(size)].tobytes())
    return merged


def _numbers(scores: Mapping[str, Any]) -> dict[str, float]:
    """'<task>/<score>' -> what it is."""
    return {
        f"{task}/{name}": value
        for task, found in scores.items()
        for name, value in found.items()
        if isinstance(value, (int, float))
    }


def _tell_scores(writer: monitor.Monitor, step: int, scores: Mapping[str, Any], numbers: Mapping[str, float]) -> None:
    writer.write(step, numbers, kind="evaluation")
    for name, value in numbers.items():
        peers.say(f"  evaluation at step {step}: {name} {value:.4g}")
    for task, found in scores.items():
        if "not_scored" in found:
            peers.say(f"  evaluation at step {step}: {task} is not scored: {found['not_scored']}")
