"""When each token of a text was spoken: the most probable path of the CTC head that says the text. Needs no JAX."""

import bisect
import itertools
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from speechlm_jax import metrics

_WORD = re.compile(rf"[{metrics.IDEOGRAPHS}][^\s\w]*|[^\s{metrics.IDEOGRAPHS}]+")
"""What has a time of its own, with the punctuation behind it."""
Span = tuple[int, int]
"""From a position to one behind another."""
SILENCE_SECONDS = 0.1
"""Near silence that parts two words; within one there is less."""
EARLY_SECONDS = 0.1
"""By which a word that follows a pause is told before it begins, at most."""


class Word(NamedTuple):
    """A word, and when it was spoken."""

    text: str
    """As it stands in the text, the space before it too."""
    start: float
    """In seconds."""
    end: float

    @property
    def middle(self) -> float:
        """Of its time."""
        return (self.start + self.end) / 2


def spans(tokens: Sequence[int], labels: Float[np.ndarray, "P U"], blanks: Float[np.ndarray, "P"]) -> list[Span] | None:
    """Of each token the positions at which the best path says it; None where there are too few positions for a path.

    The recursion of Graves et al. (2006) with the largest way in place of the sum of all.

    Args:
        tokens: what is said.
        labels: of each position the log-probabilities of the tokens.
        blanks: of each position that of a blank.
    """
    count = len(tokens)
    if not count:
        return []
    repeats = sum(one == other for one, other in itertools.pairwise(tokens))
    if len(blanks) < count + repeats:
        return None
    states = 2 * count + 1
    said_PX = np.empty((len(blanks), states))
    said_PX[:, ::2] = blanks[:, None]
    said_PX[:, 1::2] = labels
    # Into a label that differs from the one before it a path may come without a blank.
    skips_X = np.zeros(states, bool)
    skips_X[3::2] = np.asarray(tokens[1:]) != np.asarray(tokens[:-1])
    best_X = np.full(states, -np.inf)
    best_X[:2] = said_PX[0, :2]
    came_PX = np.zeros(said_PX.shape, np.int8)
    ways_3X = np.full((3, states), -np.inf)
    for position in range(1, len(blanks)):
        ways_3X[0] = best_X
        ways_3X[1, 1:] = best_X[:-1]
        ways_3X[2, 2:] = np.where(skips_X[2:], best_X[:-2], -np.inf)
        came_PX[position] = np.argmax(ways_3X, axis=0)
        best_X = np.max(ways_3X, axis=0) + said_PX[position]
    state = states - 1 if best_X[-1] >= best_X[-2] else states - 2
    if not np.isfinite(best_X[state]):
        return None
    found: list[Span] = [(0, 0)] * count
    for position in range(len(blanks) - 1, -1, -1):
        if state % 2:
            token = state // 2
            behind = found[token][1] or position + 1
            found[token] = (position, behind)
        state -= int(came_PX[position, state])
    return found


def words(
    tokens: Sequence[int], times: Sequence[Span], decode: Callable[[Sequence[int]], str], seconds: float
) -> list[Word]:
    """The words of a text whose tokens were spoken at these times; a Chinese character or kana is a word.

    decode: from tokens to their text. seconds: of a position.
    """
    text = decode(tokens)
    ends = _ends(tokens, decode, text)
    found, last = [], -1
    for match in _WORD.finditer(text):
        # Words may share a token. One that has written what stands before a word is none of its own; one that has
        # written nothing yet, the first of the bytes of a letter, belongs to what comes of it.
        token = last if last >= 0 and ends[last] > match.start() else last + 1
        while token < len(ends) - 1 and (ends[token - 1] if token else 0) < ends[token] <= match.start():
            token += 1
        last = token
        while last < len(ends) - 1 and ends[last] < match.end():
            last += 1
        before = found[-1].end_in_text if found else 0
        found.append(_Found(text[before : match.end()], match.end(), times[token][0], times[last][1]))
    return [Word(one.text, one.first * seconds, one.behind * seconds) for one in found]


def settled(found: Sequence[Word], speech: Sequence[tuple[float, float]]) -> list[Word]:
    """The words from where each of them begins.

    A CTC head tells a token once, mostly near its end, behind a pause also a little before it begins. So a word belongs
    to the last run of speech between pauses that begins before the word is told, or by EARLY_SECONDS later. The first
    one of a run begins with it; any other where the one before it ended, or where speech set in again in between.

    speech: from when to when there is some between moments of near silence, ascending.
    """
    runs = [
        start
        for number, (start, _) in enumerate(speech)
        if not number or start - speech[number - 1][1] >= SILENCE_SECONDS
    ]
    settled, last = [], -1
    for number, word in enumerate(found):
        run = bisect.bisect_right(runs, word.end + EARLY_SECONDS) - 1
        if run > last:
            start = runs[run]
        elif number:
            before = settled[-1].end
            again = (start for start, _ in speech if before < start <= word.start)
            start = max(min(max(again, default=before), word.start), settled[-1].start)
        else:
            start = word.start
        last = max(run, last)
        # One that was told before it begins is as long as it was told.
        end = word.end if word.end > start else start + word.end - word.start
        settled.append(word._replace(start=start, end=end))
    return settled


class _Found(NamedTuple):
    text: str
    end_in_text: int
    first: int
    behind: int


def _ends(tokens: Sequence[int], decode: Callable[[Sequence[int]], str], text: str) -> list[int]:
    """How much of the text is written once each token is; tokens of bytes write a letter with the last of them."""
    found, most = [], 0
    for count in range(1, len(tokens) + 1):
        so_far = decode(tokens[:count])
        alike = next((place for place, (a, b) in enumerate(zip(so_far, text, strict=False)) if a != b), len(so_far))
        most = max(most, min(alike, len(text)))
        found.append(most)
    if found:
        found[-1] = len(text)
    return found
