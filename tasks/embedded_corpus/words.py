"""Words and sentences in five languages at once: how a pattern is filled, what is then written and what is said.

A marked string holds `[written|said]` where the two differ: "at [7:30|seven thirty]" is written "at 7:30".
"""

import dataclasses
import re
import unicodedata
from typing import NamedTuple

LANGUAGES = ("en", "de", "fr", "es", "zh")


class Words(NamedTuple):
    """One thing, said in every language."""

    en: str
    de: str
    fr: str
    es: str
    zh: str

    def of(self, language: str) -> str:
        """The words of one language, such as "en"."""
        return getattr(self, language)


@dataclasses.dataclass(frozen=True)
class Meaning:
    """What a sentence says, with whatever a task may ask about it."""

    text: Words
    question: Words | None = None
    """A question that the text answers."""
    answer: Words | None = None
    """Found in the text word for word, or yes or no."""
    intent: str = ""
    """What a command asks for, such as "turn_on"."""
    slots: str = ""
    """What a command is about, such as "device=light; room=kitchen": in English in every language."""
    sentiment: str = ""
    """"positive", "negative", or "" where a sentence has none."""


YES = Words("yes", "ja", "oui", "sí", "是")
NO = Words("no", "nein", "non", "no", "不是")


def table(lines: str) -> tuple[Words, ...]:
    """One `Words` a line, the languages between bars."""
    rows = [[cell.strip() for cell in line.split("|")] for line in lines.strip().splitlines()]
    return tuple(Words(*row) for row in rows)


def columns(lines: str) -> tuple[Words, ...]:
    """One language a line, one `Words` a column: for sentences, which a table would make too wide."""
    rows = [[cell.strip() for cell in line.split("|")] for line in lines.strip().splitlines()]
    return tuple(Words(*column) for column in zip(*rows, strict=True))


def spaced(pattern: str, zh: str) -> Words:
    """A pattern of the languages that put spaces between words, and one of Chinese."""
    return Words(pattern, pattern, pattern, pattern, zh)


def same(text: str) -> Words:
    """What is written alike in every language."""
    return spaced(text, text)


def fill(pattern: Words, **slots: Words) -> Words:
    """`pattern` with `{name}` replaced by the slot of that name, in every language."""
    return Words(
        *(
            pattern.of(language).format(**{name: slot.of(language) for name, slot in slots.items()})
            for language in LANGUAGES
        )
    )


def written(marked: str, language: str) -> str:
    """What a marked string looks like on paper, as a sentence: joined by the language's rules, first letter large."""
    return _sentence(re.sub(r"\[([^|\]]*)\|[^\]]*\]", r"\1", marked), language)


def said(marked: str, language: str) -> str:
    """What a marked string sounds like: `written` with every figure in words."""
    return _sentence(re.sub(r"\[[^|\]]*\|([^\]]*)\]", r"\1", marked), language)


def phrase(marked: str, language: str) -> str:
    """`written`, but the first letter stays as it is: for answers and labels."""
    return _joined(re.sub(r"\[([^|\]]*)\|[^\]]*\]", r"\1", marked), language)


def spoken(sentence: str, language: str) -> str:
    """A sentence as recognition writes it: lower case, no punctuation but apostrophes inside words, no hyphens.

    Chinese is a run of characters without spaces.
    """
    text = unicodedata.normalize("NFC", sentence).lower().replace("’", "'")
    text = "".join(c if c.isalnum() or c == "'" else " " for c in text)
    return text.replace(" ", "") if language == "zh" else " ".join(text.split())


def _sentence(text: str, language: str) -> str:
    text = _joined(text, language)
    first = next((i for i, c in enumerate(text) if c.isalnum()), 0)
    return text[:first] + text[first].upper() + text[first + 1 :]


# French keeps the full article before these, although they begin with a vowel or an h.
_NO_ELISION = r"(?!huit|onze|oui|haricot|hamburger)"
_FRENCH_VOWEL = rf"(?={_NO_ELISION}[aeiouyhàâéèêëîïôœùû])"
_JOINS = {
    "en": ((r"\ba (?=[aeiou])", "an "),),
    "fr": (
        (rf"\b(?!le un\b)([Ll]|[Dd]|[Jj]|[Nn]|[Qq]u|[Mm]|[Ss]|[Tt])(?:e|(?<=[Ll])a) {_FRENCH_VOWEL}", r"\1'"),
        (rf"\b([mts])a {_FRENCH_VOWEL}", r"\1on "),
        (rf"\bnouveau {_FRENCH_VOWEL}", "nouvel "),
        (r"\b([Dd])e le ", r"\1u "),
        (r"\b([Dd])e les ", r"\1es "),
        (r"\bà le ", "au "),
        (r"\bà les ", "aux "),
    ),
    "es": ((r"\ba el ", "al "), (r"\bde el ", "del "), (r"\by (?=h?i)", "e ")),
}


def _joined(text: str, language: str) -> str:
    for pattern, replacement in _JOINS.get(language, ()):
        text = re.sub(pattern, replacement, text, flags=re.IGNORECASE if language == "fr" else 0)
    return text
