"""Scoring a checkpoint on tasks, from its folder to a table."""

import contextlib
import dataclasses
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import seqio
from flax import nnx

from speechlm_jax import batch, provenance, runtime, whole_files
from speechlm_jax.data import config, manifest_tasks, pipeline, registration
from speechlm_jax.data import manifest as manifests
from speechlm_jax.inference import config as decoding_config
from speechlm_jax.inference import evaluation, going_on, guesses, kept_batches, listening, loading
from speechlm_jax.losses import heads as loss_heads


@dataclasses.dataclass(frozen=True)
class Examples:
    """What a checkpoint is scored on; `evaluate.run` says what each field means."""

    names: Sequence[str]
    split: str
    task_modules: Sequence[str] = ()
    manifest: str | None = None
    limit: int | None = None
    decode_steps: int | None = None
    rows: int | None = None
    recogniser: str | None = None
    decoding: decoding_config.Search = decoding_config.GREEDY
    shown: int = 0
    shown_ids: Sequence[str] = ()

    def __post_init__(self):
        if self.decoding.language_model:
            raise ValueError(
                "scoring: a checkpoint is scored by itself, and Search.language_model says how much another counts. "
                "Leave it out."
            )
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"scoring: wanted a record of each task or more, found --max_examples={self.limit}.")


def score(
    checkpoint: str,
    examples: Examples,
    *,
    registered: bool = False,
    beside_guesses: bool = False,
    out: str | None = None,
) -> dict[str, Any]:
    """Scores by task; see `evaluate.run`. Raises ValueError where no task can be scored.

    registered: the tasks are, by whoever calls. beside_guesses: `guesses` of a task are what `guesses.simple` scores;
    of masked speech it is the commonest code of what is scored. out: they are written there as JSON; where the same was
    begun before, only what it had not come to is scored. `shown` (shown.Shown) has the examples that were looked into,
    where some are to be; it stands in no file.
    """
    started, split = time.monotonic(), examples.split
    loaded = loading.load(checkpoint, rows=examples.rows)
    if not registered:
        register(loaded, examples)
    evaluator = evaluator_of(loaded, examples, listener_of(examples))
    scores, tasks = {}, subtasks(examples.names, examples)
    runtime.say(
        f"scoring {len(tasks)} tasks on {split}" + (", and simple methods beside them" if beside_guesses else "")
    )
    with contextlib.ExitStack() as parts:
        begun, kept = None, None
        if out is not None:
            begun = going_on.Begun(out, _does(loaded, examples, tasks))
            kept = kept_batches.Kept(begun.told, parts.enter_context(begun.opened()))
        for name, task in tasks.items():
            scores[name] = evaluator.score(
                loaded.params, task, split, limit=examples.limit, kept=kept, resamples=out is not None
            )
            if beside_guesses and "not_scored" not in scores[name]:
                found = guesses.simple(task, split, loaded.vocabulary, limit=examples.limit)
                if "commonest_code_share" in scores[name]:
                    found["constant"] |= {"hits/masked_speech": scores[name]["commonest_code_share"]}
                scores[name]["guesses"] = found
            runtime.say(f"{name}/{split}  {in_words(scores[name])}")
    check_scored(checkpoint, scores)
    shown = [one for found in scores.values() for one in found.pop("shown", ())]
    told = {**described(loaded, examples, scores), "seconds": round(time.monotonic() - started, 1)}
    if out is not None and begun is not None:
        whole_files.write_json(out, told)
        begun.remove()
    return {**told, "shown": shown} if examples.shown else told


_SCORED_BY = ("seqio", "jiwer", "sacrebleu", "whisper-normalizer")
"""Libraries by which texts are made alike and compared."""


def _does(loaded: loading.Loaded, examples: Examples, tasks: Mapping[str, seqio.Task]) -> list[Any]:
    """What is scored, on how many records, and how: with other rows there would be other batches."""
    records = {name: pipeline.source_of(task).num_input_examples(examples.split) for name, task in tasks.items()}
    manifest = going_on.stamp(examples.manifest)
    models = [going_on.stamp_of_step(loaded.folder)]
    if examples.recogniser is not None:
        models.append(going_on.stamp_of_step(examples.recogniser))
    return [models, loaded.data.rows, dataclasses.asdict(examples), records, manifest]


def subtasks(names: Sequence[str], examples: Examples) -> dict[str, seqio.Task]:
    """The tasks that are named, or that a named mixture is made of; of a manifest's, says how much of it is scored.

    Raises ValueError where one has no such split.
    """
    split = examples.split
    tasks = {task.name: task for name in names for task in seqio.get_subtasks(pipeline.find(name))}
    for task in tasks.values():
        evaluation.check_metrics(task)
        if split not in task.splits:
            raise ValueError(
                f"scoring task '{task.name}': it has no split '{split}', it has {sorted(task.splits)}. Name one of "
                "these by --split."
            )
    if examples.manifest is not None:
        _tell_lines(examples.manifest, tasks, split)
    return tasks


