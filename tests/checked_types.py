"""The checker behind every function of the package while tests run: shapes and types of what goes in and comes out."""

import beartype
from beartype import roar

_check = beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))


def checked(function, *_, **__):
    """A function that raises where a value is not of the annotated type or shape."""
    try:
        return _check(function)
    except roar.BeartypeDecorHintException:  # Protocols without isinstance() and their like cannot be checked.
        return function
