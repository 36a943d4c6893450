"""The training loop: what happens in a run, in the order in which it happens."""

import contextlib
import json
import os
import pathlib
import shutil
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils

from speechlm_jax import batch, checkpoints, preemption, runtime, sharding, vocabulary, whole_files
from speechlm_jax.data import chain, prefetch, quarantine, stream_position
from speechlm_jax.training import config, feeds, kept_recipe, monitor, program, startup, state, window


def train(recipe: config.Recipe, config_text: str = "") -> dict[str, Any]:
    """Trains until Recipe.steps; returns the scores of the last evaluation and the run's figures. See `train.run`."""
    started, beginning = time.monotonic(), startup.Startup()
    scores: dict[str, Any] = {}
    with contextlib.ExitStack() as parts:
        notice = parts.enter_context(preemption.Preemption())
        run = _open(recipe, parts)
        beginning.end("tasks")
        saved = parts.enter_context(contextlib.closing(_checkpoints(recipe, run)))
        made = program.Program(recipe)
        if (saved.latest() or 0) >= recipe.steps:
            # Of another model, or of other data, these steps are not what is asked for.
            _check_stream(saved.told(made.plan, vocabulary=run.words.hash), run)
            runtime.say(f"{run.folder} has done its {saved.latest()} steps; Recipe.steps = {recipe.steps}.")
            return {"scores": scores, "seconds": time.monotonic() - started, "skipped": 0}
        now, shards = _start(run, made, saved)
        first = done = int(now.step)
        beginning.end("state")
        if jax.process_index() == 0:
            kept_recipe.write(run.folder, config_text, step=done)
        source = parts.enter_context(contextlib.closing(_source(recipe, run, made, shards, done)))
        ahead = parts.enter_context(contextlib.closing(_ahead(recipe, made, source, shards)))
        # The readers are stopped first: the thread that makes batches ahead may be waiting for them.
        parts.callback(source.close)
        train_step = _compiled(run, made, ahead)
        beginning.end("compiling")
        evaluate = _evaluation(recipe, run, made)
        writer = parts.enter_context(contextlib.closing(monitor.Monitor(run.folder, start=done, steps=recipe.steps)))
        line, remarks = window.Window(beginning), monitor.Remarks(list(made.heads))

        def save() -> None:
            _check_weights(metrics.parameter_norm, saved, step=done)
            position = {"fingerprint": run.feed.fingerprint, "shards": _gather(shards)}
            meta = {**made.meta(run.words.hash, config_text), "batches": chain.of_all(position["shards"])}
            saved.save(done, now, stream=position, meta=meta)

        notice.begin()
        try:
            for step in range(done + 1, recipe.steps + 1):
                with notice.at_once():
                    rows, shards_after = line.fetch(ahead)
                now, metrics = train_step(now, rows)
                done, shards = step, shards_after
                saved.tend()
                line.add(metrics)
                writer.advance()
                if line.skipped >= recipe.max_skipped_steps:
                    raise ValueError(_only_skipping(saved, first=step - line.skipped, count=line.skipped))
                last = step == recipe.steps
                if last or step % recipe.log_every == 0:
                    numbers = line.end(coefficients=made.coefficients, heads=list(made.heads), tasks=source.tasks)
                    numbers["bad_records"] = float(source.bad_records.skipped)
                    if recipe.gradient_norms_every and step % recipe.gradient_norms_every == 0:
                        with line.aside():
                            norms = jax.device_get(made.gradient_norms(now, rows))
                        numbers |= {f"gradient_norm/{head}": float(norm) for head, norm in norms.items()}
                    for remark in remarks.of(numbers):
                        runtime.say(f"step {step}: {remark}")
                    writer.write(step, numbers)
                    writer.show(step, numbers)
                notice.check(step)
                # What follows may fail, and the run must be able to go on behind it.
                if last or step % recipe.checkpoints.every == 0:
                    save()
                if recipe.evaluation is not None and (last or step % recipe.evaluation.every == 0):
                    runtime.say(f"evaluating {', '.join(run.evaluated)} on {recipe.evaluation.split}")
                    with line.aside(), notice.at_once():
                        scores = evaluate(state.evaluation_params(now))
                    _tell(writer, step, scores)
        except preemption.Preempted:
            if done > first:
                save()
                saved.wait()
            after = "" if notice.age is None else f", {notice.age:.1f} s after it was told"
            raise preemption.Preempted(
                f"told to stop: {run.folder} stands at step {done} of {recipe.steps}{after}; the same command goes on "
                "from it."
            ) from None
        saved.wait()
    return {"scores": scores, "seconds": time.monotonic() - started, "skipped": source.bad_records.skipped}


