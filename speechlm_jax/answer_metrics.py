"""Metric functions of question answering: shares of answers, from 0 to 1, as SQuAD and CMRC 2018 compare them.

A target is a text, or several accepted ones, of which the nearest counts. Where target or prediction has Chinese
characters or kana, texts are compared as CMRC 2018 does (arXiv 1810.07366): without punctuation and case, by
characters, foreign words whole. Others are compared as SQuAD does (arXiv 1606.05250): without ASCII punctuation,
case and English articles, by words.
"""

import difflib
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from speechlm_jax import metrics

Answers = str | Sequence[str]

_ASCII_PUNCTUATION = frozenset(string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_IDEOGRAPH = re.compile(f"[{metrics.IDEOGRAPHS}]")
_IDEOGRAPH_OR_WORD = re.compile(rf"[{metrics.IDEOGRAPHS}]|[^\s{metrics.IDEOGRAPHS}]+")


def exact_matches(targets: Sequence[Answers], predictions: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """1 for each answer that is an accepted one, else 0; and 1 for each example."""
    return _best(_is_exact, targets, predictions)


def f1_scores(targets: Sequence[Answers], predictions: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The F1 score of each answer, and 1 for each example."""
    return _best(_f1, targets, predictions)


@metrics.resampled_by(metrics.ratio(exact_matches))
def exact_match(targets: Sequence[Answers], predictions: Sequence[str]) -> dict[str, float]:
    """The share of answers that are an accepted one."""
    right, examples = exact_matches(targets, predictions)
    return {"exact_match": float(right.mean()), "exact_match_examples": len(examples)}


@metrics.resampled_by(metrics.ratio(f1_scores))
def f1(targets: Sequence[Answers], predictions: Sequence[str]) -> dict[str, float]:
    """The mean F1 score of answers: of the words that both have, in any order; of Chinese, of the longest run of
    characters that both have, as CMRC 2018 measures. Two empty answers agree, as in SQuAD 2.0."""
    scores, examples = f1_scores(targets, predictions)
    return {"f1": float(scores.mean()), "f1_examples": len(examples)}


def _best(
    compare: Callable[[str, str], float], targets: Sequence[Answers], predictions: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    metrics.check(targets, predictions)
    scores = []
    for target, guess in zip(targets, predictions, strict=True):
        accepted = [target] if isinstance(target, str) else target
        if not len(accepted):
            raise ValueError("measuring answers: wanted an accepted answer or more in each target, found none in one.")
        scores.append(max(compare(answer, guess) for answer in accepted))
    return np.asarray(scores, np.float64), np.ones(len(scores))


def _is_exact(target: str, guess: str) -> float:
    pieces = _words if _are_words(target, guess) else _characters
    return float(pieces(target) == pieces(guess))


def _f1(target: str, guess: str) -> float:
    if _are_words(target, guess):
        wanted, found = _words(target), _words(guess)
        both = (Counter(wanted) & Counter(found)).total()
    else:
        wanted, found = _characters(target), _characters(guess)
        both = difflib.SequenceMatcher(None, wanted, found, autojunk=False).find_longest_match().size
    return 2 * both / (len(wanted) + len(found)) if wanted or found else 1.0


def _are_words(target: str, guess: str) -> bool:
    return not (_IDEOGRAPH.search(target) or _IDEOGRAPH.search(guess))


def _words(text: str) -> list[str]:
    kept = "".join(letter for letter in text.lower() if letter not in _ASCII_PUNCTUATION)
    return _ARTICLES.sub(" ", kept).split()


def _characters(text: str) -> list[str]:
    return _IDEOGRAPH_OR_WORD.findall("".join(letter for letter in text.lower() if not _is_punctuation(letter)))


def _is_punctuation(letter: str) -> bool:
    return letter in _ASCII_PUNCTUATION or letter == "～" or unicodedata.category(letter).startswith("P")
