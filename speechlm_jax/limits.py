"""What the numbers of a recipe must keep to."""

from typing import Any


def at_least(choices: Any, least: int, *fields: str) -> None:
    """Raises ValueError for the first of these fields of a dataclass that is below `least`; None is left alone."""
    for field in fields:
        found = getattr(choices, field)
        if found is not None and not (isinstance(found, int | float) and found >= least):
            raise ValueError(
                f"reading the recipe: wanted {type(choices).__name__}.{field} of {least} or more, found {found!r}."
            )
