"""The training loop: what happens in a run, in the order in which it happens."""

import json
import os
import pathlib
import shutil
import time
from typing import Any

import jax
import numpy as np
import seqio
from jax.experimental import multihost_utils

from speechlm_jax import checkpoints, runtime, sharding, vocabulary
from speechlm_jax.data import config as data_config
from speechlm_jax.data import pipeline, prefetch, quarantine, registration, stream
from speechlm_jax.inference import evaluation
from speechlm_jax.training import config, lora, monitor, program, state

VOCABULARY = "vocabulary.model"
"""The copy of the vocabulary in a run's folder: with it a checkpoint can be used anywhere."""


def train(recipe: config.Recipe, config_text: str = "") -> dict[str, Any]:
    """Trains until Recipe.steps; returns the scores of the last evaluation and the run's figures. See `train.run`."""
    started = time.monotonic()
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
        now, shards = made.first_state(words.hash), None
    else:
        restored = saved.restore(made.plan, vocabulary=words.hash)
        stream.check_fingerprint(restored.stream["fingerprint"], fingerprint)
        now, shards = restored.state, restored.stream["shards"]
        runtime.say(f"going on from step {restored.step} of {folder}")
    done = int(now.step)
    if done >= recipe.steps:
        runtime.say(f"{folder} has done its {done} steps; Recipe.steps = {recipe.steps}.")

    shards_here = _shards_here(made, recipe)
    source = stream.Stream(
        recipe.data.stream,
        recipe.data.row,
        rows=recipe.data.rows,
        seed=recipe.seed,
        shards=shards_here,
        state=shards,
        on_bad=_BadRecords(folder),
    )
    ahead = prefetch.Prefetch(
        source,
        recipe.data.stream.prefetch,
        lambda made_step: (sharding.global_batch(made.mesh, made_step.batch), made_step.state),
    )
    # The first batches are read while the step is compiled.
    train_step = made.compile()
    measured = recipe.evaluation
    evaluator = None if measured is None else _evaluator(measured, made, words)
    scores: dict[str, Any] = {}

    writer = monitor.Monitor(folder, start=done, steps=recipe.steps)
    window = _Window()
    waited = 0.0
    try:
        for step in range(done + 1, recipe.steps + 1):
            rows, shards = window.fetch(ahead)
            now, metrics = train_step(now, rows)
            window.add(metrics)
            writer.advance()
            if step % recipe.log_every == 0 or step == recipe.steps:
                waited += window.waited
                numbers = window.numbers(made, source)
                writer.write(step, numbers)
                writer.show(step, numbers)
                window = _Window()
            if evaluator is not None and measured is not None and (step % measured.every == 0 or step == recipe.steps):
                scores = _evaluate(evaluator, measured, recipe.data, state.evaluation_params(now))
                _tell(writer, step, scores)
                window = _Window()
            if step % recipe.checkpoints.every == 0 or step == recipe.steps:
                saved.save(
                    step,
                    now,
                    stream={"fingerprint": fingerprint, "shards": _gather(shards)},
                    meta=made.meta(words.hash, config_text),
                )
        saved.wait()
    finally:
        source.close()
        ahead.close()
        writer.close()
        saved.close()
    seconds = time.monotonic() - started
    return {"scores": scores, "seconds": seconds, "data_wait_seconds": waited, "skipped": source.bad_records.skipped}


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
        kept = folder / VOCABULARY
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


def _evaluator(
    measured: config.Evaluation, made: program.Program, words: vocabulary.Vocabulary
) -> evaluation.Evaluator:
    return evaluation.Evaluator(
        made.graphdef,
        vocabulary=words,
        data=made.recipe.data,
        mesh=made.mesh,
        heads=made.heads,
        decode_steps=measured.decode_steps,
    )


def _evaluate(
    evaluator: evaluation.Evaluator, measured: config.Evaluation, data: data_config.Data, params: Any
) -> dict[str, Any]:
    """Scores by task, of those that have the split."""
    names = measured.tasks or (data.stream.mixture,)
    tasks = {task.name: task for name in names for task in seqio.get_subtasks(pipeline.find(name))}
    merged = jax.jit(lora.merge)(params)
    return {
        name: evaluator.score(merged, task, measured.split, limit=measured.max_examples)
        for name, task in tasks.items()
        if measured.split in task.splits
    }


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
