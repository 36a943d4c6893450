"""The training loop: what happens in a run, in the order in which it happens."""

import json
import os
import pathlib
import shutil
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import seqio
from jax.experimental import multihost_utils

from speechlm_jax import checkpoints, low_rank, runtime, sharding, vocabulary
from speechlm_jax.data import pipeline, prefetch, quarantine, registration, stream
from speechlm_jax.inference import evaluation
from speechlm_jax.training import config, monitor, program, state


def train(recipe: config.Recipe, config_text: str = "") -> dict[str, Any]:
    """Trains until Recipe.steps; returns the scores of the last evaluation and the run's figures. See `train.run`."""
    started = time.monotonic()
    run = _open(recipe, config_text)
    now, shards, done = run.state, run.shards, int(run.state.step)
    if done >= recipe.steps:
        runtime.say(f"{run.folder} has done its {done} steps; Recipe.steps = {recipe.steps}.")
    source = _source(recipe, run)
    ahead = prefetch.Prefetch(
        source,
        recipe.data.stream.prefetch,
        lambda made: (sharding.global_batch(run.made.mesh, made.batch), made.state),
    )
    # The first batches are read while the step is compiled.
    train_step = run.made.compile()
    evaluate = _evaluation(recipe, run)
    writer = monitor.Monitor(run.folder, start=done, steps=recipe.steps)
    window, scores = _Window(), {}
    try:
        for step in range(done + 1, recipe.steps + 1):
            rows, shards = window.fetch(ahead)
            now, metrics = train_step(now, rows)
            window.add(metrics)
            writer.advance()
            last = step == recipe.steps
            if last or step % recipe.log_every == 0:
                numbers = window.numbers(run.made, source)
                writer.write(step, numbers)
                writer.show(step, numbers)
                window = _Window()
            if recipe.evaluation is not None and (last or step % recipe.evaluation.every == 0):
                scores = evaluate(state.evaluation_params(now))
                _tell(writer, step, scores)
                window = _Window()
            if last or step % recipe.checkpoints.every == 0:
                position = {"fingerprint": run.fingerprint, "shards": _gather(shards)}
                run.saved.save(step, now, stream=position, meta=run.made.meta(run.words.hash, config_text))
        run.saved.wait()
    finally:
        for part in (source, ahead, writer, run.saved):
            part.close()
    return {"scores": scores, "seconds": time.monotonic() - started, "skipped": source.bad_records.skipped}


class _Run(NamedTuple):
    """A run before its first step of this life."""

    folder: pathlib.Path
    words: vocabulary.Vocabulary
    made: program.Program
    saved: checkpoints.Folder
    fingerprint: dict[str, Any]
    """What the order of the data depends on."""
    state: state.TrainState
    shards: stream.State | None
    """Where the data stand; None at the beginning."""


def _open(recipe: config.Recipe, config_text: str) -> _Run:
    """The run's folder, program, and state: the first one, or that of the last checkpoint."""
    words = _vocabulary_of(recipe)
    folder = _open_folder(recipe, words, config_text)
    registration.register(recipe.data)
    tasks, _ = pipeline.tasks_and_rates(recipe.data.stream.mixture, recipe.data.stream.split)
    if len(tasks) > recipe.task_slots:
        raise ValueError(
            f"training on {len(tasks)} tasks: Recipe.task_slots = {recipe.task_slots} has no room for them."
        )
    fingerprint = stream.fingerprint(
        recipe.data.stream, recipe.data.row, rows=recipe.data.rows, seed=recipe.seed, vocabulary=words.hash
    )
    made = program.Program(recipe)
    saved = checkpoints.Folder(folder, keep=recipe.checkpoints.keep)
    if saved.latest() is None:
        return _Run(folder, words, made, saved, fingerprint, made.first_state(words.hash), None)
    restored = saved.restore(made.plan, vocabulary=words.hash)
    stream.check_fingerprint(restored.stream["fingerprint"], fingerprint)
    runtime.say(f"going on from step {restored.step} of {folder}")
    return _Run(folder, words, made, saved, fingerprint, restored.state, restored.stream["shards"])


def _source(recipe: config.Recipe, run: _Run) -> stream.Stream:
    return stream.Stream(
        recipe.data.stream,
        recipe.data.row,
        rows=recipe.data.rows,
        seed=recipe.seed,
        shards=_shards_here(run.made, recipe),
        state=run.shards,
        on_bad=_BadRecords(run.folder),
    )