def listener_of(examples: Examples) -> listening.Listener | None:
    """The recogniser that was asked for."""
    if examples.recogniser is None:
        return None
    return listening.Listener(loading.load(examples.recogniser, rows=examples.rows))


def evaluator_of(
    loaded: loading.Loaded, examples: Examples, listener: listening.Listener | None
) -> evaluation.Evaluator:
    """What scores a loaded model, with those of its heads that have something to read. Raises ValueError for a search
    that it cannot do."""
    loading.check_search(loaded, examples.decoding)
    return evaluation.Evaluator(
        loaded.graphdef,
        vocabulary=loaded.vocabulary,
        data=loaded.data,
        mesh=loaded.mesh,
        heads=_heads(loaded),
        model=loaded.model,
        decode_steps=examples.decode_steps,
        decoding=examples.decoding,
        listener=listener,
        shown=examples.shown,
        shown_ids=examples.shown_ids,
    )


def described(loaded: loading.Loaded, examples: Examples, scores: Mapping[str, Any]) -> dict[str, Any]:
    """Scores by task, with what was scored, and how."""
    return {
        "checkpoint": loaded.folder,
        "step": loaded.step,
        "split": examples.split,
        "recipe": loaded.recipe,
        "decoding": dataclasses.asdict(examples.decoding),
        "versions": provenance.versions(*_SCORED_BY),
        "scores": scores,
    }


def register(loaded: loading.Loaded, examples: Examples) -> None:
    """Makes the tasks of training known, and those that were asked for; a manifest stands in for that of training.

    Raises ValueError where the checkpoint names modules beside those of this project that nobody asked for: to import a
    stranger's would run a stranger's code.
    """
    foreign = [
        name for name in loaded.data.task_modules if name not in examples.task_modules and name.split(".")[0] != "tasks"
    ]
    if foreign:
        flags = " ".join(f"--task_module={name}" for name in foreign)
        raise ValueError(
            f"scoring {loaded.folder}: it was trained on tasks of {', '.join(foreign)}, and to read them runs their "
            f"code. Add {flags} if it is yours."
        )
    data = dataclasses.replace(loaded.data, task_modules=(*loaded.data.task_modules, *examples.task_modules))
    manifest = examples.manifest
    if manifest is None:
        registration.register(data)
        return
    registration.register(dataclasses.replace(data, manifest=None))
    trained_on = data.manifest.path if data.manifest is not None else ""
    # The manifest of training keeps its splits: all of its lines would be those that the model has learned.
    is_new = not trained_on or pathlib.Path(trained_on).resolve() != pathlib.Path(manifest).resolve()
    choices = (data.manifest or config.Manifest()).at(manifest)
    manifest_tasks.register(choices, whole=examples.split if is_new else None)


def _tell_lines(manifest: str, tasks: Mapping[str, seqio.Task], split: str) -> None:
    lines = len(manifests.Manifest(manifest))
    for name, task in tasks.items():
        if name.startswith(f"{manifest_tasks.MIXTURE}_"):
            records = pipeline.source_of(task).num_input_examples(split)
            runtime.say(f"{name}/{split} is {records:,} of the {lines:,} lines of {manifest}")


def _heads(loaded: loading.Loaded) -> dict[str, loss_heads.Head]:
    """The heads of training that have something to read: the model's output of their name is not None."""

    def outputs(params: nnx.State, rows: batch.Batch) -> Any:
        return nnx.merge(loaded.graphdef, params)(rows)

    there = jax.eval_shape(outputs, loaded.params, batch.empty(loaded.data.row, loaded.data.rows))
    return {name: head for name, head in loaded.heads.items() if getattr(there, name, head) is not None}


def check_scored(checkpoint: str, scores: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises ValueError where none of the tasks could be scored."""
    if scores and all("not_scored" in found for found in scores.values()):
        reasons = "; ".join(f"{name}: {found['not_scored']}" for name, found in scores.items())
        raise ValueError(f"scoring {checkpoint}: no task could be scored. {reasons}")


def in_words(scores: Mapping[str, Any]) -> str:
    """The numbers among scores, on one line, or why there are none."""
    if "not_scored" in scores:
        return f"is not scored: {scores['not_scored']}"
    return "  ".join(f"{name} {value:.4g}" for name, value in scores.items() if isinstance(value, (int, float)))