def _with_heads(rows: batch.Batch, heads: Collection[str]) -> batch.Batch:
    """`rows`, whose claims somebody must judge."""
    if "matching" not in heads and np.any(rows.segments.claims):
        raise ValueError(
            "training on claims of what is spoken, as tasks of matching make them: wanted the loss head 'matching', "
            f"found {', '.join(heads)}. Set Model.matching = True and name it in Losses.coefficients."
        )
    return rows


class _Run(NamedTuple):
    """What a run is about, known before anything is compiled."""

    folder: pathlib.Path
    words: vocabulary.Vocabulary
    feed: feeds.Feed
    evaluated: dict[str, Any]
    """The tasks that are scored while training."""


def _open(recipe: config.Recipe, parts: contextlib.ExitStack) -> _Run:
    """Opens the run's folder, which no other command may write to meanwhile, and finds its tasks."""
    words = _vocabulary_of(recipe)
    if jax.process_index() == 0:
        parts.enter_context(whole_files.alone(pathlib.Path(recipe.run_dir), "training into"))
    folder = _open_folder(recipe, words)
    runtime.keep_compiled(str(folder.absolute() / "compiled"))
    feed, evaluated = feeds.find(recipe, words.hash), {}
    if recipe.evaluation is not None:
        from speechlm_jax.training import validation

        evaluated = validation.find(recipe)
    return _Run(folder, words, feed, evaluated)


def _checkpoints(recipe: config.Recipe, run: _Run) -> checkpoints.Folder:
    choices = recipe.checkpoints
    return checkpoints.Folder(run.folder, keep=choices.keep, verified=choices.verified, max_failed=choices.max_failed)


def _compiled(run: _Run, made: program.Program, ahead: prefetch.Prefetch) -> Any:
    """The step; the first batches are read meanwhile."""
    runtime.say(
        f"{run.folder}: {made.num_parameters:,} parameters on {made.mesh.size} {jax.default_backend()} devices; "
        "compiling the step"
    )
    return made.compile(ahead.check)


def _start(
    run: _Run, made: program.Program, saved: checkpoints.Folder
) -> tuple[state.TrainState, stream_position.State | None]:
    """The state, and where the data stand (None: at the beginning): the first, or those of the last checkpoint."""
    if saved.latest() is None:
        return made.first_state(run.words.hash), None
    restored = saved.restore(made.plan, vocabulary=run.words.hash)
    _check_stream(restored, run)
    runtime.say(f"going on from step {restored.step} of {run.folder}")
    return restored.state, restored.stream["shards"]


def _check_stream(saved: checkpoints.Restored, run: _Run) -> None:
    """Raises ValueError where the run's batches are others than those that a checkpoint was trained on."""
    stream_position.check(saved.stream["fingerprint"], run.feed.fingerprint)


def _source(
    recipe: config.Recipe, run: _Run, made: program.Program, shards: stream_position.State | None, done: int
) -> feeds.Source:
    process = jax.process_index()
    bad = quarantine.File(run.folder / ("bad_records.jsonl" if not process else f"bad_records-{process}.jsonl"))
    return run.feed.open(shards=_shards_here(made, recipe), state=shards, done=done, on_bad=bad)


