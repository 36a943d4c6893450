"""What a verb can be told: the names, types, defaults and meanings of its settings, and whether a value fits one."""

import ast
import collections.abc
import dataclasses
import difflib
import inspect
import itertools
import re
import textwrap
import types
import typing
from collections.abc import Callable, Iterable, Iterator
from typing import Any

ABSENT = inspect.Parameter.empty
"""The default of a setting that has none."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """One field of a frozen dataclass, or one keyword of a verb's run()."""

    name: str
    annotation: Any
    default: Any
    meaning: str


def of(owner: Callable[..., Any]) -> dict[str, Setting]:
    """The settings of a dataclass or a function by name, in the order in which they are written."""
    try:
        hints = typing.get_type_hints(owner)
    except NameError:  # A type that is imported for type checkers only.
        hints = {}
    meanings = _field_meanings(owner) if inspect.isclass(owner) else _keyword_meanings(owner)
    return {
        name: Setting(name, hints.get(name, Any), parameter.default, meanings.get(name, ""))
        for name, parameter in inspect.signature(owner).parameters.items()
    }


def required(owner: Callable[..., Any]) -> list[str]:
    """The names of the settings that have no default."""
    return [name for name, setting in of(owner).items() if setting.default is ABSENT]


def fits(value: Any, annotation: Any) -> bool:
    """Whether a value is of the annotated type. An int is a float, a bool is no int; what cannot be told fits."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is None or annotation is types.NoneType:
        return value is None
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, choice) for choice in arguments)
    if origin is typing.Literal:
        return any(value == choice and type(value) is type(choice) for choice in arguments)
    if origin is typing.Annotated:
        return fits(value, arguments[0])
    if origin is tuple and arguments:
        members = arguments[:1] * len(value) if arguments[-1] is Ellipsis and isinstance(value, tuple) else arguments
        return isinstance(value, tuple) and len(value) == len(members) and all(map(fits, value, members))
    if annotation in (int, float):
        return isinstance(value, int if annotation is int else (int, float)) and not isinstance(value, bool)
    kind = origin or annotation
    if inspect.isclass(kind) and kind is not typing.Any:
        return isinstance(value, kind) and not (isinstance(value, str) and kind is collections.abc.Sequence)
    return True


def misfits(owner: Callable[..., Any], values: dict[str, Any], prefix: str) -> Iterator[str]:
    """A sentence for each value that does not fit: those given to `owner`, and the fields of dataclasses in them."""
    settings = of(owner)
    for name, value in values.items():
        if name in settings and not fits(value, settings[name].annotation):
            yield misfit(f"{prefix}.{name}", settings[name], value)
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            inner = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
            yield from misfits(type(value), inner, type(value).__name__)


def misfit(path: str, setting: Setting, value: Any) -> str:
    """The sentence that says that a value does not fit the setting at `path`."""
    hint = " Python's constants are written True, False and None." if value in ("true", "false", "none", "null") else ""
    if fits((value,), setting.annotation):
        hint = f" One member is written ({value!r},)."
    if isinstance(value, list) and fits(tuple(value), setting.annotation):
        hint = f" It is written {tuple(value)!r}."
    return f"{path} wants {type_text(setting.annotation)}, found {value!r}.{hint}"


def nearest(word: str, words: Iterable[str]) -> str:
    """' Nearest: ...' where some of the words look like `word`, else the empty string."""
    near = difflib.get_close_matches(word, list(words), n=3, cutoff=0.6)
    return " Nearest: " + ", ".join(repr(match) for match in near) + "." if near else ""


def help_text(run: Callable[..., Any], path: str, hidden: tuple[str, ...] = ()) -> str:
    """A line for each setting of a verb's run(), and for each field of the dataclasses that these are made of."""
    lines = ["settings, in a gin file or as --gin.NAME=VALUE:"]
    for name, setting in all_of(run, path, hidden):
        default = "" if setting.default is ABSENT else f" = {_default_text(setting.default)}"
        lines.append(f"  {name}: {type_text(setting.annotation)}{default}")
        lines.extend(textwrap.wrap(setting.meaning, 100, initial_indent=" " * 6, subsequent_indent=" " * 6))
    return "\n".join(lines)


