"""Scoring a checkpoint on tasks, from its folder to a table."""

import dataclasses
import json
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import seqio

from speechlm_jax import layout, runtime, sharding
from speechlm_jax.data import pipeline, registration
from speechlm_jax.inference import evaluation, loading
from speechlm_jax.losses import ctc, masked_tokens, targets

HEADS = {"targets": targets, "ctc": ctc, "masked_tokens": masked_tokens}


def score(
    checkpoint: str,
    *,
    names: Sequence[str],
    split: str,
    task_modules: Sequence[str] = (),
    manifest: str | None = None,
    limit: int | None = None,
    decode_steps: int = 96,
    json_path: str | None = None,
) -> dict[str, Any]:
    """Scores by task; see `evaluate.run`."""
    started = time.monotonic()
    loaded = loading.load(checkpoint)
    data = dataclasses.replace(loaded.data, task_modules=(*loaded.data.task_modules, *task_modules))
    if manifest is not None:
        data = dataclasses.replace(data, manifest=registration.manifest_at(manifest, data.manifest))
    registration.register(data)
    tasks = {task.name: task for name in names for task in seqio.get_subtasks(pipeline.find(name))}
    for task in tasks.values():
        if split not in task.splits:
            raise ValueError(f"scoring task '{task.name}': it has no split '{split}', it has {sorted(task.splits)}.")
    evaluator = evaluation.Evaluator(
        loaded.graphdef,
        vocabulary=loaded.vocabulary,
        data=data,
        mesh=sharding.make_mesh(layout.Layout(data=1), devices=jax.local_devices()[:1]),
        heads=HEADS if loaded.has_ctc else {name: head for name, head in HEADS.items() if name != "ctc"},
        decode_steps=decode_steps,
    )
    scores = {}
    for name, task in tasks.items():
        scores[name] = evaluator.score(loaded.params, task, split, limit=limit)
        runtime.say(f"{name}/{split}  {in_words(scores[name])}")
    found = {
        "checkpoint": loaded.folder,
        "step": loaded.step,
        "split": split,
        "scores": scores,
        "seconds": round(time.monotonic() - started, 1),
    }
    if json_path is not None:
        pathlib.Path(json_path).parent.mkdir(parents=True, exist_ok=True)
        pathlib.Path(json_path).write_text(json.dumps(found, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return found


def in_words(scores: Mapping[str, Any]) -> str:
    """The numbers among scores, on one line."""
    return "  ".join(f"{name} {value:.4g}" for name, value in scores.items() if isinstance(value, (int, float)))