def _ahead(
    recipe: config.Recipe, made: program.Program, source: feeds.Source, shards: stream_position.State | None
) -> prefetch.Prefetch:
    """Batches on the devices, each with where the data stand after it. `shards`: where they stand before the first."""
    links = chain.Chain(shards)

    def placed(step: stream_position.Step) -> tuple[batch.Batch, stream_position.State]:
        rows, state = links.add(step)
        return sharding.global_batch(made.mesh, _with_heads(rows, made.heads)), state

    return prefetch.Prefetch(source, recipe.data.stream.prefetch, placed)


def _check_weights(norm: Any, saved: checkpoints.Folder, *, step: int) -> None:
    """Raises ValueError for weights that nobody may go on from: an update overflowed though its gradients had not."""
    # Of a step that was skipped it is 0: the weights are those of the step before.
    if not np.isfinite(jax.device_get(norm)):
        raise ValueError(
            f"training: the norm of the weights is not finite after step {step}, which is not saved; "
            f"{_before(saved, step)}. Lower Schedule.peak or Optimizer.clip_norm, or look into the data."
        )


def _before(saved: checkpoints.Folder, step: int) -> str:
    """Where a run could go on from that went wrong in a step."""
    with contextlib.suppress(ValueError):  # A save that failed is not what is told here.
        saved.wait()
    before = saved.latest(before=step)
    there = "there is no checkpoint before it" if before is None else f"the last checkpoint before it is {before}"
    return f"{there} in {saved.path}"


def _only_skipping(saved: checkpoints.Folder, *, first: int, count: int) -> str:
    """What is said of a run whose steps change nothing any more."""
    return (
        f"training: the loss or a gradient was not finite in {count} steps in a row, from step {first} on; "
        f"{_before(saved, first)}. Lower Schedule.peak or Optimizer.clip_norm, look into the data, or raise "
        "Recipe.max_skipped_steps."
    )


def _vocabulary_of(recipe: config.Recipe) -> vocabulary.Vocabulary:
    words = vocabulary.Vocabulary.load(recipe.data.vocabulary)
    if words.size > recipe.model.vocabulary_size:
        raise ValueError(
            f"matching the model to its vocabulary: '{words.path}' has {words.size} pieces, the model has room for "
            f"{recipe.model.vocabulary_size}. Set Model.vocabulary_size = {words.padded_size}."
        )
    return words


def _open_folder(recipe: config.Recipe, words: vocabulary.Vocabulary) -> pathlib.Path:
    """The run's folder, with the vocabulary in it."""
    folder = pathlib.Path(recipe.run_dir)
    folder.mkdir(parents=True, exist_ok=True)
    if jax.process_index() == 0:
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


def _gather(shards: stream_position.State | None) -> stream_position.State | None:
    """The state of all data shards, from the processes that hold them."""
    if shards is None or jax.process_count() == 1:
        return shards
    text = np.frombuffer(json.dumps(shards).encode(), np.uint8)
    sizes = multihost_utils.process_allgather(np.array([len(text)]))
    padded = np.zeros(int(sizes.max()), np.uint8)
    padded[: len(text)] = text
    texts = multihost_utils.process_allgather(padded)
    merged: stream_position.State = {}
    for row, size in zip(texts, sizes.reshape(-1), strict=True):
        merged |= json.loads(row[: int(size)].tobytes())
    return merged


def _evaluation(recipe: config.Recipe, run: _Run, made: program.Program) -> Callable[[Any], dict[str, Any]]:
    """The function (parameters) -> scores by task."""
    if recipe.evaluation is None:
        return lambda params: {}
    from speechlm_jax.training import validation

    return validation.scorer(recipe, run.evaluated, run.words, made)


def _tell(writer: monitor.Monitor, step: int, scores: Mapping[str, Any]) -> None:
    numbers = {
        f"{task}/{name}": value
        for task, found in scores.items()
        for name, value in found.items()
        if isinstance(value, (int, float))
    }
    writer.write(step, numbers, kind="evaluation")
    for name, value in numbers.items():
        runtime.say(f"  evaluation at step {step}: {name} {value:.4g}")
    for task, found in scores.items():
        if "not_scored" in found:
            runtime.say(f"  evaluation at step {step}: {task} is not scored: {found['not_scored']}")
