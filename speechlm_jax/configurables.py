"""The classes and functions that a configuration may bind, and the short names that stand for them."""

import importlib
import inspect
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from speechlm_jax import settings


def config_modules() -> list[str]:
    """The modules of this package that gin files name; they import neither JAX nor TensorFlow."""
    package = pathlib.Path(__file__).parent
    rooms = sorted(f"speechlm_jax.{path.parent.name}.config" for path in package.glob("*/config.py"))
    return ["speechlm_jax.batch", "speechlm_jax.layout", *rooms]


def defined_in(modules: Iterable[str]) -> dict[str, Any]:
    """The public classes and functions that modules define, by full name."""
    found = {}
    for name in modules:
        for attribute, value in vars(importlib.import_module(name)).items():
            defined = (inspect.isclass(value) or inspect.isfunction(value)) and value.__module__ == name
            if defined and not attribute.startswith("_"):
                found[f"{name}.{attribute}"] = value
    return found


def find(selector: str, known: Mapping[str, Any]) -> str:
    """The full name that `Model`, `config.Model` or `models.Model` stands for.

    Raises ValueError where none or several of the known ones answer to it.
    """
    parts = selector.split(".")
    ends = [name for name in known if name.split(".")[-len(parts) :] == parts]
    loose = [name for name in known if name.split(".")[-1] == parts[-1] and _in_order(parts, name.split("."))]
    hits = ends or loose
    if len(hits) == 1:
        return hits[0]
    if hits:
        raise ValueError(f"{selector!r} may mean {' or '.join(sorted(hits))}. Write more of the name.")
    names = {".".join(name.split(".")[-2:]) if name.endswith(".run") else name.split(".")[-1] for name in known}
    raise ValueError(
        f"nothing that can be configured is called {selector!r}.{settings.nearest(selector, names)} "
        "The command line knows the verbs, the configs and what the gin files import."
    )


def _in_order(parts: Iterable[str], whole: Iterable[str]) -> bool:
    rest = iter(whole)
    return all(part in rest for part in parts)
