"""Scoring a checkpoint on tasks, from its folder to a table."""

import dataclasses
import json
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import seqio
from flax import nnx

from speechlm_jax import batch, runtime
from speechlm_jax.data import manifest as manifests
from speechlm_jax.data import manifest_tasks, pipeline, registration
from speechlm_jax.inference import evaluation, loading
from speechlm_jax.losses import heads as loss_heads


def score(
    checkpoint: str,
    *,
    names: Sequence[str],
    split: str,
    task_modules: Sequence[str] = (),
    manifest: str | None = None,
    limit: int | None = None,
    decode_steps: int | None = None,
    rows: int | None = None,
    json_path: str | None = None,
) -> dict[str, Any]:
    """Scores by task; see `evaluate.run`."""
    started = time.monotonic()
    loaded = loading.load(checkpoint, rows=rows)
    register(loaded, task_modules, manifest, split)
    tasks = subtasks(names, split)
    if manifest is not None:
        tell_lines(manifest, tasks, split)
    evaluator = evaluator_of(loaded, decode_steps=decode_steps)
    scores = {}
    for name, task in tasks.items():
        scores[name] = evaluator.score(loaded.params, task, split, limit=limit)
        runtime.say(f"{name}/{split}  {in_words(scores[name])}")
    found = {**described(loaded, split, scores), "seconds": round(time.monotonic() - started, 1)}
    if json_path is not None:
        write(json_path, found)
    return found


def subtasks(names: Sequence[str], split: str) -> dict[str, seqio.Task]:
    """The tasks that are named, or that a named mixture is made of. Raises ValueError where one has no such split."""
    tasks = {task.name: task for name in names for task in seqio.get_subtasks(pipeline.find(name))}
    for task in tasks.values():
        if split not in task.splits:
            raise ValueError(f"scoring task '{task.name}': it has no split '{split}', it has {sorted(task.splits)}.")
    return tasks


def evaluator_of(loaded: loading.Loaded, *, decode_steps: int | None = None) -> evaluation.Evaluator:
    """What scores a loaded model, with those of its heads that have something to read."""
    return evaluation.Evaluator(
        loaded.graphdef,
        vocabulary=loaded.vocabulary,
        data=loaded.data,
        mesh=loaded.mesh,
        heads=_heads(loaded),
        model=loaded.model,
        decode_steps=decode_steps,
    )


def described(loaded: loading.Loaded, split: str, scores: Mapping[str, Any]) -> dict[str, Any]:
    """Scores by task, with what was scored."""
    return {"checkpoint": loaded.folder, "step": loaded.step, "split": split, "scores": scores}


def write(path: str, found: Mapping[str, Any]) -> None:
    """Writes what was found as JSON."""
    pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
    pathlib.Path(path).write_text(json.dumps(found, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def register(loaded: loading.Loaded, task_modules: Sequence[str], manifest: str | None, split: str) -> None:
    """Makes the tasks of training known, and those that were asked for; a manifest stands in for that of training."""
    data = dataclasses.replace(loaded.data, task_modules=(*loaded.data.task_modules, *task_modules))
    if manifest is None:
        registration.register(data)
        return
    registration.register(dataclasses.replace(data, manifest=None))
    trained_on = data.manifest.path if data.manifest is not None else ""
    # The manifest of training keeps its splits: all of its lines would be those that the model has learned.
    is_new = not trained_on or pathlib.Path(trained_on).resolve() != pathlib.Path(manifest).resolve()
    manifest_tasks.register(registration.manifest_at(manifest, data.manifest), whole=split if is_new else None)


def tell_lines(manifest: str, tasks: Mapping[str, seqio.Task], split: str) -> None:
    """Says how much of a manifest is scored."""
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


def in_words(scores: Mapping[str, Any]) -> str:
    """The numbers among scores, on one line."""
    return "  ".join(f"{name} {value:.4g}" for name, value in scores.items() if isinstance(value, (int, float)))
