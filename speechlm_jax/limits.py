"""What the numbers of a recipe must keep to."""

from collections.abc import Callable, Sequence
from typing import Any


def at_least(choices: Any, least: float, *fields: str) -> None:
    """Raises ValueError for the first of these fields of a dataclass that is below `least`; None is left alone."""
    _check(choices, fields, lambda found: found >= least, f"{least} or more")


def at_most(choices: Any, most: float, *fields: str) -> None:
    """Raises ValueError for the first of these fields of a dataclass that is above `most`; None is left alone."""
    _check(choices, fields, lambda found: found <= most, f"{most} or less")


def share(choices: Any, *fields: str) -> None:
    """Raises ValueError for the first of these fields of a dataclass that is not from 0 to below 1."""
    _check(choices, fields, lambda found: 0 <= found < 1, "0 or more and below 1")


def _check(choices: Any, fields: Sequence[str], keeps: Callable[[float], bool], wanted: str) -> None:
    for field in fields:
        found = getattr(choices, field)
        if found is not None and not isinstance(found, int | float):
            raise ValueError(
                f"reading the recipe: wanted a number for {type(choices).__name__}.{field}, found {found!r}."
            )
        if found is not None and not keeps(found):
            raise ValueError(
                f"reading the recipe: wanted {type(choices).__name__}.{field} of {wanted}, found {found!r}."
            )
