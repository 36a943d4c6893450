"""Cross-entropy of the decoder over target tokens."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from speechlm_jax import batch as batches
from speechlm_jax.layers import likelihoods, segments
from speechlm_jax.models import speech_text


def weights(batch: batches.Batch) -> Float[Array, "B E"]:
    """Token weights of each segment, summed; a prompt weighs nothing, nor does what is falsely claimed."""
    lines = batch.segments
    if batch.targets is None:
        return jnp.zeros_like(lines.weights)
    lane = batch.targets
    return _learned(lines) * segments.total(lane.weights, lane.segment_ids, lines.weights.shape[1])


def totals(outputs: speech_text.Outputs, batch: batches.Batch) -> Float[Array, "B E"]:
    """-log P(token | those before, encoder) in nats, weighted and summed over each segment."""
    lines = batch.segments
    if batch.targets is None:
        return jnp.zeros_like(lines.weights)
    lane = batch.targets
    assert outputs.targets is not None  # The model decodes every targets lane.
    losses_BU = lane.weights * likelihoods.cross_entropy(outputs.targets, lane.tokens)
    return _learned(lines) * segments.total(losses_BU, lane.segment_ids, lines.weights.shape[1])


def hits(outputs: speech_text.Outputs, batch: batches.Batch) -> Float[Array, "B E"]:
    """Weights of the target tokens that are the likeliest behind the true ones before them."""
    lines = batch.segments
    if batch.targets is None or outputs.targets is None:
        return jnp.zeros_like(lines.weights)
    lane = batch.targets
    right_BU = lane.weights * (outputs.targets.argmax(-1) == lane.tokens)
    return _learned(lines) * segments.total(right_BU, lane.segment_ids, lines.weights.shape[1])


def _learned(lines: batches.Segments) -> Float[Array, "B E"]:
    """The weights of segments, without those whose target is not to be told."""
    return lines.weights * (lines.claims >= 0)
