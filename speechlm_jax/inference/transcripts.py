"""The transcript of a recording from what was heard in its pieces: text, times, and what was left without text."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from speechlm_jax import metrics
from speechlm_jax.inference import alignment

PAUSE_SECONDS = 0.6
"""After so long without a word another segment begins."""
SEGMENT_LETTERS = 84
"""Two lines of a subtitle: a longer segment is parted."""
GAP_SECONDS = 3.0
"""So long without a word is told as without text, where something is heard in it."""
_SOUND_SECONDS = 0.5
"""Less than this may be a breath."""
_SAME_SECONDS = 0.5
"""As far apart one word may be told by two pieces that both heard it."""
_ENDS = (".", "!", "?", "…", "。", "！", "？")
_LOOP_TIMES = 4
_LOOP_TOKENS = 12


class Heard(NamedTuple):
    """What was heard in a piece; times are seconds of the recording."""

    text: str
    own: tuple[float, float]
    """From where to where the piece tells what was said."""
    words: list[alignment.Word] | None
    """All of them, those in its margins too; None where nobody can tell when they were said."""
    sound: list[tuple[float, float]]
    """From when to when something is heard in its own part."""
    loops: bool = False
    """Whether the decoder wrote one thing over and over."""
    fell_back: bool = False
    """Whether the text is what the CTC head heard, for the decoder's was none."""


class Segment(NamedTuple):
    """Some words that were said one after the other."""

    start: float
    end: float
    text: str
    words: list[alignment.Word] | None

    def as_json(self) -> dict[str, Any]:
        """Of JSON's own types."""
        told: dict[str, Any] = {"start": round(self.start, 3), "end": round(self.end, 3), "text": self.text}
        if self.words is not None:
            told["words"] = [
                {"word": word.text.strip(), "start": round(word.start, 3), "end": round(word.end, 3)}
                for word in self.words
            ]
        return told


def loops(tokens: Sequence[int]) -> bool:
    """Whether a text goes round: a run of tokens comes so many times in a row, and with them many tokens."""
    for length in range(1, len(tokens) // _LOOP_TIMES + 1):
        same = 0
        for one, other in zip(tokens, tokens[length:], strict=False):
            same = same + 1 if one == other else 0
            # So many tokens agree with those one round earlier.
            if same >= max((_LOOP_TIMES - 1) * length, _LOOP_TOKENS - length):
                return True
    return False


def segments(pieces: Sequence[Heard]) -> list[Segment]:
    """The segments of a recording: of words, parted at pauses, at ends of sentences and where they grow long; of a
    piece each, where nobody can tell when words were said."""
    found: list[Segment] = []
    for timed, group in itertools.groupby(pieces, key=lambda piece: piece.words is not None):
        if timed:
            found += map(_of_words, _parted(_joined(list(group))))
        else:
            found += [Segment(*piece.own, piece.text.strip(), None) for piece in group if piece.text.strip()]
    return found


def text(found: Sequence[Segment]) -> str:
    """All of it."""
    # Between words of one segment stands what stood in the text; a segment may begin without the space before it.
    parts = [
        segment.text if segment.words is None else "".join(word.text for word in segment.words) for segment in found
    ]
    whole = ""
    for segment, part in zip(found, parts, strict=True):
        whole += (" " if whole and segment.words is None else "") + part
    return whole.strip()


def coverage(pieces: Sequence[Heard], found: Sequence[Segment]) -> dict[str, Any]:
    """How much of a recording has text. `share` is 1 where no sound is without; `without_text` names the stretches
    that are, "loops" and "fallbacks" count pieces."""
    untold = list(_untold(pieces, found))
    heard = sum(end - start for piece in pieces for start, end in piece.sound)
    missing = sum(seconds for *_, seconds in untold)
    return {
        "share": round(1 - missing / heard, 4) if heard else 1.0,
        "seconds_of_sound": round(heard, 2),
        "without_text": [[round(start, 2), round(end, 2)] for start, end, _ in untold],
        "pieces": len(pieces),
        "loops": sum(piece.loops for piece in pieces),
        "fallbacks": sum(piece.fell_back for piece in pieces),
    }


def _untold(pieces: Sequence[Heard], found: Sequence[Segment]) -> Iterator[tuple[float, float, float]]:
    """(from, to, seconds of sound) of stretches without text in which something is heard."""
    told = [
        span
        for segment in found
        for span in ([(segment.start, segment.end)] if segment.words is None else [word[1:] for word in segment.words])
    ]
    edges = [(0.0, pieces[0].own[0] if pieces else 0.0), *told, (pieces[-1].own[1] if pieces else 0.0, float("inf"))]
    for (_, start), (end, _) in itertools.pairwise(edges):
        if end - start < GAP_SECONDS:
            continue
        sound = sum(_shared(heard, (start, end)) for piece in pieces for heard in piece.sound)
        if sound >= _SOUND_SECONDS:
            yield start, end, sound


def _shared(one: tuple[float, float], other: tuple[float, float]) -> float:
    return max(0.0, min(one[1], other[1]) - max(one[0], other[0]))


def _joined(pieces: Sequence[Heard]) -> list[alignment.Word]:
    """The words of pieces that follow each other, each told once."""
    found: list[alignment.Word] = []
    # Those of the piece before, which alone may have heard what this one hears.
    neighbours: list[alignment.Word] = []
    for piece in pieces:
        words, begin = piece.words or [], 0
        if found or neighbours:
            neighbours, begin = _met(neighbours, words, piece.own[0])
        found += neighbours
        if found and words and not begin and not metrics.is_east_asian(found[-1].text + words[0].text):
            words = [words[0]._replace(text=" " + words[0].text), *words[1:]]
        neighbours = words[begin:]
    return found + neighbours


def _met(before: list[alignment.Word], after: Sequence[alignment.Word], cut: float) -> tuple[list[alignment.Word], int]:
    """Which of the words of a piece stay, and from which on the next one tells them: both at a word near the cut that
    both have heard, if there is one; else by the side of the cut on which they lie."""
    alike = [
        (abs(word.middle - cut), place, number)
        for number, word in enumerate(after)
        for place in range(len(before) - 1, -1, -1)
        if before[place].text.strip() == word.text.strip() and abs(before[place].middle - word.middle) < _SAME_SECONDS
    ]
    if alike:
        _, place, number = min(alike)
        return before[: place + 1], number + 1
    begin = next((number for number, word in enumerate(after) if word.middle >= cut), len(after))
    return [word for word in before if word.middle < cut], begin


def _parted(words: Sequence[alignment.Word]) -> Iterator[list[alignment.Word]]:
    part: list[alignment.Word] = []
    for word in words:
        letters = sum(len(own.text) for own in part)
        if part and (
            word.start - part[-1].end >= PAUSE_SECONDS
            or part[-1].text.endswith(_ENDS)
            or letters + len(word.text) > SEGMENT_LETTERS
        ):
            yield part
            part = []
        part.append(word)
    if part:
        yield part


def _of_words(words: list[alignment.Word]) -> Segment:
    return Segment(words[0].start, words[-1].end, "".join(word.text for word in words).strip(), words)
