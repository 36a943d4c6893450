"""Verb `train`: pretraining and finetuning; goes on from the run's last checkpoint where there is one."""

from typing import Any

from speechlm_jax import runtime
from speechlm_jax.training import config


def run(*, recipe: config.Recipe, config_text: str = "") -> dict[str, Any]:
    """Trains until Recipe.steps, and returns the scores of the last evaluation beside the run's own figures.

    config_text: the recipe as gin read it, kept in the run's folder and in every checkpoint.
    Raises ValueError where the recipe contradicts itself, its vocabulary, or the checkpoint it goes on from, and
    preemption.Preempted where the process was told to stop and its state is saved.
    """
    from speechlm_jax import there

    there.check_run_dir(recipe.run_dir)
    reads_tasks = recipe.evaluation is not None or not recipe.data.stream.written
    there.check_data(recipe.data, with_manifest=reads_tasks)
    runtime.initialize()
    if reads_tasks:
        runtime.hide_accelerators_from_tensorflow()
    from speechlm_jax.training import loop

    return loop.train(recipe, config_text)
