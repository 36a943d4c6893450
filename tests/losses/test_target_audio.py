"""The loss of speech out is optax's over levels of live frames and the end."""

import jax.numpy as jnp
import numpy as np
import optax
import rows

from speechlm_jax import batch as batches
from speechlm_jax.losses import target_audio
from speechlm_jax.models import speech_out, speech_text

ROW = batches.Row(target_audio_seconds=1.6, segments=4)
EXAMPLES = [rows.example(seed, target_seconds=seconds) for seed, seconds in enumerate((0.4, 0.55))]


def test_the_loss_is_optaxs_over_the_levels_of_live_frames_and_the_end():
    batch = rows.batch(ROW, EXAMPLES)
    steps, random = ROW.target_audio_steps, np.random.default_rng(0)
    told = speech_out.Told(
        levels=jnp.asarray(random.normal(size=(1, steps, 2, 6, 5)), jnp.float32),
        stop=jnp.asarray(random.normal(size=(1, steps)), jnp.float32),
        truth=jnp.asarray(random.integers(0, 5, (1, steps, 2, 6)), jnp.int32),
    )
    found = target_audio.totals(speech_text.Outputs(target_audio=told), batch)
    weights = target_audio.weights(batch)
    each = np.asarray(optax.softmax_cross_entropy_with_integer_labels(told.levels, told.truth)).mean(-1).reshape(-1)
    ids = np.asarray(batch.target_audio.segment_ids[0])
    for segment, example in enumerate(EXAMPLES, start=1):
        places = np.flatnonzero(ids[::2] == segment)
        is_last = jnp.asarray(places == places[-1], jnp.float32)
        stop = optax.sigmoid_binary_cross_entropy(told.stop[0, places], is_last).sum()
        scale, frames = example["weight"][0], rows.frames(example["target_audio"])
        np.testing.assert_allclose(found[0, segment - 1], scale * (each[ids == segment].sum() + stop), rtol=1e-5)
        np.testing.assert_allclose(weights[0, segment - 1], scale * frames)
    assert not np.any(found[0, 2:])


def test_without_the_lane_there_is_no_loss():
    batch = rows.batch(batches.Row(inputs=8, segments=4), [rows.example(0, inputs=3)])
    assert not target_audio.totals(speech_text.Outputs(), batch).any() and not target_audio.weights(batch).any()
