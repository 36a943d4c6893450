"""Drawn text follows the model's probabilities, and the example that it is for."""

import functools

import numpy as np
import pytest
import rows
from flax import nnx
from inference import searched

from speechlm_jax import vocabulary
from speechlm_jax.inference import config, decoding

MANY = 2_000


@functools.partial(rows.compiled, static_argnums=(0, 1))
def _write(choices, steps, params, batch, told, lengths):
    model = nnx.merge(searched.GRAPH, params)
    return decoding.write(model, batch, model.encode(batch), told, lengths, steps, choices)


def draw(members, choices, steps=searched.STEPS):
    found = _write(choices, steps, searched.PARAMS, rows.batch(searched.ROW, *members), *searched.prompts(members))
    return searched.of_segments(members, found)


def first_tokens(choices):
    """How often each token comes first, for the first example."""
    texts = draw([[searched.EXAMPLES[0]]], choices, steps=1)[0, 0]
    assert len(texts) == choices.best
    return np.bincount([text[0] if text else vocabulary.EOS for text, _, _ in texts], minlength=rows.VOCABULARY)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_tokens_come_as_often_as_they_are_probable(temperature):
    counts = first_tokens(config.Search(temperature=temperature, best=MANY))
    raised = searched.log_probs(0, ()) / temperature
    wanted = np.exp(raised) / np.exp(raised).sum()
    # Five deviations of a count.
    assert np.all(np.abs(counts - MANY * wanted) <= 5 * np.sqrt(MANY * wanted * (1 - wanted)) + 5)
    assert np.count_nonzero(counts) > 1


def test_only_the_most_probable_tokens_are_drawn_where_that_is_asked():
    probable = np.exp(searched.log_probs(0, ()))
    order = np.argsort(-probable)
    counts = first_tokens(config.Search(temperature=3.0, top_k=4, best=MANY))
    assert set(np.flatnonzero(counts)) == set(order[:4])
    flat = np.exp(searched.log_probs(0, ()) / 9.0)
    flat /= flat.sum()
    enough = int(np.searchsorted(np.cumsum(flat[order]), 0.5)) + 1
    counts = first_tokens(config.Search(temperature=9.0, top_p=0.5, best=MANY))
    assert set(np.flatnonzero(counts)) == set(order[:enough]) and 1 < enough < 64


@pytest.mark.parametrize("choices", [{"top_k": 1}, {"top_p": 1e-6}])
def test_the_narrowest_draw_is_greedy(choices):
    drawn = draw(searched.PACKED, config.Search(temperature=1.0, **choices))
    for place, texts in draw(searched.PACKED, config.GREEDY).items():
        searched.assert_alike(drawn[place], texts)


def test_what_is_drawn_does_not_depend_on_the_row():
    choices = config.Search(temperature=1.5, best=3)
    packed, alone = draw(searched.PACKED, choices), draw([[example] for example in searched.EXAMPLES], choices)
    for place, number in {(0, 0): 2, (0, 1): 0, (0, 2): 1, (1, 0): 1}.items():
        searched.assert_alike(packed[place], alone[number, 0])
    texts = {text for text, _, _ in alone[0, 0]}
    assert len(texts) == 3
    other = draw(searched.PACKED, config.Search(temperature=1.5, best=3, seed=1))
    assert other[0, 1] != packed[0, 1]


def test_a_text_that_was_drawn_scores_as_one_that_was_not():
    for text, score, ended in draw([[searched.EXAMPLES[0]]], config.Search(temperature=1.5, best=3))[0, 0]:
        tokens = (*text, vocabulary.EOS) if ended else text
        wanted = sum(searched.log_probs(0, text[:place])[token] for place, token in enumerate(tokens))
        np.testing.assert_allclose(score, wanted, atol=1e-4)
