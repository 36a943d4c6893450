"""The loss of claims is optax's, and what is falsely claimed is not learned as text."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import rows

from speechlm_jax import batch as batches
from speechlm_jax.layers import likelihoods
from speechlm_jax.losses import matching, targets
from speechlm_jax.models import heads, speech_text

ROW = batches.Row(targets=30, segments=4)
CLAIMS = (1, -1, 0, -1)
EXAMPLES = [
    rows.example(seed, prompt=prompt, targets=length, claim=claim)
    for seed, (prompt, length, claim) in enumerate(zip((2, 0, 3, 1), (5, 7, 4, 2), CLAIMS, strict=True))
]
PACKED = ([EXAMPLES[1], EXAMPLES[0]], [EXAMPLES[2], EXAMPLES[3]])


def logits(batch):
    shape = (*batch.targets.tokens.shape, rows.VOCABULARY)
    return jnp.asarray(np.random.default_rng(0).normal(size=shape) * 3, jnp.float32)


def outputs(batch):
    values = logits(batch)
    head = heads.Matching()
    return speech_text.Outputs(targets=values, matching=head(values, batch.targets, batch.segments.weights.shape[1]))


def test_a_match_is_told_by_the_mean_and_the_greatest_surprise_of_its_tokens():
    batch = rows.batch(ROW, *PACKED)
    found, values = outputs(batch).matching, logits(batch)
    each = rows.places(
        optax.softmax_cross_entropy_with_integer_labels(values, batch.targets.tokens), batch.targets.segment_ids
    )
    for row, members in enumerate(PACKED):
        for line, example in enumerate(members):
            surprise = each[row, line + 1][len(example["prompt"]) :]
            wanted = 2 - np.log1p(surprise.mean()) - np.log1p(surprise.max())
            np.testing.assert_allclose(found[row, line], wanted, rtol=1e-5)


def test_the_loss_is_optaxs_of_true_and_false_claims_and_nothing_of_others():
    batch = rows.batch(ROW, *PACKED)
    told = outputs(batch)
    found, weights, hits = matching.totals(told, batch), matching.weights(batch), matching.hits(told, batch)
    for row, members in enumerate(PACKED):
        for line, example in enumerate(members):
            claim, weight = example["claim"][0], example["weight"][0]
            logit = told.matching[row, line]
            wanted = optax.sigmoid_binary_cross_entropy(logit, float(claim > 0)) if claim else 0
            np.testing.assert_allclose(found[row, line], weight * wanted, rtol=1e-5)
            assert weights[row, line] == weight * abs(claim)
            assert hits[row, line] == (weight if claim * logit > 0 else 0)
    assert np.all(found[:, 2:] == 0) and np.all(weights[:, 2:] == 0) and np.all(hits[:, 2:] == 0)


def test_what_is_falsely_claimed_is_not_learned_as_text():
    batch = rows.batch(ROW, *PACKED)
    values = logits(batch)
    told = speech_text.Outputs(targets=values)
    honest = batch._replace(segments=batch.segments._replace(claims=jnp.zeros_like(batch.segments.claims)))
    false = rows.lines(batch.segments.claims < 0, batch)
    for function in (lambda b: targets.totals(told, b), targets.weights, lambda b: targets.hits(told, b)):
        found, all_learned = (rows.lines(function(b), b) for b in (batch, honest))
        assert found == {place: 0 if false[place] else value for place, value in all_learned.items()}
    assert sum(map(bool, false.values())) == 2


def test_without_the_lane_there_is_no_loss_and_without_the_head_an_error():
    without = rows.batch(batches.Row(inputs=8, segments=4), [rows.example(0, inputs=3)])
    assert np.all(matching.totals(speech_text.Outputs(), without) == 0)
    with pytest.raises(ValueError, match=r"does not say. Set Model.matching = True"):
        matching.totals(speech_text.Outputs(), rows.batch(ROW, *PACKED))


@pytest.mark.slow
def test_a_false_claim_becomes_a_greater_surprise():
    row = dataclasses.replace(ROW, audio_seconds=2.4)
    batch = rows.batch(row, [rows.example(7, seconds=0.9, targets=6, claim=-1)])
    graph, params = rows.model(matching=True)
    told = jax.jit(lambda params: rows.nnx.merge(graph, params)(batch))

    def surprise(params):
        return float(likelihoods.cross_entropy(told(params).targets, batch.targets.tokens)[0, :6].mean())

    loss = jax.jit(jax.grad(lambda params: matching.totals(told(params), batch).sum()))
    steps = jax.tree.map(lambda leaf, slope: leaf - 0.1 * slope, params, loss(params))
    learned = rows.nnx.merge(graph, steps)
    # The three numbers of the head stay: what changes is what the model says of the words.
    learned.matching = rows.nnx.merge(graph, params).matching
    assert surprise(rows.nnx.state(learned)) > surprise(params) + 1e-3
