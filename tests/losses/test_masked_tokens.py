"""The loss of masked tokens is optax's over masked places."""

import jax.numpy as jnp
import numpy as np
import optax
import rows

from speechlm_jax import batch as batches
from speechlm_jax.losses import masked_tokens
from speechlm_jax.models import speech_text

ROW = batches.Row(inputs=30, segments=4)


def test_the_loss_is_optaxs_over_masked_places():
    examples = [rows.example(seed, inputs=length) for seed, length in enumerate((9, 12, 4))]
    batch = rows.batch(ROW, examples[:2], examples[2:])
    values = jnp.asarray(
        np.random.default_rng(0).normal(size=(*batch.inputs.tokens.shape, rows.VOCABULARY)), jnp.float32
    )
    found = masked_tokens.totals(speech_text.Outputs(None, values, None), batch)
    weights = masked_tokens.weights(batch)
    each = rows.places(
        optax.softmax_cross_entropy_with_integer_labels(values, batch.inputs.masked_tokens), batch.inputs.segment_ids
    )
    for (row, segment), example in {(0, 1): examples[0], (0, 2): examples[1], (1, 1): examples[2]}.items():
        share = example["masked_weights"] * example["weight"][0]
        np.testing.assert_allclose(found[row, segment - 1], (share * each[row, segment]).sum(), rtol=1e-5)
        np.testing.assert_allclose(weights[row, segment - 1], share.sum())
    assert np.all(found[1, 1:] == 0)


def test_without_the_lane_there_is_no_loss():
    batch = rows.batch(batches.Row(targets=8, segments=4), [rows.example(0, targets=3)])
    assert np.all(masked_tokens.totals(speech_text.Outputs(None, None, None), batch) == 0)
    assert np.all(masked_tokens.weights(batch) == 0)


def test_hits_are_the_masked_places_where_the_likeliest_token_is_right():
    example = rows.example(0, inputs=8)
    batch = rows.batch(ROW, [example])
    guesses = example["masked_tokens"].copy()
    guesses[::2] += 1
    values = np.zeros((1, 30, rows.VOCABULARY), np.float32)
    values[0, np.arange(8), guesses % rows.VOCABULARY] = 1.0
    found = masked_tokens.hits(speech_text.Outputs(masked_tokens=jnp.asarray(values)), batch)
    np.testing.assert_allclose(found[0, 0], example["weight"][0] * example["masked_weights"][1::2].sum())
    assert not np.any(found[0, 1:])