def all_of(run: Callable[..., Any], path: str, hidden: tuple[str, ...] = ()) -> Iterator[tuple[str, Setting]]:
    """The settings of a verb's run(), and the fields of the dataclasses that these are made of, each with its whole
    name."""
    owners: list[tuple[str, Callable[..., Any]]] = [(path, run)]
    seen: set[Any] = set()
    while owners:
        prefix, owner = owners.pop(0)
        for setting in of(owner).values():
            if owner is run and setting.name in hidden:
                continue
            yield f"{prefix}.{setting.name}", setting
            for inner in dataclasses_in(setting.annotation):
                if inner not in seen:
                    seen.add(inner)
                    owners.append((inner.__name__, inner))


def reference(owners: Iterable[type]) -> str:
    """A table of fields for each dataclass, in Markdown."""
    parts = []
    for owner in owners:
        about = (inspect.getdoc(owner) or "").split("\n\n")[0].replace("\n", " ")
        rows = []
        for setting in of(owner).values():
            default = "" if setting.default is ABSENT else _default_text(setting.default)
            cells = (
                f"`{setting.name}`",
                f"`{type_text(setting.annotation)}`",
                f"`{default}`" if default else "",
                setting.meaning,
            )
            rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        parts.append(
            "\n".join(
                [f"## {owner.__name__}", "", about, "", "| setting | type | default | |", "|---|---|---|---|", *rows]
            )
        )
    return "\n\n".join(parts) + "\n"


def type_text(annotation: Any) -> str:
    """A type as one would write it, without the modules that its parts come from."""
    if inspect.isclass(annotation) and not typing.get_args(annotation):
        return annotation.__name__
    return re.sub(r"\b(?:[A-Za-z_]\w*\.)+(?=[A-Za-z_])", "", str(annotation))


def summary(owner: Callable[..., Any]) -> str:
    """A docstring without its paragraphs on single settings, which help_text shows beside these."""
    meant = {f"{name}:" for name in _keyword_meanings(owner)}
    paragraphs = (inspect.getdoc(owner) or "").split("\n\n")
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph.split(" ")[0] not in meant)


def _default_text(default: Any) -> str:
    if not dataclasses.is_dataclass(default) or isinstance(default, type):
        return repr(default)
    told = [
        f"{field.name}={_default_text(value)}"
        for field in dataclasses.fields(default)
        if (value := getattr(default, field.name)) != field.default
    ]
    return f"{type(default).__name__}({', '.join(told)})"


def dataclasses_in(annotation: Any) -> Iterator[type]:
    """The dataclasses that a type names, such as Lora in `Lora | None`."""
    if inspect.isclass(annotation) and dataclasses.is_dataclass(annotation):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from dataclasses_in(argument)


def _field_meanings(owner: type) -> dict[str, str]:
    """The string that stands below each field of a class and of the classes that it extends."""
    meanings: dict[str, str] = {}
    for ancestor in reversed(inspect.getmro(owner)):
        if not dataclasses.is_dataclass(ancestor):
            continue
        try:
            body = ast.parse(textwrap.dedent(inspect.getsource(ancestor))).body[0]
        except (OSError, TypeError):  # No source at hand, as in an interactive session.
            continue
        assert isinstance(body, ast.ClassDef)
        for field, below in itertools.pairwise(body.body):
            if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
                continue
            if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
                meanings[field.target.id] = " ".join(str(below.value.value).split())
    return meanings


def _keyword_meanings(owner: Callable[..., Any]) -> dict[str, str]:
    """The paragraphs `name: meaning` of a function's docstring."""
    meanings: dict[str, str] = {}
    name = ""
    for line in (inspect.getdoc(owner) or "").splitlines():
        start = re.match(r"\s*(\w+): (.*)", line)
        if start and start[1] in inspect.signature(owner).parameters:
            name, line = start[1], start[2]
            meanings[name] = ""
        elif start or not line.strip() or line.startswith(("Raises", "Returns")):
            name = ""
        if name:
            meanings[name] = f"{meanings[name]} {line.strip()}".strip()
    return meanings
