"""The loss of hidden speech is optax's over positions and codebooks, and counts its codes."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest
import rows

from speechlm_jax import batch as batches
from speechlm_jax.losses import masked_speech
from speechlm_jax.models import masking, speech_text

ROW = batches.Row(audio_seconds=3.2, segments=4)
EXAMPLES = [rows.example(seed, seconds=s, mask_share=share) for seed, (s, share) in enumerate(((1.0, 0.5), (0.8, 0)))]


def outputs():
    random = np.random.default_rng(0)
    return masking.Masked(
        hidden=jnp.asarray(random.random((1, 80)) < 0.4),
        codes=jnp.asarray(random.integers(0, 8, (1, 80, 2)), jnp.int32),
        logits=jnp.asarray(random.normal(size=(1, 80, 2, 8)), jnp.float32),
    )


def test_the_loss_is_optaxs_mean_over_hidden_positions_and_codebooks():
    batch, out = rows.batch(ROW, EXAMPLES), outputs()
    each = np.asarray(optax.softmax_cross_entropy_with_integer_labels(out.logits, out.codes))[0]
    here = np.asarray(batch.audio.segment_ids[0, ::4] == 1) & np.asarray(out.hidden[0])
    frames = rows.frames(EXAMPLES[0]["audio"])
    scale = EXAMPLES[0]["weight"][0] * 0.5 * frames
    found = masked_speech.totals(speech_text.Outputs(masked_speech=out), batch)
    np.testing.assert_allclose(found[0, 0], scale * each[here].mean(), rtol=1e-5)
    np.testing.assert_allclose(masked_speech.weights(batch)[0, 0], scale)
    assert not np.any(found[0, 1:])


def test_codes_are_counted_where_speech_is_hidden_that_weighs():
    silent = EXAMPLES[1] | {"weight": np.zeros(1, np.float32)}
    batch, out = rows.batch(ROW, [EXAMPLES[0], silent]), outputs()
    found = masked_speech.code_counts(speech_text.Outputs(masked_speech=out), batch)
    hidden = np.asarray(out.hidden[0]) & np.asarray(batch.audio.segment_ids[0, ::4] == 1)
    for q in range(2):
        wanted = np.bincount(np.asarray(out.codes)[0, hidden, q], minlength=8)
        np.testing.assert_array_equal(found[q], wanted)


def test_hits_are_the_share_of_hidden_codes_that_are_the_likeliest():
    batch, out = rows.batch(ROW, EXAMPLES), outputs()
    here = np.asarray(batch.audio.segment_ids[0, ::4] == 1) & np.asarray(out.hidden[0])
    share = np.mean(np.asarray(out.logits[0, here]).argmax(-1) == np.asarray(out.codes[0, here]))
    told = speech_text.Outputs(masked_speech=out)
    found, weights = masked_speech.hits(told, batch), masked_speech.weights(batch)
    np.testing.assert_allclose(found[0, 0], weights[0, 0] * share, rtol=1e-5)
    assert 0 < share < 1 and not np.any(found[0, 1:])


def test_a_model_without_the_head_is_named():
    with pytest.raises(ValueError, match=r"Model\.masked_speech = @MaskedSpeech"):
        masked_speech.totals(speech_text.Outputs(), rows.batch(ROW, EXAMPLES))


def test_without_speech_there_is_no_loss():
    batch = rows.batch(batches.Row(inputs=8, segments=4), [rows.example(0, inputs=3)])
    assert not masked_speech.totals(speech_text.Outputs(), batch).any() and not masked_speech.weights(batch).any()
