"""Cross-entropy of the decoder over target tokens."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from speechlm_jax import batch as batches
from speechlm_jax.layers import segments
from speechlm_jax.models import speech_text


def weights(batch: batches.Batch) -> Float[Array, "B E"]:
    """Token weights of each segment, summed; a prompt weighs nothing."""
    lines = batch.segments
    if batch.targets is None:
        return jnp.zeros_like(lines.weights)
    lane = batch.targets
    return lines.weights * segments.total(lane.weights, lane.segment_ids, lines.weights.shape[1])


def totals(outputs: speech_text.Outputs, batch: batches.Batch) -> Float[Array, "B E"]:
    """-log P(token | those before, encoder) in nats, weighted and summed over each segment."""
    lines = batch.segments
    if batch.targets is None:
        return jnp.zeros_like(lines.weights)
    lane = batch.targets
    assert outputs.targets is not None  # The model decodes every targets lane.
    losses_BU = lane.weights * cross_entropy(outputs.targets, lane.tokens)
    return lines.weights * segments.total(losses_BU, lane.segment_ids, lines.weights.shape[1])


def hits(outputs: speech_text.Outputs, batch: batches.Batch) -> Float[Array, "B E"]:
    """Weights of the target tokens that are the likeliest behind the true ones before them."""
    lines = batch.segments
    if batch.targets is None or outputs.targets is None:
        return jnp.zeros_like(lines.weights)
    lane = batch.targets
    right_BU = lane.weights * (outputs.targets.argmax(-1) == lane.tokens)
    return lines.weights * segments.total(right_BU, lane.segment_ids, lines.weights.shape[1])


def cross_entropy(logits: Float[Array, "*places V"], tokens: Int[Array, "*places"]) -> Float[Array, "*places"]:
    """-log softmax(logits)[token] in nats."""
    # By comparison, not by gather: so the vocabulary may be cut over devices, and the gradient is no scatter.
    entries_V = jnp.arange(logits.shape[-1], dtype=tokens.dtype)
    chosen = jnp.expand_dims(entries_V, tuple(range(tokens.ndim))) == tokens[..., None]
    own = jnp.sum(jnp.where(chosen, logits, 0.0), axis=-1)
    return jax.nn.logsumexp(logits, axis=-1) - own
