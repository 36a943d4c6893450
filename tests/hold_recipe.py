"""A verb that keeps what it is given, so that a test may read a recipe as `train` would."""

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
