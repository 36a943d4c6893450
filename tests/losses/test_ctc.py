"""CTC of packed rows is optax's of each example alone."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import rows

from speechlm_jax import batch as batches
from speechlm_jax import vocabulary
from speechlm_jax.losses import ctc
from speechlm_jax.models import speech_text

ROW = batches.Row(audio_seconds=4.8, targets=40, segments=5)
LENGTHS = ((0.8, 0, 7), (1.2, 3, 8), (0.6, 0, 1), (0.9, 2, 12))
"""Seconds, prompt tokens, target tokens with the end token: one transcript is empty."""


@pytest.fixture(scope="module")
def examples():
    made = [rows.example(seed, seconds=s, prompt=p, targets=t) for seed, (s, p, t) in enumerate(LENGTHS)]
    made[0]["targets"][:3] = made[0]["targets"][0]
    return made


def logits(batch, seed=0):
    shape = (*batch.audio.segment_ids[:, :: ROW.subsampling].shape, rows.VOCABULARY)
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape) * 3, jnp.float32)


def totals(logits, batch):
    return ctc.totals(speech_text.Outputs(None, None, logits), batch)


@rows.compiled
def with_gradient(logits, batch):
    each, pull = jax.vjp(lambda logits: totals(logits, batch), logits)
    return each, pull(jnp.ones_like(each))[0]


def alone(logits, batch, index, line, example):
    """optax.ctc_loss on one segment."""
    segment_ids = np.asarray(batch.audio.segment_ids)[index, :: ROW.subsampling]
    frames = logits[index][np.flatnonzero(segment_ids == line + 1)][None]
    labels = np.append(example["targets"][:-1], 0)[None]
    padding = np.append(np.zeros(len(example["targets"]) - 1), 1)[None]
    loss = optax.ctc_loss(frames, jnp.zeros(frames.shape[:2]), jnp.asarray(labels), jnp.asarray(padding))
    return loss[0] * example["weight"][0]


def test_packed_transcripts_cost_what_optax_says_of_each_alone(examples):
    batch = rows.batch(ROW, [examples[i] for i in (1, 0, 2)], [examples[3]])
    order = {(0, 0): 1, (0, 1): 0, (0, 2): 2, (1, 0): 3}
    scales = {place: 1.0 + number for number, place in enumerate(order)}

    @rows.compiled
    @functools.partial(jax.value_and_grad, has_aux=True)
    def reference(values):
        each = {place: alone(values, batch, *place, examples[example]) for place, example in order.items()}
        return sum(scales[place] * loss for place, loss in each.items()), each

    @rows.compiled
    @functools.partial(jax.value_and_grad, has_aux=True)
    def packed(values):
        each = totals(values, batch)
        return sum(scale * each[place] for place, scale in scales.items()), each

    values = logits(batch)
    (_, wanted), wanted_gradient = reference(values)
    (_, found), gradient = packed(values)
    for place, loss in wanted.items():
        np.testing.assert_allclose(found[place], loss, rtol=1e-5)
    assert np.all(found[0, 3:] == 0) and np.all(found[1, 1:] == 0)
    np.testing.assert_allclose(gradient, wanted_gradient, atol=5e-5 * np.abs(wanted_gradient).max())


def check_packing(examples):
    compiled = rows.compiled(lambda logits, batch: totals(logits, batch))
    fixed = {seed: logits(rows.batch(ROW, [example]), seed)[0] for seed, example in enumerate(examples)}

    def evaluate(batch):
        """Each example sees the same logits wherever it lies, and noise lies everywhere else."""
        ids = np.asarray(batch.audio.segment_ids)[:, :: ROW.subsampling]
        values = np.array(logits(batch, 77))
        for index, line in np.argwhere(np.asarray(batch.segments.weights)):
            own = np.flatnonzero(ids[index] == line + 1)
            values[index, own] = fixed[int(batch.segments.origins[index, line, 1])][: len(own)]
        return {"ctc": rows.lines(compiled(values, batch), batch)}

    packed = rows.batch(ROW, [], [examples[i] for i in (2, 1, 3, 0)], [], [])
    rows.check_packing_is_exact(evaluate, packed, rows.batch(ROW, *[[example] for example in examples]))


def test_packed_and_unpacked_transcripts_have_one_loss(examples):
    check_packing(examples)


def test_the_check_sees_lattices_that_are_joined(examples, monkeypatch):
    sound = ctc.lattice

    def joined(lane, num_segments):
        states = sound(lane, num_segments)
        return states._replace(first=states.first & (jnp.arange(states.first.shape[1]) == 0)[None, :])

    monkeypatch.setattr(ctc, "lattice", joined)
    with pytest.raises(AssertionError):
        check_packing(examples)


def test_a_transcript_that_does_not_fit_costs_nothing_and_breaks_nothing(examples):
    crowded = rows.example(9, seconds=0.3, targets=12)
    batch = rows.batch(ROW, [examples[0], crowded, examples[1]])
    # Packing takes such a transcript from CTC; whoever makes rows in another way need not.
    assert batch.segments.ctc.tolist()[0][:3] == [1, 0, 1]
    batch = batch._replace(segments=batch.segments._replace(ctc=jnp.ones_like(batch.segments.ctc)))
    values = logits(batch)
    each, gradient = with_gradient(values, batch)
    assert each[0, 1] == 0 and each[0, 0] > 0 and each[0, 2] > 0
    assert np.isfinite(gradient).all()


@pytest.mark.slow
def test_repeats_need_a_position_more():
    labels = np.array([9, 9, 9, vocabulary.EOS], np.int32)
    tight, wide = (dict(rows.example(0, seconds=s, targets=4), targets=labels) for s in (0.17, 0.2))
    batch = rows.batch(ROW, [tight], [wide])
    ids = batch.audio.segment_ids[:, :: ROW.subsampling]
    np.testing.assert_array_equal((ids > 0).sum(axis=1), [5, 5])
    cut = ids.at[0, 4].set(0)
    states = ctc.lattice(batch.targets, ROW.segments)
    np.testing.assert_array_equal(ctc.feasible(states, cut, ROW.segments)[:, 0], [False, True])


@pytest.mark.slow
def test_the_weight_is_the_number_of_labels(examples):
    batch = rows.batch(ROW, examples)
    silent = batch._replace(segments=batch.segments._replace(ctc=jnp.zeros_like(batch.segments.ctc)))
    labels = np.array([6, 7, 1, 11]) * np.concatenate([example["weight"] for example in examples])
    np.testing.assert_allclose(ctc.weights(batch)[0, :4], labels)
    assert np.all(ctc.weights(silent) == 0) and np.all(totals(logits(batch), silent) == 0)


def test_extreme_logits_have_finite_gradients(examples):
    batch = rows.batch(ROW, examples)
    values = logits(batch) * 1e4
    each, gradient = with_gradient(values, batch)
    assert np.isfinite(each).all() and np.isfinite(gradient).all()


def test_without_speech_or_head_the_loss_says_so(examples):
    batch = rows.batch(ROW, examples)
    text = batch._replace(audio=None)
    assert np.all(ctc.weights(text) == 0) and np.all(totals(None, text) == 0)
    with pytest.raises(ValueError, match=r"Model\.ctc"):
        totals(None, batch)
