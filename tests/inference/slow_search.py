"""Searches written out in plain Python, one text at a time and everything again for every token: what the searches of
the package are held to."""

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

Text = tuple[int, ...]
Of = Callable[[Text], np.ndarray]
"""From a text to numbers of each token that may come next."""


def power(tokens: int, length_penalty: float) -> float:
    """What a sum of log-probabilities is divided by."""
    return ((5 + tokens) / 6) ** length_penalty


def beam(
    log_probs: Of,
    *,
    width: int,
    best: int,
    max_steps: int,
    eos: int,
    length_penalty: float = 0.0,
    ctc: Of | None = None,
    forbidden: Sequence[int] = (),
    forbidden_first: Sequence[int] = (),
) -> list[tuple[Text, float, bool]]:
    """(text, score, whether it ended) of the best texts, by beam search that never drops the greedy hypothesis.

    ctc: the whole score of a text and one more token, added to the sum of `log_probs`.
    """
    live: list[tuple[Text, float]] = [((), 0.0)]
    greedy: Text | None = ()
    found: list[tuple[Text, float, bool]] = []
    for written in range(1, max_steps + 1):
        sums = {text: total + log_probs(text) for text, total in live}
        for values in sums.values():
            values[[*forbidden, *(forbidden_first if written == 1 else ())]] = -1e30
        scores = {text: values + (0 if ctc is None else ctc(text)) for text, values in sums.items()}
        ranked = sorted(
            ((float(value), text, token) for text, values in scores.items() for token, value in enumerate(values)),
            key=lambda entry: -entry[0],
        )
        worst = ranked[min(width, len(ranked)) - 1][0]
        follows = None if greedy is None else int(np.argmax(scores[greedy]))
        for text, values in scores.items():
            if values[eos] >= worst or (text == greedy and follows == eos):
                found.append((text, float(values[eos]) / power(written, length_penalty), True))
        chosen = [] if greedy is None or follows == eos else [(*greedy, follows)]
        greedy = chosen[0] if chosen else None
        for _, text, token in ranked:
            if token != eos and (*text, token) not in chosen and len(chosen) < width:
                chosen.append((*text, token))
        if written == max_steps:
            for text in chosen:
                found.append((text, float(scores[text[:-1]][text[-1]]) / power(written, length_penalty), False))
        live = [(text, float(sums[text[:-1]][text[-1]])) for text in chosen]
    return sorted(found, key=lambda entry: -entry[1])[:best]


def paths(probabilities: np.ndarray, blank: int) -> dict[Text, float]:
    """Text -> the summed probability of all its alignments, each of them written out. `probabilities`: "P V"."""
    found: dict[Text, float] = {}
    for path in itertools.product(range(probabilities.shape[1]), repeat=len(probabilities)):
        text = tuple(token for token, _ in itertools.groupby(path) if token != blank)
        found[text] = found.get(text, 0.0) + math.prod(
            row[token] for row, token in zip(probabilities, path, strict=True)
        )
    return found


def prefix(probabilities: np.ndarray, text: Sequence[int], blank: int) -> tuple[float, float]:
    """(P that the speech begins with a text, P that it is the text): the forward recursion over positions."""
    ends_label, ends_blank = np.zeros(len(text) + 1), np.zeros(len(text) + 1)
    ends_blank[0], begins = 1.0, float(not text)
    for row in probabilities:
        label, gap = np.zeros_like(ends_label), np.zeros_like(ends_blank)
        for length in range(len(text) + 1):
            gap[length] = (ends_label[length] + ends_blank[length]) * row[blank]
            if length:
                repeats = length > 1 and text[length - 1] == text[length - 2]
                way = ends_blank[length - 1] + (0.0 if repeats else ends_label[length - 1])
                label[length] = (ends_label[length] + way) * row[text[length - 1]]
                if length == len(text):
                    begins += way * row[text[-1]]
        ends_label, ends_blank = label, gap
    return begins, float(ends_label[-1] + ends_blank[-1])
