"""Beam search finds what a plain search finds that computes everything again for every token."""

import dataclasses
import functools

import jax.numpy as jnp
import numpy as np
import pytest
import rows
from flax import nnx
from inference import searched, slow_search

from speechlm_jax import batch as batches
from speechlm_jax import vocabulary
from speechlm_jax.inference import beam, config, decoding, hypotheses, label_sets
from speechlm_jax.models import speech_text, stepping


def search(members, choices, *, eos, early=True, labels=None, forbidden=hypotheses.NOTHING):
    """(text, score, ended) of the best texts of each segment, by (row, line)."""
    found = _search(
        choices,
        early,
        forbidden,
        searched.PARAMS,
        searched.OTHER[1],
        rows.batch(searched.ROW, *members),
        *searched.prompts(members),
        eos,
        labels,
    )
    return searched.of_segments(members, found)


@functools.partial(rows.compiled, static_argnums=(0, 1, 2))
def _search(choices, early, forbidden, params, other, batch, told, lengths, eos, labels):
    model, language_model = nnx.merge(searched.GRAPH, params), nnx.merge(searched.OTHER[0], other)
    encoded = model.encode(batch)
    scorers = beam.Scorers(
        model.ctc_logits(encoded),
        batch.audio.segment_ids[:, :: searched.ROW.subsampling],
        language_model=language_model if choices.language_model else None,
        labels=labels,
        forbidden=forbidden,
    )
    asked = (batch, encoded, told, lengths, choices, scorers)
    return beam.Beam(model, *asked, max_steps=searched.STEPS, eos=eos, early=early).search()


def slowly(number, choices, eos, forbidden=hypotheses.NOTHING):
    weight = choices.ctc if searched.EXAMPLES[number]["ctc"][0] else 0.0

    def of_decoder(text):
        values = (1 - weight) * searched.log_probs(number, text)
        if choices.language_model:
            values = values + choices.language_model * searched.log_probs(number, text, other=True)
        return values

    def of_ctc(text):
        found = [
            slow_search.prefix(searched.speech(number), (*text, token), vocabulary.PAD)[0]
            for token in range(rows.VOCABULARY)
        ]
        found[vocabulary.EOS] = slow_search.prefix(searched.speech(number), text, vocabulary.PAD)[1]
        found[vocabulary.PAD] = 0.0
        with np.errstate(divide="ignore"):
            return weight * np.maximum(np.log(found), -1e3)

    return slow_search.beam(
        of_decoder,
        width=choices.beam,
        best=choices.best,
        max_steps=searched.STEPS,
        eos=eos,
        length_penalty=choices.length_penalty,
        ctc=of_ctc if weight else None,
        forbidden=forbidden.always,
        forbidden_first=forbidden.first,
    )


@pytest.fixture(scope="module")
def eos():
    """A token that greedy search writes in the midst of one text, so that some end early and some late."""
    found = search(searched.PACKED, config.Search(), eos=-1)
    return found[0, 1][0][0][3]


@pytest.mark.parametrize(
    "choices",
    [
        config.Search(),
        config.Search(beam=2),
        config.Search(beam=4, best=4),
        config.Search(beam=5, best=2, length_penalty=1.0),
        config.Search(beam=3, best=3, length_penalty=0.6, language_model=0.3),
    ],
)
def test_the_best_texts_of_packed_rows_are_those_of_a_plain_search(eos, choices):
    found = search(searched.PACKED, choices, eos=eos)
    for place, number in {(0, 0): 2, (0, 1): 0, (0, 2): 1, (1, 0): 1}.items():
        searched.assert_alike(found[place], slowly(number, choices, eos))
    assert {ended for texts in found.values() for _, _, ended in texts} == {True, False} or choices.beam < 4


@pytest.mark.parametrize(
    "choices", [config.Search(ctc=0.3), config.Search(beam=3, best=3, ctc=0.5, length_penalty=0.5)]
)
def test_the_ctc_head_and_the_decoder_score_together(choices):
    found = search(searched.PACKED, choices, eos=vocabulary.EOS)
    alone = search(searched.PACKED, dataclasses.replace(choices, ctc=0.0), eos=vocabulary.EOS)
    for place, number in {(0, 0): 2, (0, 1): 0, (0, 2): 1}.items():
        searched.assert_alike(found[place], slowly(number, choices, vocabulary.EOS))
    assert found[0, 1] != alone[0, 1] and found[0, 2] == alone[0, 2]


@pytest.mark.parametrize("choices", [config.Search(), config.Search(beam=3, best=2)])
def test_what_is_forbidden_is_not_written(eos, choices):
    usual = search(searched.PACKED, choices, eos=eos)
    never, first = usual[0, 1][0][0][1], usual[0, 0][0][0][0]
    forbidden = hypotheses.Forbidden((never,), (first,))
    found = search(searched.PACKED, choices, eos=eos, forbidden=forbidden)
    for place, number in {(0, 0): 2, (0, 1): 0, (0, 2): 1}.items():
        searched.assert_alike(found[place], slowly(number, choices, eos, forbidden))
    texts = [text for told in found.values() for text, _, _ in told]
    assert all(never not in text and text[:1] != (first,) for text in texts)
    assert any(first in text[1:] for text in texts) or choices.beam == 1


