"""The training loop: what happens in a run, in the order in which it happens."""

import contextlib
import functools
import os
import pathlib
import shutil
import time
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import jax
import numpy as np

from speechlm_jax import (
    batch,
    checkpoint_retention,
    checkpoints,
    peers,
    preemption,
    runtime,
    sharding,
    vocabularies,
    vocabulary,
    whole_files,
)
from speechlm_jax.data import chain, prefetch, quarantine, stream_position
from speechlm_jax.training import (
    config,
    course,
    feeds,
    kept_recipe,
    ledger,
    metric_lines,
    monitor,
    profiling,
    program,
    startup,
    state,
    trackers,
    watchdog,
    window,
)


def train(recipe: config.Recipe, config_text: str = "") -> dict[str, Any]:
    """Trains until Recipe.steps; returns the scores of the last evaluation and the run's figures. See `train.run`."""
    began = runtime.beginning()
    beginning, book = startup.Startup(began), ledger.Ledger(began=began)
    with preemption.Preemption() as notice, contextlib.ExitStack() as watched, contextlib.ExitStack() as parts:
        if recipe.watchdog is not None:
            watched.enter_context(watchdog.Watchdog(recipe.watchdog, book, recipe.run_dir))
        # Its signal would end a process that has not begun to listen, as long as it compiles.
        profiler = watched.enter_context(contextlib.closing(_profiler(recipe)))
        try:
            return _train(recipe, config_text, parts, notice, beginning, book, profiler)
        except preemption.Preempted:
            raise
        except BaseException as error:
            # Before `parts` are closed, which may wait for the others.
            watchdog.tell_of(error)
            raise


def _train(
    recipe: config.Recipe,
    config_text: str,
    parts: contextlib.ExitStack,
    notice: preemption.Preemption,
    beginning: startup.Startup,
    book: ledger.Ledger,
    profiler: profiling.Profiler,
) -> dict[str, Any]:
    started = time.monotonic()
    peers.meet("looking for devices")
    run = _open(recipe, parts)
    beginning.end("tasks")
    feeds.meet(run.feed, "opening its checkpoints")
    if jax.process_index() == 0:
        book.keep(run.folder)
    parts.callback(book.write)
    best = _best(recipe, run)
    saved = parts.enter_context(contextlib.closing(_checkpoints(recipe, run, best)))
    made = program.Program(recipe)
    begins = _start(run, made, saved)
    done = book.stands = begins.step
    if done >= recipe.steps and not begins.owes_scores:
        peers.say(f"{run.folder} has done its {done} steps; Recipe.steps = {recipe.steps}.")
        return {"scores": {}, "seconds": time.monotonic() - started, "skipped": 0}
    if done:
        peers.say(f"going on from step {done} of {run.folder}")
    if best is not None:
        best.forget(after=done)
    book.write()
    beginning.end("checkpoints")
    if jax.process_index() == 0:
        kept_recipe.write(run.folder, config_text, step=done)
    source = parts.enter_context(contextlib.closing(_source(recipe, run, made, begins)))
    ahead = parts.enter_context(contextlib.closing(_ahead(recipe, made, source, begins.position.shards)))
    # The readers are stopped first: the thread that makes batches ahead may be waiting for them.
    parts.callback(source.close)
    with book.within("compile"):
        # A run that has but scores to tell may be at the end of its rows.
        train_step = _compiled(run, made, ahead.check if done < recipe.steps else lambda: None)
    beginning.end("compiling")
    now = _state(begins, beginning)
    line = window.Window(beginning, book)
    going = course.Course(
        course.Parts(
            recipe=recipe,
            text=config_text,
            program=made,
            vocabulary=run.words.hash,
            fingerprint=run.feed.fingerprint,
            source=source,
            saved=saved,
            writer=parts.enter_context(contextlib.closing(_monitor(recipe, run, done))),
            profiler=profiler,
            line=line,
            book=book,
            train_step=train_step,
            evaluate=_evaluation(recipe, run, made),
            links=chain.Log(_own(run.folder, "batches")) if recipe.log_batches else None,
            best=best,
        ),
        now,
        begins.position,
    )
    del now  # The first step consumes it.
    # Whatever ends the run: what is closed behind it may take longer than a step.
    parts.callback(book.enter, "end")
    notice.begin()
    try:
        if begins.owes_scores:
            _score(recipe, going, run, notice, again=True)
            beginning.end("evaluation")
        _go(recipe, going, run, notice, lambda: line.fetch(ahead))
    except preemption.Preempted:
        with book.within("save"):
            raise _stopped(recipe, going, saved, notice, run.folder) from None
    with book.within("save"):
        saved.wait()
    skipped = peers.sum_over_all(source.bad_records.skipped)
    return {"scores": going.scores, "seconds": time.monotonic() - started, "skipped": skipped}


