"""Cross-entropy of the encoder over masked input tokens: L = -sum over masked i of log P(x_i | the masked text)."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from speechlm_jax import batch as batches
from speechlm_jax.layers import likelihoods, segments
from speechlm_jax.models import speech_text


def weights(batch: batches.Batch) -> Float[Array, "B E"]:
    """Weights of the masked tokens of each segment, summed."""
    lines = batch.segments
    if batch.inputs is None:
        return jnp.zeros_like(lines.weights)
    lane = batch.inputs
    return lines.weights * segments.total(lane.masked_weights, lane.segment_ids, lines.weights.shape[1])


def totals(outputs: speech_text.Outputs, batch: batches.Batch) -> Float[Array, "B E"]:
    """-log P(masked token | all that is not masked) in nats, weighted and summed over each segment."""
    lines = batch.segments
    if batch.inputs is None:
        return jnp.zeros_like(lines.weights)
    lane = batch.inputs
    assert outputs.masked_tokens is not None  # The model reads every inputs lane.
    losses_BS = lane.masked_weights * likelihoods.cross_entropy(outputs.masked_tokens, lane.masked_tokens)
    return lines.weights * segments.total(losses_BS, lane.segment_ids, lines.weights.shape[1])


def hits(outputs: speech_text.Outputs, batch: batches.Batch) -> Float[Array, "B E"]:
    """Weights of the masked tokens that are the likeliest at their places."""
    lines = batch.segments
    if batch.inputs is None or outputs.masked_tokens is None:
        return jnp.zeros_like(lines.weights)
    lane = batch.inputs
    right_BS = lane.masked_weights * (outputs.masked_tokens.argmax(-1) == lane.masked_tokens)
    return lines.weights * segments.total(right_BS, lane.segment_ids, lines.weights.shape[1])
