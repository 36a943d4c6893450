"""The loss of target tokens is optax's, and prompts weigh nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import rows

from speechlm_jax import batch as batches
from speechlm_jax.losses import targets
from speechlm_jax.models import speech_text

ROW = batches.Row(targets=30, segments=4)
EXAMPLES = [rows.example(seed, prompt=p, targets=t) for seed, (p, t) in enumerate(((2, 5), (0, 7), (3, 1)))]


def logits(batch):
    shape = (*batch.targets.tokens.shape, rows.VOCABULARY)
    return jnp.asarray(np.random.default_rng(0).normal(size=shape) * 3, jnp.float32)


def test_the_loss_is_optaxs_over_target_tokens_and_prompts_weigh_nothing():
    batch = rows.batch(ROW, [EXAMPLES[1], EXAMPLES[0]], [EXAMPLES[2]])
    values = logits(batch)
    found = targets.totals(speech_text.Outputs(values, None, None), batch)
    weights = targets.weights(batch)
    each = rows.places(
        optax.softmax_cross_entropy_with_integer_labels(values, batch.targets.tokens), batch.targets.segment_ids
    )
    for (row, segment), example in {(0, 1): EXAMPLES[1], (0, 2): EXAMPLES[0], (1, 1): EXAMPLES[2]}.items():
        prompt, scale = len(example["prompt"]), example["weight"][0]
        np.testing.assert_allclose(found[row, segment - 1], scale * each[row, segment][prompt:].sum(), rtol=1e-5)
        np.testing.assert_allclose(weights[row, segment - 1], scale * len(example["targets"]))
    assert np.all(found[:, 2:] == 0) and np.all(weights[:, 2:] == 0)


def test_gradients_are_softmax_minus_one_hot():
    batch = rows.batch(ROW, [EXAMPLES[0]])
    values = logits(batch)
    found = jax.grad(lambda values: targets.totals(speech_text.Outputs(values, None, None), batch).sum())(values)
    wanted = jax.nn.softmax(values) - jax.nn.one_hot(batch.targets.tokens, rows.VOCABULARY)
    wanted *= (batch.targets.weights * EXAMPLES[0]["weight"][0])[:, :, None]
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_without_the_lane_there_is_no_loss():
    batch = rows.batch(batches.Row(inputs=8, segments=4), [rows.example(0, inputs=3)])
    assert np.all(targets.totals(speech_text.Outputs(None, None, None), batch) == 0)
    assert np.all(targets.weights(batch) == 0)
