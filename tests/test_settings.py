"""Settings: which values fit which types, and what is known about each setting."""

import collections.abc
import dataclasses
import typing
from typing import Any, Literal

import pytest

from speechlm_jax import settings


@dataclasses.dataclass(frozen=True)
class Inner:
    """Inside."""

    depth: int = 1


@dataclasses.dataclass(frozen=True)
class Outer:
    """Outside."""

    width: int
    """How wide,
    in steps."""
    inner: Inner = Inner()
    """What is inside."""
    silent: float = 1.0


@dataclasses.dataclass(frozen=True)
class Wider(Outer):
    """Outside, and more."""

    colour: Literal["red", "blue"] = "red"
    """What one sees."""


@pytest.mark.parametrize(
    ("value", "annotation", "fits"),
    [
        (1, int, True),
        (True, int, False),
        (1.0, int, False),
        (1, float, True),
        (True, float, False),
        ("1", float, False),
        (None, int, False),
        (None, int | None, True),
        (None, typing.Optional[int], True),  # noqa: UP045
        ("a", Literal["a", "b"], True),
        ("c", Literal["a", "b"], False),
        (True, Literal[1, 2], False),
        ((), tuple[str, ...], True),
        (("a", "b"), tuple[str, ...], True),
        (("a", 1), tuple[str, ...], False),
        ("ab", tuple[str, ...], False),
        (["a"], tuple[str, ...], False),
        (("a", 1.0), tuple[str, float], True),
        (("a",), tuple[str, float], False),
        ((("a", 1.0), ("b", 2)), tuple[tuple[str, float], ...], True),
        (["a"], list[str] | tuple[str, ...], True),
        ("abc", collections.abc.Sequence[str], False),
        (["abc"], collections.abc.Sequence[str], True),
        ({"a": 1}, dict[str, int], True),
        (Inner(), Inner, True),
        (Inner(), Outer, False),
        (len, collections.abc.Callable[[Any], int], True),
        (object(), Any, True),
        (3, typing.TypeVar("T"), True),
    ],
)
def test_a_value_fits_its_type(value, annotation, fits):
    assert settings.fits(value, annotation) == fits


def test_a_misfit_inside_a_dataclass_is_found():
    def run(*, outer: Outer) -> None: ...

    assert not list(settings.misfits(run, {"outer": Outer(3)}, "verb.run"))
    deep: Any = "deep"
    wrong = Outer(3, Inner(deep))
    assert list(settings.misfits(run, {"outer": wrong}, "verb.run")) == ["Inner.depth wants int, found 'deep'."]
    assert list(settings.misfits(run, {"outer": 3}, "verb.run")) == ["verb.run.outer wants Outer, found 3."]


def test_the_meaning_of_a_field_is_the_string_below_it():
    told = settings.of(Wider)
    assert told["width"].meaning == "How wide, in steps."
    assert told["inner"].meaning == "What is inside."
    assert told["silent"].meaning == ""
    assert told["colour"].meaning == "What one sees."
    assert settings.required(Wider) == ["width"]


def test_the_meaning_of_a_keyword_is_its_paragraph_in_the_docstring():
    def run(*, first: int, second: str = "a", third: str = "b") -> None:
        """Does a thing: and well.

        first: what comes
            before.
        second: what comes after.
        Raises ValueError where third: is odd.
        """

    told = settings.of(run)
    assert told["first"].meaning == "what comes before."
    assert told["second"].meaning == "what comes after."
    assert told["third"].meaning == ""
    assert settings.summary(run) == "Does a thing: and well."


def test_help_shows_defaults_as_one_would_write_them():
    def run(*, outer: Outer | None = None, plain: Outer = Outer(2, Inner(3))) -> None: ...

    text = settings.help_text(run, "verb.run")
    assert "  verb.run.plain: Outer = Outer(width=2, inner=Inner(depth=3))" in text
    assert "  Outer.inner: Inner = Inner()\n      What is inside." in text
    assert text.count("Inner.depth: int = 1") == 1


def test_the_nearest_names_are_told():
    assert settings.nearest("widht", ["width", "depth"]) == " Nearest: 'width'."
    assert settings.nearest("zebra", ["width", "depth"]) == ""
