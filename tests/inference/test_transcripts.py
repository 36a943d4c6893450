"""What was heard in pieces becomes one transcript, and what was left without text is told."""

import pytest

from speechlm_jax.inference import transcripts
from speechlm_jax.inference.alignment import Word


def heard(text, own, *, starts=(), sound=None, **told):
    """A piece whose words, half a second long each, begin at these times."""
    words = [
        Word(("" if not number else " ") + word, start, start + 0.5)
        for number, (word, start) in enumerate(zip(text.split(), starts, strict=bool(starts)))
    ]
    return transcripts.Heard(text, own, words, [own] if sound is None else sound, **told)


def joined(*pieces):
    found = transcripts.segments(pieces)
    return transcripts.text(found), found


def test_a_word_that_two_pieces_hear_is_told_once():
    before = heard("a long way home", (0, 10), starts=(7, 8, 9.3, 10.2))
    after = heard("way home now then", (10, 20), starts=(9.2, 10.25, 11, 12))
    text, found = joined(before, after)
    assert text == "a long way home now then"
    assert [word.start for segment in found for word in segment.words] == [7, 8, 9.3, 10.2, 11, 12]


def test_pieces_that_hear_other_words_tell_those_of_their_own_side():
    before = heard("one two tree", (0, 10), starts=(8, 9, 10.1))
    after = heard("too three four", (10, 20), starts=(9.2, 10.1, 11))
    assert joined(before, after)[0] == "one two three four"


def test_a_word_that_is_said_again_is_told_again():
    before = heard("no no", (0, 10), starts=(8, 9))
    after = heard("no no", (10, 20), starts=(11, 12))
    assert joined(before, after)[0] == "no no no no"


def test_segments_end_at_pauses_and_sentences_and_where_they_grow_long():
    _, found = joined(heard("so. it is well now", (0, 10), starts=(0, 0.5, 1.0, 2.2, 2.7)))
    assert [segment.text for segment in found] == ["so.", "it is", "well now"]
    assert [(segment.start, segment.end) for segment in found] == [(0, 0.5), (0.5, 1.5), (2.2, 3.2)]
    long = joined(heard(" ".join(["letters"] * 30), (0, 15), starts=[0.5 * number for number in range(30)]))[1]
    assert len(long) > 2 and all(len(segment.text) <= transcripts.SEGMENT_LETTERS for segment in long)


def test_without_times_of_words_each_piece_is_a_segment():
    pieces = [
        transcripts.Heard("one two", (0, 10), None, [(0, 10)]),
        transcripts.Heard("", (10, 20), None, [(10, 20)]),
        transcripts.Heard("three", (20, 25), None, [(20, 25)]),
    ]
    text, found = joined(*pieces)
    assert text == "one two three"
    assert [segment.as_json() for segment in found] == [
        {"start": 0, "end": 10, "text": "one two"},
        {"start": 20, "end": 25, "text": "three"},
    ]
    told = transcripts.coverage(pieces, found)
    assert told["without_text"] == [[10, 20]] and told["share"] == pytest.approx(15 / 25, abs=1e-4)


def test_sound_without_text_is_told_and_silence_is_not():
    pieces = [
        heard("one", (0, 10), starts=(1,), sound=[(0.9, 1.6)]),
        heard("", (10, 20), sound=[(12, 16)], fell_back=True),
        heard("two", (20, 30), starts=(28,), sound=[(28, 28.6)], loops=True),
    ]
    told = transcripts.coverage(pieces, transcripts.segments(pieces))
    assert told == {
        "share": pytest.approx(1 - 4.1 / 5.3, abs=1e-4),
        "seconds_of_sound": 5.3,
        "without_text": [[1.5, 28]],
        "pieces": 3,
        "loops": 1,
        "fallbacks": 1,
    }
    quiet = [heard("one", (0, 10), starts=(1,), sound=[(0.9, 1.6)]), heard("", (10, 20), sound=[])]
    assert transcripts.coverage(quiet, transcripts.segments(quiet))["share"] == 1
    assert transcripts.coverage([], []) | {"pieces": 0} == transcripts.coverage([], [])


@pytest.mark.parametrize(
    ("tokens", "does"),
    [
        ([1] * 12, True),
        ([1] * 11, False),
        ([5, 6, *[1, 2, 3] * 4, 9], True),
        ([1, 2, 3] * 3, False),
        ([*range(50)], False),
        ([*range(20)] * 4, True),
        ([], False),
    ],
)
def test_a_text_that_goes_round_is_seen(tokens, does):
    assert transcripts.loops(tokens) == does
