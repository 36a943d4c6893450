"""Loss heads by name: every other file of this folder is one, and every module that a recipe names by its dots."""

import importlib
import pkgutil
from collections.abc import Iterable
from typing import Any, Protocol, cast

from jaxtyping import Array, Float

from speechlm_jax import batch, losses, modules


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


def is_foreign(name: object) -> bool:
    """Whether a head is a module of somebody's own, whose code runs when it is loaded."""
    return "." in str(name)


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
    module = modules.imported(name)
    if module is None:
        raise ValueError(
            f"importing the loss head '{name}': there is no such module. Set Losses.coefficients to modules that "
            f"Python can import, such as {name.replace('.', '/')}.py in this folder."
        )
    missing = [part for part in ("weights", "totals") if not hasattr(module, part)]
    if missing:
        raise ValueError(
            f"importing the loss head '{name}': wanted a module with the functions weights and totals, found none "
            f"named {' nor '.join(missing)} in {module.__file__}."
        )
    return module
