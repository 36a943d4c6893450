"""Loss heads by name: every other file of this folder is one, and every module that a recipe names by its dots."""

import importlib
import os
import pkgutil
import sys
from collections.abc import Iterable
from typing import Any, Protocol, cast

from jaxtyping import Array, Float

from speechlm_jax import batch, losses


class Head(Protocol):
    """A file of speechlm_jax/losses/, or a module like 'my_losses.confidence'. One may have, too: hits(outputs, batch)
    -> Float[Array, "B E"], the part of `weights` of which the likeliest guess is right; code_counts(outputs, batch) ->
    Float[Array, "Q Z"], how often each code of each codebook is to be told."""

    def weights(self, batch: batch.Batch) -> Float[Array, "B E"]:
        """The weight of each segment, from the batch alone."""
        ...

    def totals(self, outputs: Any, batch: batch.Batch) -> Float[Array, "B E"]:
        """The weighted sum of each segment's losses."""
        ...


def names() -> list[str]:
    """The names of all heads there are."""
    return sorted(module.name for module in pkgutil.iter_modules(losses.__path__) if module.name != "heads")


def is_foreign(name: str) -> bool:
    """Whether a head is a module of somebody's own, whose code runs when it is loaded."""
    return "." in name


def load(wanted: Iterable[str]) -> dict[str, Head]:
    """Name -> module of each wanted head; a foreign one also from the folder that the command is run in. Raises
    ValueError where one does not exist."""
    there, found = names(), {}
    for name in wanted:
        if not is_foreign(name) and name not in there:
            raise ValueError(f"no loss head is named {name!r}; there are {there}. Set Losses.coefficients.")
        found[name] = _foreign(name) if is_foreign(name) else importlib.import_module(f"{losses.__name__}.{name}")
    return {name: cast(Head, module) for name, module in found.items()}


def _foreign(name: str) -> Any:
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not name.startswith(error.name):
            raise
        raise ValueError(
            f"importing the loss head '{name}': there is no module {error.name}. Set Losses.coefficients to modules "
            f"that Python can import, such as {name.replace('.', '/')}.py in this folder."
        ) from None
    missing = [part for part in ("weights", "totals") if not hasattr(module, part)]
    if missing:
        raise ValueError(
            f"importing the loss head '{name}': wanted a module with the functions weights and totals, found none "
            f"named {' nor '.join(missing)} in {module.__file__}."
        )
    return module