@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
def test_to_stop_early_changes_nothing(eos, length_penalty):
    for choices in (config.Search(beam=4, best=2, length_penalty=length_penalty), config.Search(beam=4, ctc=0.4)):
        assert search(searched.PACKED, choices, eos=eos) == search(searched.PACKED, choices, eos=eos, early=False)


def test_a_beam_never_finds_less_than_greedy_search(eos):
    greedy = search(searched.PACKED, config.Search(), eos=eos)
    wide = {place: texts[0][1] for place, texts in search(searched.PACKED, config.Search(beam=3), eos=eos).items()}
    assert all(wide[place] >= texts[0][1] - 1e-5 for place, texts in greedy.items())


class Chain(speech_text.SpeechText):
    """In place of a model: what comes next depends on the last token alone."""

    def __init__(self, follows):
        probabilities = np.full((10, 10), 1e-6)
        for token, after in follows.items():
            probabilities[token, list(after)] = list(after.values())
        self.logits = jnp.asarray(np.log(probabilities), jnp.float32)

    def steps(self, encoded, *shape):
        return ChainSteps(self.logits, *shape)


class ChainSteps(stepping.Steps):
    def __init__(self, logits, num_rows, num_segments, num_steps, hypotheses):
        self.logits, self.shape = logits, (num_rows, num_segments, hypotheses, num_steps)

    def start(self):
        return stepping.Cache((), None, jnp.zeros(self.shape, jnp.int32), jnp.zeros((), jnp.int32))

    def text(self, tokens, cache):
        return self.logits[tokens], cache._replace(step=cache.step + 1)


def test_a_beam_keeps_what_greedy_search_follows_where_others_overtake_it():
    """Greedily 4 6 and the end, 0.4 * 0.3. After two steps two others are more probable, and then come to nothing."""
    chain = Chain(
        {
            vocabulary.BOS: {4: 0.4, 5: 0.35, 7: 0.25},
            4: {6: 0.3, 7: 0.25, 8: 0.25, 9: 0.2},
            5: {8: 0.5, 9: 0.5},
            6: {vocabulary.EOS: 1.0},
            **dict.fromkeys((7, 8, 9), dict.fromkeys((4, 5, 7, 8, 9), 0.2)),
        }
    )
    batch = batches.empty(batches.Row(targets=1, segments=1), 1)
    batch = batch._replace(segments=batch.segments._replace(weights=jnp.ones((1, 1))))
    told = jnp.zeros((1, 1, 1), jnp.int32), jnp.zeros((1, 1), jnp.int32)
    found = beam.Beam(chain, batch, None, *told, config.Search(beam=2), beam.Scorers(), max_steps=4).search()
    assert found.tokens[0, 0, 0].tolist() == [4, 6, 0, 0]
    np.testing.assert_allclose(found.scores[0, 0, 0], np.log(0.4 * 0.3), rtol=1e-3)


def test_a_beam_of_one_writes_what_greedy_decoding_writes(eos):
    @rows.compiled
    def write(params, batch, told, lengths):
        model = nnx.merge(searched.GRAPH, params)
        return decoding.write(model, batch, model.encode(batch), told, lengths, searched.STEPS, eos=eos)

    found = searched.of_segments(
        searched.PACKED,
        write(searched.PARAMS, rows.batch(searched.ROW, *searched.PACKED), *searched.prompts(searched.PACKED)),
    )
    for place, texts in search(searched.PACKED, config.Search(), eos=eos).items():
        searched.assert_alike(found[place], texts)


def test_among_labels_every_one_is_scored_as_the_decoder_does():
    labels = [(7, 9), (7, 9, 11), (20,), (64, 5, 5)]
    found = search(searched.PACKED, config.Search(beam=4, best=4), eos=vocabulary.EOS, labels=label_sets.build(labels))
    for place, number in {(0, 0): 2, (0, 1): 0, (0, 2): 1}.items():
        wanted = {
            label: sum(
                searched.log_probs(number, label[:end])[token] for end, token in enumerate((*label, vocabulary.EOS))
            )
            for label in labels
        }
        best = sorted(wanted, key=lambda label: -wanted[label])
        searched.assert_alike(found[place], [(label, wanted[label], True) for label in best])


def test_more_texts_than_there_are_labels_are_not_made_up():
    found = search(
        searched.PACKED, config.Search(beam=4, best=4), eos=vocabulary.EOS, labels=label_sets.build([(7,), (9, 7)])
    )
    assert all(sorted(text for text, _, _ in texts) == [(7,), (9, 7)] for texts in found.values())
