"""Probabilities of prefixes are sums over alignments, in packed rows as by themselves."""

import jax.numpy as jnp
import numpy as np
import pytest
import rows
from inference import slow_search

from speechlm_jax import vocabulary
from speechlm_jax.inference import ctc_prefixes

BLANK, EOS, TOKENS = vocabulary.PAD, vocabulary.EOS, 4
IDS = np.array([[2, 2, 2, 2, 0, 1, 1, 1, 1, 1, 0], [0, 1, 1, 1, 1, 0, 2, 0, 0, 0, 0]])
TEXTS = [(), (2,), (3,), (2, 3), (2, 2), (3, 3, 2), (2, 3, 3), (2, 2, 2)]


@pytest.fixture(scope="module")
def logits():
    return rows.normal(0, *IDS.shape, TOKENS)


def probabilities(logits, row, segment):
    exponents = np.exp(np.asarray(logits, np.float64)[row, IDS[row] == segment])
    return exponents / exponents.sum(-1, keepdims=True)


def followed(frames, text):
    """The prefixes after a text; every other hypothesis goes astray first, and takes the text from its neighbour."""
    prefixes = ctc_prefixes.start(frames, 3)
    own = jnp.broadcast_to(jnp.arange(3)[None, None, :], (2, 2, 3))
    for token in text:
        astray = jnp.broadcast_to(jnp.asarray([token, 2, 3])[None, None, :], own.shape)
        prefixes = ctc_prefixes.follow(frames, prefixes, jnp.zeros_like(own), astray)
    return prefixes


@pytest.mark.parametrize("text", TEXTS)
def test_prefixes_are_as_probable_as_all_their_alignments(logits, text):
    frames = ctc_prefixes.frames(logits, jnp.asarray(IDS), 2)
    prefixes = followed(frames, text)
    found = np.asarray(ctc_prefixes.extended(frames, prefixes))
    for row, segment in ((0, 1), (0, 2), (1, 1), (1, 2)):
        all_of = slow_search.paths(probabilities(logits, row, segment), BLANK)

        def begun(text, all_of=all_of):
            return sum(value for other, value in all_of.items() if other[: len(text)] == text)

        place = row, segment - 1, 0
        np.testing.assert_allclose(np.exp(prefixes.begun[place]), begun(text), rtol=2e-5, atol=1e-12)
        np.testing.assert_allclose(np.exp(found[place][EOS]), all_of.get(text, 0.0), rtol=2e-5, atol=1e-12)
        for token in (2, 3):
            np.testing.assert_allclose(np.exp(found[place][token]), begun((*text, token)), rtol=2e-5, atol=1e-12)
        assert np.exp(found[place][BLANK]) == 0


def test_the_slow_recursion_says_what_all_alignments_do(logits):
    own = probabilities(logits, 0, 1)
    all_of = slow_search.paths(own, BLANK)
    for text in TEXTS:
        begins, is_it = slow_search.prefix(own, text, BLANK)
        np.testing.assert_allclose(is_it, all_of.get(text, 0.0), atol=1e-15)
        wanted = sum(value for other, value in all_of.items() if other[: len(text)] == text)
        np.testing.assert_allclose(begins, wanted, atol=1e-15)


def test_long_speech_keeps_its_digits():
    """Over some hundred positions: -log P of hundreds, where the difference of two sums would have lost all of it."""
    logits = (6 * rows.normal(1, 1, 400, 12)).at[:, :, BLANK].add(15.0)
    frames = ctc_prefixes.frames(logits, jnp.ones((1, 400), jnp.int32), 1)
    prefixes, text = ctc_prefixes.start(frames, 1), []
    exponents = np.exp(np.asarray(logits[0], np.float64))
    own = exponents / exponents.sum(-1, keepdims=True)
    for token in (5, 7, 7, 4, 9, 2, 2, 11):
        text.append(token)
        prefixes = ctc_prefixes.follow(frames, prefixes, jnp.zeros((1, 1, 1), int), jnp.full((1, 1, 1), token))
        begins, is_it = slow_search.prefix(own, text, BLANK)
        np.testing.assert_allclose(prefixes.begun[0, 0, 0], np.log(begins), atol=2e-3)
        np.testing.assert_allclose(prefixes.whole[0, 0, 0], np.log(is_it), rtol=1e-5)
