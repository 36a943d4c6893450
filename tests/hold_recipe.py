"""A verb that keeps what it is given, so that a test may read a recipe as `train` would."""

import pathlib

from speechlm_jax import cli
from speechlm_jax.training import config

_held: list[tuple[config.Recipe, str]] = []


def run(*, recipe: config.Recipe, config_text: str) -> None:
    """Keeps the recipe and its full text."""
    _held.append((recipe, config_text))


def read(path: str) -> tuple[config.Recipe, str]:
    """The recipe of a gin file, and its full text."""
    verbs = {"hold": ("hold_recipe", "keeps a recipe"), **cli.VERBS}
    assert cli.main(["hold", f"--gin_file={path}"], verbs) == 0
    return _held.pop()


def read_part(part: str, folder: pathlib.Path) -> config.Recipe:
    """The recipe that has nothing but one part of gin_configs, such as 'models/small', and room for a few tokens."""
    parts = (f"include 'gin_configs/{name}.gin'" for name in ("runs/run", part))
    path = folder / "part.gin"
    lines = ["from __gin__ import dynamic_registration", "from speechlm_jax import batch", *parts]
    path.write_text("\n".join([*lines, "batch.Row.inputs = 8"]))
    return read(str(path))[0]
