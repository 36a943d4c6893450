"""Writes what a verb's run() is given as a gin file: every field, defaults too, so that it reads back as the same run
after a default has changed, and two recipes can be compared line by line."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any


def write(run: Callable[..., Any], keywords: Mapping[str, Any]) -> str:
    """The gin text that gives `run` these keywords: literals, and dataclasses, tuples, lists and dicts of them.

    The text depends on nothing but the keywords. A second, different instance of a dataclass gets a scope of its own.
    """
    blocks: dict[str, tuple[Any, list[str]]] = {}
    lines = [f"{name} = {_value(value, name, blocks)}" for name, value in sorted(keywords.items())]
    owners = [run, *(type(value) for value, _ in blocks.values())]
    imports = sorted({f"import {owner.__module__}" for owner in owners})
    parts = ["\n".join(["from __gin__ import dynamic_registration", *imports])]
    for name, fields in [(_name(run), lines), *((name, fields) for name, (_, fields) in blocks.items())]:
        if fields:
            parts.append("\n".join([f"{name}:", *(f"  {field}" for field in fields)]))
    return "\n\n".join(parts) + "\n"


def _value(value: Any, path: str, blocks: dict[str, tuple[Any, list[str]]]) -> str:
    """A value as gin writes it; the fields of a dataclass go to `blocks`, by (scoped) name."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        name = _name(type(value))
        if name in blocks and blocks[name][0] != value:
            name = f"{path}/{name}"
        if name not in blocks:
            fields: list[str] = []
            blocks[name] = (value, fields)
            for field in dataclasses.fields(value):
                inner = _value(getattr(value, field.name), f"{path}_{field.name}", blocks)
                fields.append(f"{field.name} = {inner}")
        return f"@{name}()"
    if isinstance(value, tuple | list):
        members = [_value(member, f"{path}_{place}", blocks) for place, member in enumerate(value)]
        if isinstance(value, list):
            return f"[{', '.join(members)}]"
        return f"({', '.join(members)}{',' if len(members) == 1 else ''})"
    if isinstance(value, dict):
        items = [f"{key!r}: {_value(member, f'{path}_{key}', blocks)}" for key, member in value.items()]
        return f"{{{', '.join(items)}}}"
    return repr(value)


def _name(owner: Any) -> str:
    return f"{owner.__module__}.{owner.__qualname__}"
