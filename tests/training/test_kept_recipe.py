"""The recipe in a run's folder: what has changed is told, and what trained before is kept."""

import dataclasses

from speechlm_jax import recipe_text
from speechlm_jax.training import config, kept_recipe


def run(*, recipe: config.Recipe) -> None:
    """What a recipe is given to."""


def _text(**changes) -> str:
    return recipe_text.write(run, {"recipe": dataclasses.replace(config.Recipe(), **changes)})


def test_a_changed_binding_is_told_by_name_and_the_former_recipe_stays(tmp_path, capsys):
    kept_recipe.write(tmp_path, _text(), step=0)
    kept_recipe.write(tmp_path, _text(steps=7, checkpoints=config.Checkpoints(every=50)), step=40)
    told = capsys.readouterr().err.splitlines()
    assert told == [
        f"the recipe has changed; the one until step 40 stays in {tmp_path}/recipe-40.gin:",
        "  Checkpoints.every: 1000 -> 50",
        "  Recipe.steps: 10000 -> 7",
    ]
    assert "steps = 7" in (tmp_path / "recipe.gin").read_text()
    assert (tmp_path / "recipe-40.gin").read_text() == _text()


def test_a_recipe_that_trained_no_step_that_is_left_is_not_kept(tmp_path):
    kept_recipe.write(tmp_path, _text(steps=1), step=0)
    kept_recipe.write(tmp_path, _text(steps=2), step=0)
    assert [entry.name for entry in tmp_path.iterdir()] == ["recipe.gin"]
    kept_recipe.write(tmp_path, _text(steps=3), step=40)
    kept_recipe.write(tmp_path, _text(steps=4), step=40)
    assert (tmp_path / "recipe-40.gin").read_text() == _text(steps=2)


def test_the_same_recipe_is_not_worth_a_word(tmp_path, capsys):
    for step in (0, 40):
        kept_recipe.write(tmp_path, _text(), step=step)
    assert not capsys.readouterr().err
    assert [entry.name for entry in tmp_path.iterdir()] == ["recipe.gin"]
