"""Every recipe is read, and reads the same when written out in full."""

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
RECIPES = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("gin_configs/recipes/**/*.gin"))
PARTS = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("gin_configs/**/*.gin"))


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """The full text of each recipe, read in a process of its own from another folder than the repository's."""
    folder = tmp_path_factory.mktemp("recipes")
    program = pathlib.Path(__file__).parents[1] / "read_recipe.py"
    command = [sys.executable, str(program), str(folder), *RECIPES]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr
    return {recipe: (folder / recipe.replace("/", "_")).read_text() for recipe in RECIPES}


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_is_read_without_array_libraries(recipe, texts):
    assert "speechlm_jax.training.config.Recipe:" in texts[recipe]


@pytest.mark.parametrize("part", PARTS)
def test_a_gin_file_says_what_it_is(part):
    first = (ROOT / part).read_text().splitlines()[0]
    assert first.startswith("# "), f"{part} opens without a comment that says what it is"
    assert len((ROOT / part).read_text().splitlines()) <= 80, f"{part}: a recipe fits on a page"
