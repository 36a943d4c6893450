"""Long recordings are cut where it is quiet, without a gap, and told with what is heard in them."""

import numpy as np
import pytest

from speechlm_jax import batch
from speechlm_jax.inference import pieces

SECOND = batch.SAMPLE_RATE


def speech(*seconds, seed=0):
    """Noise of so many seconds, then so many of silence, then noise again ..."""
    random = np.random.default_rng(seed)
    return np.concatenate(
        [
            random.normal(0, 3000 * (number % 2 == 0), round(length * SECOND)).astype(np.int16)
            for number, length in enumerate(seconds)
        ]
    )


def blocks(samples, size):
    return (samples[start : start + size] for start in range(0, len(samples), size))


@pytest.mark.parametrize("margin", [0, SECOND // 2])
@pytest.mark.parametrize("size", [777, 5 * SECOND, 10**9])
def test_pieces_follow_each_other_and_hold_what_lies_about_them(margin, size):
    samples = speech(*[2.3, 0.4] * 12, 1.0)
    found = list(pieces.cut(blocks(samples, size), longest=8 * SECOND, margin=margin))
    assert len(found) > 3 and [piece.last for piece in found] == [False] * (len(found) - 1) + [True]
    assert [found[0].own[0], *(piece.own[1] for piece in found)] == [
        *(piece.own[0] for piece in found),
        len(samples),
    ]
    for piece in found:
        assert len(piece.samples) <= 8 * SECOND
        assert np.array_equal(piece.samples, samples[piece.start : piece.end])
        assert piece.start == max(0, piece.own[0] - margin)
        assert piece.end == min(len(samples), piece.own[1] + (0 if piece.last else margin))
    # No scrap is left at the end.
    assert all(piece.own[1] - piece.own[0] >= SECOND - margin for piece in found)


def test_cuts_are_in_the_silence():
    samples = speech(*[2.3, 0.4] * 12, 1.0)
    inner = [piece.own[0] for piece in pieces.cut([samples], longest=8 * SECOND)][1:]
    assert inner and all(2.3 < place / SECOND % 2.7 < 2.7 for place in inner)


def test_the_same_cuts_whatever_the_blocks():
    samples = speech(40.0)
    wanted = [piece.own for piece in pieces.cut([samples], longest=9 * SECOND, margin=SECOND)]
    assert [piece.own for piece in pieces.cut(blocks(samples, 333), longest=9 * SECOND, margin=SECOND)] == wanted


def test_what_fits_is_one_piece():
    samples = speech(8.0)
    (piece,) = pieces.cut(blocks(samples, 1000), longest=8 * SECOND, margin=SECOND // 2)
    assert piece.last and piece.own == (0, len(samples)) and np.array_equal(piece.samples, samples)


def test_what_is_heard_in_a_piece_is_told_in_seconds_of_the_recording():
    samples = speech(1.0, 1.0, 2.0, 0.1, 1.0, 2.0)
    piece = pieces.Piece(samples, 3 * SECOND, (int(3.5 * SECOND), 3 * SECOND + len(samples)), last=True)
    assert pieces.sound(piece) == [(3.5, 4.0), (5.0, 8.1)]
    assert pieces.sound(piece._replace(samples=np.zeros(SECOND, np.int16), own=(3 * SECOND, 4 * SECOND))) == []


def test_a_piece_that_holds_little_beside_its_margins_is_refused():
    with pytest.raises(ValueError, match="wanted pieces of more than 16000 samples, found 15000"):
        next(pieces.cut([speech(1.0)], longest=15_000, margin=2_000))


def test_speech_is_parted_by_every_moment_of_silence():
    samples = speech(1.0, 0.1, 0.5, 0.03, 0.5)
    piece = pieces.Piece(samples, 2 * SECOND, (2 * SECOND, 2 * SECOND + len(samples)), last=True)
    assert pieces.speech(piece) == [(2.0, 3.0), (3.1, 4.13)]
    assert pieces.speech(piece._replace(samples=samples[:0])) == []
