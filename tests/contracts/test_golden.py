"""What every recipe means stands in golden/: each field, and each parameter with its shape and the words of its axes.

A change of a default or of a model shows here. It is renewed on purpose, by `make golden`, and told in CHANGELOG.md.
"""

import os
import pathlib

import hold_recipe
import jax
import numpy as np
import pytest

from speechlm_jax import layout, parameters, sharding
from speechlm_jax.training import program

ROOT = pathlib.Path(__file__).resolve().parents[2]
RECIPES = sorted(path.stem for path in (ROOT / "gin_configs" / "recipes").glob("*.gin"))
GOLDEN = pathlib.Path(__file__).parent / "golden"


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_means_what_it_meant(name):
    recipe, text = hold_recipe.read(f"gin_configs/recipes/{name}.gin")
    mesh = sharding.make_mesh(layout.Layout(), jax.devices()[:1])
    params = parameters.by_path(jax.eval_shape(program.Program(recipe, mesh).first_params))
    count = sum(int(np.prod(parameters.array(leaf).shape)) for leaf in params.values())
    lines = [
        f"{path}  {parameters.describe(leaf)}  {' '.join(map(str, parameters.words(leaf)))}"
        for path, leaf in params.items()
    ]
    found = "\n".join([text, f"{count} parameters", *lines, ""])
    golden = GOLDEN / f"{name}.txt"
    if os.environ.get("RENEW_GOLDEN"):
        golden.write_text(found, encoding="utf-8")
    assert golden.exists(), f"{golden.name} is not there. `make golden` writes it."
    assert found.splitlines() == golden.read_text(encoding="utf-8").splitlines()


def test_no_golden_text_is_of_a_recipe_that_is_gone():
    assert sorted(path.stem for path in GOLDEN.glob("*.txt")) == RECIPES
