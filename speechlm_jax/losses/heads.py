"""Loss heads by name: every other file of this folder is one."""

import importlib
import pkgutil
from collections.abc import Iterable
from typing import Any, Protocol, cast

from jaxtyping import Array, Float

from speechlm_jax import batch, losses


class Head(Protocol):
    """A file of speechlm_jax/losses/. One may have, too: hits(outputs, batch) -> Float[Array, "B E"], the part of
    `weights` of which the likeliest guess is right; code_counts(outputs, batch) -> Float[Array, "Q Z"], how often each
    code of each codebook is to be told."""

    def weights(self, batch: batch.Batch) -> Float[Array, "B E"]:
        """The weight of each segment, from the batch alone."""
        ...

    def totals(self, outputs: Any, batch: batch.Batch) -> Float[Array, "B E"]:
        """The weighted sum of each segment's losses."""
        ...


def names() -> list[str]:
    """The names of all heads there are."""
    return sorted(module.name for module in pkgutil.iter_modules(losses.__path__) if module.name != "heads")


def load(wanted: Iterable[str]) -> dict[str, Head]:
    """Name -> module of each wanted head. Raises ValueError where one does not exist."""
    there, wanted = names(), list(wanted)
    for name in wanted:
        if name not in there:
            raise ValueError(f"no loss head is named {name!r}; there are {there}. Set Losses.coefficients.")
    return {name: cast(Head, importlib.import_module(f"{losses.__name__}.{name}")) for name in wanted}
