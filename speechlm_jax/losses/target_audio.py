"""Cross-entropy of the decoder over the levels of speech, and over whether it ends."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from speechlm_jax import batch as batches
from speechlm_jax.layers import likelihoods, segments
from speechlm_jax.models import speech_text


def weights(batch: batches.Batch) -> Float[Array, "B E"]:
    """Speech frames that the decoder is to write for each segment."""
    lines = batch.segments
    if batch.target_audio is None:
        return jnp.zeros_like(lines.weights)
    return lines.weights * segments.length(batch.target_audio.segment_ids, lines.weights.shape[1])


def totals(outputs: speech_text.Outputs, batch: batches.Batch) -> Float[Array, "B E"]:
    """-log P(levels of a frame | earlier steps, encoder) in nats, the mean over mel channels, summed over the frames
    of each segment; and -log P(the speech ends here, or not) of each step, which counts as one frame does."""
    lines = batch.segments
    if batch.target_audio is None:
        return jnp.zeros_like(lines.weights)
    told = outputs.target_audio
    assert told is not None and told.truth is not None  # The model decodes every target_audio lane.
    ids_BT, num_segments = batch.target_audio.segment_ids, lines.weights.shape[1]
    frames_BYR = jnp.mean(likelihoods.cross_entropy(told.levels, told.truth), axis=-1)
    sums_BE = segments.total(frames_BYR.reshape(ids_BT.shape), ids_BT, num_segments)
    step_ids_BY = ids_BT[:, :: frames_BYR.shape[2]]
    return lines.weights * (sums_BE + segments.total(_stop(told.stop, step_ids_BY), step_ids_BY, num_segments))


def _stop(logits: Float[Array, "B Y"], step_ids: Int[Array, "B Y"]) -> Float[Array, "B Y"]:
    """-log of the probability of stopping at a segment's last step, and of going on at the others."""
    following_BY = jnp.pad(step_ids[:, 1:], ((0, 0), (0, 1)))
    return jax.nn.softplus(jnp.where(step_ids != following_BY, -logits, logits))
