"""Tokens and words get the times at which the CTC head hears them."""

import itertools

import numpy as np
import pytest

from speechlm_jax.inference import alignment


def best_by_trying(tokens, labels, blanks):
    """The times of the best path, of all paths of so many positions that say the tokens."""
    count, best = len(tokens), (-np.inf, None)
    for path in itertools.product(range(-1, count), repeat=len(blanks)):
        runs = [(key, len(list(group))) for key, group in itertools.groupby(path)]
        said = [key for key, _ in runs if key >= 0]
        # Two labels that are the same are parted by a blank.
        touching = [a for (a, _), (b, _) in itertools.pairwise(runs) if a >= 0 and b >= 0 and tokens[a] == tokens[b]]
        if said != list(range(count)) or touching:
            continue
        score = sum(blanks[place] if key < 0 else labels[place, key] for place, key in enumerate(path))
        if score > best[0]:
            best = score, [(path.index(key), len(path) - path[::-1].index(key)) for key in range(count)]
    return best[1]


@pytest.mark.parametrize("tokens", [[5], [5, 7], [5, 5], [5, 7, 5], [5, 5, 7], [5, 5, 5]])
@pytest.mark.parametrize("seed", range(4))
def test_times_are_those_of_the_best_path_that_says_the_text(tokens, seed):
    random = np.random.default_rng(seed)
    labels, blanks = np.log(random.random((6, len(tokens)))), np.log(random.random(6))
    for place, other in itertools.combinations(range(len(tokens)), 2):
        if tokens[place] == tokens[other]:
            labels[:, other] = labels[:, place]
    assert alignment.spans(tokens, labels, blanks) == best_by_trying(tokens, labels, blanks)


def test_what_cannot_be_said_in_so_short_a_time_has_no_times():
    assert alignment.spans([5, 5], np.zeros((2, 2)), np.zeros(2)) is None
    assert alignment.spans([5, 7], np.zeros((2, 2)), np.zeros(2)) == [(0, 1), (1, 2)]
    assert alignment.spans([5], np.full((3, 1), -np.inf), np.zeros(3)) is None
    assert alignment.spans([], np.zeros((3, 0)), np.zeros(3)) == []


def test_a_text_may_be_long():
    """Every second position says a token, and the others a blank."""
    count = 300
    labels, blanks = np.full((2 * count, count), -50.0), np.full(2 * count, -50.0)
    labels[1::2] = np.where(np.eye(count), 0.0, -50.0)
    blanks[::2] = 0.0
    wanted = [(2 * place + 1, 2 * place + 2) for place in range(count)]
    assert alignment.spans(list(range(1, count + 1)), labels, blanks) == wanted


PIECES = {1: "▁the", 2: "▁ho", 3: "use", 4: "房", 5: "子", 6: "。", 7: "▁", 8: "\xe6", 9: "\xbc\xa2", 10: ","}


def decode(tokens):
    """As sentencepiece: pieces, a mark for the space, and letters that are bytes of several tokens."""
    text = "".join(PIECES[token] for token in tokens).replace("\xe6\xbc\xa2", "漢").replace("\xe6", "\ufffd")
    return text.replace("▁", " ").removeprefix(" ")


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        ([1, 2, 3], [("the", 0, 1), (" house", 2, 5)]),
        ([1, 10, 7, 3], [("the,", 0, 3), (" use", 6, 7)]),
        ([4, 5, 6], [("房", 0, 1), ("子。", 2, 5)]),
        ([8, 9, 8, 9, 1], [("漢", 0, 3), ("漢", 4, 7), (" the", 8, 9)]),
        ([], []),
    ],
)
def test_a_word_takes_the_time_of_its_tokens(tokens, words):
    times = [(2 * place, 2 * place + 1) for place in range(len(tokens))]
    found = alignment.words(tokens, times, decode, seconds=0.5)
    assert found == [alignment.Word(text, start / 2, end / 2) for text, start, end in words]
    assert "".join(word.text for word in found) == decode(tokens)


def test_a_word_begins_where_the_one_before_ended_or_speech_set_in():
    told = [alignment.Word("a", 0.5, 0.6), alignment.Word(" b", 1.0, 1.1), alignment.Word(" c", 3.0, 3.2)]
    speech = [(0.2, 0.7), (0.75, 1.5), (2.7, 3.05), (3.1, 3.6)]
    assert [word.start for word in alignment.settled(told, speech)] == [0.2, 0.75, 2.7]
    # Nothing is known of what was before the first one.
    assert alignment.settled(told, [])[0] == told[0]
    assert [word.start for word in alignment.settled(told, [(0.75, 1.5)])] == [0.5, 0.75, 1.1]
    assert [word.end for word in alignment.settled(told, [])] == [0.6, 1.1, 3.2]
    # Words that share a token were told at one time.
    shared = [alignment.Word("a", 0.5, 0.6), alignment.Word(" b", 0.5, 0.6)]
    assert [word.start for word in alignment.settled(shared, [(0.4, 0.9)])] == [0.4, 0.5]


def test_a_word_that_is_told_in_a_pause_begins_behind_it():
    told = [alignment.Word("a", 0.5, 0.6), alignment.Word(" b", 1.86, 1.9), alignment.Word(" c", 2.2, 2.3)]
    found = alignment.settled(told, [(0.2, 0.7), (1.95, 2.6)])
    assert [(word.start, word.end) for word in found] == [
        pytest.approx(span) for span in [(0.2, 0.6), (1.95, 1.99), (1.99, 2.3)]
    ], "as long as it was told"
    # The next one, told before the first has begun, begins no sooner.
    both = [alignment.Word("a", 1.86, 1.9), alignment.Word(" b", 1.9, 1.94)]
    found = alignment.settled(both, [(1.95, 2.6)])
    assert found[0].start == 1.95 <= found[1].start and all(word.end > word.start for word in found)
    late = alignment.settled(told, [(0.2, 0.7), (2.05, 2.6)])
    assert [word.start for word in late] == [0.2, 0.6, 2.05], "one is told too long before speech sets in"