class _Window:
    """Steps since the last line of metrics: what they told, and how long they stood waiting for data."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._metrics: list[Any] = []
        self.waited = 0.0

    def fetch(self, ahead: prefetch.Prefetch) -> Any:
        """The next batch. Time counts as waiting when the device has finished the step before and stands still."""
        asked = time.monotonic()
        element = next(ahead)
        if self._metrics and self._metrics[-1].skipped.is_ready():
            self.waited += time.monotonic() - asked
        elif self._metrics:
            # One step in flight is enough to keep a device busy, and bounds what is held in memory.
            jax.block_until_ready(self._metrics[-1].skipped)
        return element

    def add(self, metrics: Any) -> None:
        """Keeps the metrics of a step."""
        self._metrics.append(metrics)

    def numbers(self, made: program.Program, source: stream.Stream) -> dict[str, float]:
        """The window as names and numbers."""
        jax.block_until_ready(self._metrics[-1].skipped)
        seconds = time.monotonic() - self._began
        numbers = monitor.summarise(
            self._metrics,
            coefficients=made.coefficients,
            heads=list(made.heads),
            tasks=source.tasks,
            seconds=seconds,
            data_wait_seconds=self.waited,
        )
        return numbers | {"bad_records": float(source.bad_records.skipped)}


class _BadRecords:
    """Writes each bad record into bad_records.jsonl of the run's folder, as it is met."""

    def __init__(self, folder: pathlib.Path):
        self._path = folder / f"bad_records{f'-{jax.process_index()}' if jax.process_index() else ''}.jsonl"

    def __call__(self, record: quarantine.BadRecord) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"task": record.task, "id": record.id, "reason": record.reason}) + "\n")


def _vocabulary_of(recipe: config.Recipe) -> vocabulary.Vocabulary:
    words = vocabulary.Vocabulary.load(recipe.data.vocabulary)
    if words.size > recipe.model.vocabulary_size:
        raise ValueError(
            f"matching the model to its vocabulary: '{words.path}' has {words.size} pieces, the model has room for "
            f"{recipe.model.vocabulary_size}. Set Model.vocabulary_size = {words.padded_size}."
        )
    return words


def _open_folder(recipe: config.Recipe, words: vocabulary.Vocabulary, config_text: str) -> pathlib.Path:
    """The run's folder, with the recipe and the vocabulary in it."""
    if not recipe.run_dir:
        raise ValueError("starting a run: wanted a folder for it, found none. Set Recipe.run_dir.")
    folder = pathlib.Path(recipe.run_dir)
    folder.mkdir(parents=True, exist_ok=True)
    if jax.process_index() == 0:
        (folder / "recipe.gin").write_text(config_text, encoding="utf-8")
        kept = folder / vocabulary.FILE
        if kept.exists():
            vocabulary.check_same(vocabulary.Vocabulary.load(kept).hash, words, f"the run in {folder}")
        else:
            temporary = kept.with_suffix(f".{os.getpid()}")
            shutil.copyfile(recipe.data.vocabulary, temporary)
            temporary.replace(kept)
    return folder


def _shards_here(made: program.Program, recipe: config.Recipe) -> list[int]:
    """The data shards whose rows this process feeds."""
    rows_per_shard = max(recipe.data.rows // recipe.data.stream.data_shards, 1)
    rows = sharding.local_rows(made.mesh, recipe.data.rows)
    shards = sorted({int(row) // rows_per_shard for row in rows})
    if len(shards) * rows_per_shard != len(rows):
        raise ValueError(
            f"dealing {recipe.data.stream.data_shards} data shards to {jax.process_count()} processes: a process feeds "
            f"{len(rows)} rows, which is no whole number of shards of {rows_per_shard}. Set Stream.data_shards."
        )
    return shards


def _gather(shards: stream.State) -> stream.State:
    """The state of all data shards, from the processes that hold them."""
    if jax.process_count() == 1:
        return shards
    text = np.frombuffer(json.dumps(shards).encode(), np.uint8)
    sizes = multihost_utils.process_allgather(np.array([len(text)]))
    padded = np.zeros(int(sizes.max()), np.uint8)
    padded[: len(text)] = text
    texts = multihost_utils.process_allgather(padded)
    merged: stream.State = {}
    for row, size in zip(texts, sizes.reshape(-1), strict=True):
        merged |= json.loads(row[: int(size)].tobytes())
    return merged


def _evaluation(recipe: config.Recipe, run: _Run) -> Callable[[Any], dict[str, Any]]:
    """The function (parameters) -> scores by task, of those that have the split."""
    choices = recipe.evaluation
    if choices is None:
        return lambda params: {}
    evaluator = evaluation.Evaluator(
        run.made.graphdef,
        vocabulary=run.words,
        data=recipe.data,
        mesh=run.made.mesh,
        heads=run.made.heads,
        decode_steps=choices.decode_steps,
    )
    names = choices.tasks or (recipe.data.stream.mixture,)
    tasks = {task.name: task for name in names for task in seqio.get_subtasks(pipeline.find(name))}
    merge = jax.jit(low_rank.merge)

    def scores(params: Any) -> dict[str, Any]:
        merged = merge(params)
        return {
            name: evaluator.score(merged, task, choices.split, limit=choices.max_examples)
            for name, task in tasks.items()
            if choices.split in task.splits
        }

    return scores


def _tell(writer: monitor.Monitor, step: int, scores: dict[str, Any]) -> None:
    numbers = {
        f"{task}/{name}": value
        for task, found in scores.items()
        for name, value in found.items()
        if isinstance(value, (int, float))
    }
    writer.write(step, numbers, kind="evaluation")
    for name, value in numbers.items():
        runtime.say(f"  evaluation at step {step}: {name} {value:.4g}")