class _Run(NamedTuple):
    """What a run is about, known before anything is compiled."""

    folder: pathlib.Path
    words: vocabulary.Vocabulary
    feed: feeds.Feed
    evaluated: dict[str, Any]
    """The tasks that are scored while training."""


def _go(
    recipe: config.Recipe, going: course.Course, run: _Run, notice: preemption.Preemption, fetch: Callable[[], Any]
) -> None:
    """Every step that is left."""
    notice.check()
    while going.done < recipe.steps:
        with notice.at_once():
            rows, position = fetch()
        going.step(rows, position)
        last = going.done == recipe.steps
        saves = last or going.done % recipe.checkpoints.every == 0
        if going.goes_wrong(now=saves):
            going.go_back()
            # Every process asks after every batch.
            notice.check()
            continue
        if last or going.done % recipe.log_every == 0:
            going.tell(rows)
        notice.check()
        # What follows may fail, and the run must be able to go on behind it.
        if last or (saves and not going.is_idle):
            going.save()
        if _is_scored_at(recipe, going.done):
            _score(recipe, going, run, notice)


def _is_scored_at(recipe: config.Recipe, step: int) -> bool:
    return recipe.evaluation is not None and (step == recipe.steps or step % recipe.evaluation.every == 0)


def _score(
    recipe: config.Recipe, going: course.Course, run: _Run, notice: preemption.Preemption, *, again: bool = False
) -> None:
    assert recipe.evaluation is not None
    with notice.at_once():
        if again:
            going.begin_evaluation_again()
        going.score(on=run.evaluated, split=recipe.evaluation.split, between=notice.check)


def _stopped(
    recipe: config.Recipe,
    going: course.Course,
    saved: checkpoints.Folder,
    notice: preemption.Preemption,
    folder: pathlib.Path,
) -> preemption.Preempted:
    """Saves what there is of a run that was told to stop, and says so."""
    if going.goes_wrong(now=True):
        going.go_back()
    if going.done > going.first:
        going.save()
        saved.wait()
    after = "" if notice.age is None else f", {notice.age:.1f} s after it was told"
    return preemption.Preempted(
        f"told to stop: {folder} stands at step {going.done} of {recipe.steps}{after}; the same command goes on from "
        "it."
    )


def _with_heads(rows: batch.Batch, heads: Collection[str]) -> batch.Batch:
    """`rows`, whose claims somebody must judge."""
    if "matching" not in heads and np.any(rows.segments.claims):
        raise ValueError(
            "training on claims of what is spoken, as tasks of matching make them: wanted the loss head 'matching', "
            f"found {', '.join(heads)}. Set Model.matching = True and name it in Losses.coefficients."
        )
    return rows


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


def _best(recipe: config.Recipe, run: _Run) -> checkpoint_retention.Best | None:
    """What keeps the checkpoint of the best score, if one does; it knows those of former lives."""
    choices = recipe.checkpoints
    if not choices.keep_best:
        return None
    if not any(choices.keep_best.startswith(f"{task}/") for task in run.evaluated):
        raise ValueError(
            f"keeping the best checkpoint: wanted a score of one of {', '.join(run.evaluated)}, such as "
            f"'{next(iter(run.evaluated))}/wer', found Checkpoints.keep_best = '{choices.keep_best}'."
        )
    known = metric_lines.scores(recipe.run_dir, choices.keep_best)
    return checkpoint_retention.Best(choices.best_is == "highest", known)


def _checkpoints(recipe: config.Recipe, run: _Run, best: checkpoint_retention.Best | None) -> checkpoints.Folder:
    choices = recipe.checkpoints
    besides = checkpoint_retention.besides(
        every_steps=choices.keep_every_steps, every_hours=choices.keep_every_hours, best=best
    )
    return checkpoints.Folder(
        run.folder,
        keep=choices.keep,
        besides=besides,
        verified=choices.verified,
        max_failed=choices.max_failed,
        limit_seconds=choices.limit_seconds,
    )


def _compiled(run: _Run, made: program.Program, check: Callable[[], None]) -> Any:
    """The step; the first batches are read meanwhile. `check` is that of Program.compile."""
    peers.say(
        f"{run.folder}: {made.num_parameters:,} parameters on {made.mesh.size} {jax.default_backend()} devices; "
        "compiling the step"
    )
    return made.compile(check)


