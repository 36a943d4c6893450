"""The scores of a run while it trains."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import seqio

from speechlm_jax import low_rank, vocabulary
from speechlm_jax.data import pipeline, registration
from speechlm_jax.inference import evaluation
from speechlm_jax.training import config, program


def find(recipe: config.Recipe) -> dict[str, seqio.Task]:
    """`chosen`, once the tasks are registered."""
    registration.register(recipe.data)
    return chosen(recipe)


def chosen(recipe: config.Recipe) -> dict[str, seqio.Task]:
    """The tasks that have the split which is scored while training, by name. Raises ValueError where none has."""
    choices = recipe.evaluation
    assert choices is not None
    names = choices.tasks or (recipe.data.stream.mixture,)
    tasks = {task.name: task for name in names for task in seqio.get_subtasks(pipeline.find(name))}
    found = {name: task for name, task in tasks.items() if choices.split in task.splits}
    if not found:
        splits = sorted({split for task in tasks.values() for split in task.splits})
        raise ValueError(
            f"choosing what is scored while training: wanted tasks with the split '{choices.split}', found {splits} "
            f"in {', '.join(names)}. Set Evaluation.split, or Recipe.evaluation = None."
        )
    for task in found.values():
        evaluation.check_metrics(task)
    return found


def scorer(
    recipe: config.Recipe, tasks: dict[str, seqio.Task], words: vocabulary.Vocabulary, made: program.Program
) -> Callable[[Any, Callable[[], None]], dict[str, Any]]:
    """The function (parameters, what is called between batches) -> scores by task."""
    choices = recipe.evaluation
    assert choices is not None
    evaluator = evaluation.Evaluator(
        made.graphdef,
        vocabulary=words,
        # What a step has room for: one that takes its batch in parts has none for all of it at once.
        data=dataclasses.replace(recipe.data, rows=recipe.data.rows // recipe.optimizer.accumulate),
        mesh=made.mesh,
        heads=made.heads,
        model=recipe.model,
        decode_steps=choices.decode_steps,
        shown=choices.shown,
    )
    merge = jax.jit(low_rank.merge)

    def scores(params: Any, between: Callable[[], None]) -> dict[str, Any]:
        merged = merge(params)
        return {
            name: evaluator.score(merged, task, choices.split, limit=choices.max_examples, between=between)
            for name, task in tasks.items()
        }

    return scores
