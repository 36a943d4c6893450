"""Names and axis words of the arrays in a pytree: parameters, optimizer statistics, moving averages.

Parameters are an `nnx.State` whose leaves are `nnx.Param(array, axes=(...))`; a path such as
'encoder/stack/attention/query' is how rules, errors and checkpoints name one.
"""

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx

MOST_LINES = 8
"""Arrays of one kind that an error names."""

Words = tuple[str | None, ...]


def is_variable(leaf: Any) -> bool:
    """True for an nnx Variable: one array and the words of its axes."""
    return isinstance(leaf, nnx.Variable)


def _segment(key: Any) -> str:
    for attribute in ("key", "name", "idx"):
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    raise TypeError(f"a pytree key of type {type(key).__name__} has no name")


def by_path(tree: Any) -> dict[str, Any]:
    """Path -> leaf, in the order of the tree; an nnx Variable is one leaf."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree, is_leaf=is_variable)
    return {"/".join(map(_segment, path)): leaf for path, leaf in leaves}


def rebuild(tree: Any, values: Mapping[str, Any]) -> Any:
    """`tree` with the array at each path replaced by `values[path]`; the words stay."""
    return jax.tree.unflatten(jax.tree.structure(tree), [values[path] for path in by_path(tree)])


def map_named(function: Callable[[str, Any], Any], tree: Any) -> Any:
    """`tree` with the array at each path replaced by `function(path, leaf)`."""
    return rebuild(tree, {path: function(path, leaf) for path, leaf in by_path(tree).items()})


def words(leaf: Any) -> Words:
    """The words of a leaf's axes; none for a bare array."""
    return tuple(leaf.get_metadata().get("axes", ())) if is_variable(leaf) else ()


def array(leaf: Any) -> Any:
    """The array, or its description, that a leaf holds."""
    return leaf.get_value() if is_variable(leaf) else leaf


def arrays(tree: Any) -> dict[str, np.ndarray]:
    """Path -> array, on the host."""
    return {path: np.asarray(array(leaf)) for path, leaf in by_path(tree).items()}


def from_paths(leaves: Mapping[str, nnx.Variable]) -> nnx.State:
    """The State whose `by_path` is `leaves`; a segment of digits is a place in an nnx.List."""
    flat = [(tuple(int(s) if s.isdigit() else s for s in path.split("/")), leaf) for path, leaf in leaves.items()]
    return nnx.from_flat_state(flat)


def select(params: nnx.State, chosen: Callable[[str], bool]) -> tuple[nnx.State, nnx.State]:
    """(the parameters whose path is chosen, the others); `nnx.merge_state` puts them together again."""
    yes, no = nnx.split_state(params, lambda path, _: chosen("/".join(map(str, path))), ...)
    return yes, no


def describe(leaf: Any) -> str:
    """'float32[512,2048]', as errors write it."""
    value = array(leaf)
    return f"{np.dtype(value.dtype).name}[{','.join(map(str, value.shape))}]"


def described(text: str) -> jax.ShapeDtypeStruct:
    """What `describe` wrote of an array."""
    dtype, _, sizes = text.rstrip("]").partition("[")
    return jax.ShapeDtypeStruct(tuple(int(size) for size in sizes.split(",") if size), np.dtype(dtype))


def nearest(name: str, names: Iterable[str], count: int = 3) -> list[str]:
    """The names most like `name`, nearest first."""
    return difflib.get_close_matches(name, list(names), n=count, cutoff=0.0)


def differences(wanted: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """A line for each path whose description differs, or that one of the two lacks."""
    lines = [f"missing: {path} {wanted[path]}" for path in wanted if path not in found]
    lines += [f"not wanted: {path} {found[path]}" for path in found if path not in wanted]
    both = [path for path in wanted if path in found]
    return lines + [f"differs: {p} wanted {wanted[p]}, found {found[p]}" for p in both if wanted[p] != found[p]]


def check_same(wanted: Any, found: Any, *, doing: str, mend: str) -> None:
    """Raises ValueError naming every array that one of the two pytrees lacks or has in another shape or dtype."""
    lines = differences(*({p: describe(leaf) for p, leaf in by_path(tree).items()} for tree in (wanted, found)))
    raise_differences(lines, doing=doing, mend=mend)


def raise_differences(lines: Sequence[str], *, doing: str, mend: str) -> None:
    """Raises ValueError over the lines, if there are any."""
    if lines:
        told = []
        for kind in dict.fromkeys(line.partition(":")[0] for line in lines):
            alike = [line for line in lines if line.startswith(f"{kind}:")]
            told += alike[:MOST_LINES] + [f"{kind}: and {len(alike) - MOST_LINES} more"] * (len(alike) > MOST_LINES)
        told = "\n  ".join(told)
        raise ValueError(f"{doing}: {len(lines)} arrays are not as wanted.\n  {told}\n{mend}")