class _Start(NamedTuple):
    """Where this life of a run begins."""

    step: int
    position: course.Position
    state: Callable[[], state.TrainState]
    """Makes the state, or reads it."""
    owes_scores: bool
    """Whether an evaluation is due at this step of which nothing is told: one that was cut off."""


def _state(begins: _Start, beginning: startup.Startup) -> state.TrainState:
    """What the first step takes, once every process has its own: the first collective over all devices waits no longer
    than 30 s for them on CPUs."""
    now = begins.state()
    beginning.end("state")
    peers.meet("its first step")
    return now


def _start(run: _Run, made: program.Program, saved: checkpoints.Folder) -> _Start:
    """With a new state, or with that of the last checkpoint. Raises ValueError where that is of another model, or of
    other data, before anything is compiled or read."""
    words, step = run.words.hash, peers.said_by_the_first(saved.latest() or 0)
    if not step:
        return _Start(0, course.Position(), functools.partial(made.first_state, made.origin(words)), False)
    told = saved.told(made.plan, step=step, vocabulary=words)
    stream_position.check(told.stream["fingerprint"], run.feed.fingerprint)

    def restored() -> state.TrainState:
        return saved.restore(made.plan, step=step, vocabulary=words).state

    scored = not _is_scored_at(made.recipe, step) or metric_lines.is_scored(run.folder, step)
    return _Start(step, course.position_after(run.folder, told), restored, peers.said_by_the_first(not scored))


def _own(folder: pathlib.Path, name: str) -> pathlib.Path:
    """The file of this process, in the run's folder, of lines that each process has for itself."""
    process = jax.process_index()
    return folder / (f"{name}-{process}.jsonl" if process else f"{name}.jsonl")


def _source(recipe: config.Recipe, run: _Run, made: program.Program, begins: _Start) -> feeds.Source:
    bad = quarantine.File(_own(run.folder, "bad_records"))
    position = begins.position
    return run.feed.open(
        shards=_shards_here(made, recipe), state=position.shards, read=begins.step + position.passed, on_bad=bad
    )


def _ahead(
    recipe: config.Recipe, made: program.Program, source: feeds.Source, shards: stream_position.State | None
) -> prefetch.Prefetch:
    """Batches on the devices, each with where the data stand after it. `shards`: where they stand before the first."""
    links = chain.Chain(shards)

    def placed(step: stream_position.Step) -> tuple[batch.Batch, stream_position.State]:
        rows, state = links.add(step)
        return sharding.global_batch(made.mesh, _with_heads(rows, made.heads)), state

    return prefetch.Prefetch(source, recipe.data.stream.prefetch, placed)


def _monitor(recipe: config.Recipe, run: _Run, done: int) -> monitor.Monitor:
    settings = trackers.settings_of(recipe)
    opened = functools.partial(trackers.open_all, recipe.trackers, settings=settings, done=done)
    return monitor.Monitor(run.folder, start=done, steps=recipe.steps, open_trackers=opened)


def _profiler(recipe: config.Recipe) -> profiling.Profiler:
    folder = pathlib.Path(recipe.run_dir) / trackers.TENSORBOARD
    return profiling.Profiler(folder, recipe.profile_after, recipe.profile_steps)


def _vocabulary_of(recipe: config.Recipe) -> vocabulary.Vocabulary:
    words = vocabularies.load(recipe.data.vocabulary)
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
            vocabulary.check_same(vocabularies.load(kept).hash, words, f"the run in {folder}")
        else:
            temporary = kept.with_suffix(f".{os.getpid()}")
            shutil.copyfile(recipe.data.vocabulary, temporary)
            temporary.replace(kept)
    return folder


def _shards_here(made: program.Program, recipe: config.Recipe) -> list[int]:
    """The data shards whose rows this process feeds."""
    rows_per_shard = recipe.data.stream.rows_per_shard(recipe.data.rows)
    rows = sharding.local_rows(made.mesh, recipe.data.rows)
    shards = sorted({int(row) // rows_per_shard for row in rows})
    if len(shards) * rows_per_shard != len(rows):
        raise ValueError(
            f"dealing {recipe.data.stream.data_shards} data shards to {jax.process_count()} processes: a process feeds "
            f"{len(rows)} rows, which is no whole number of shards of {rows_per_shard}. Set Stream.data_shards."
        )
    return shards


def _evaluation(
    recipe: config.Recipe, run: _Run, made: program.Program
) -> Callable[[Any, Callable[[], None]], dict[str, Any]]:
    """The function (parameters, what is called between batches) -> scores by task."""
    if recipe.evaluation is None:
        return lambda params, between: {}
    from speechlm_jax.training import validation

    return validation.scorer(recipe, run.evaluated, run.words, made)
