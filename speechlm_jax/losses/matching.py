"""Binary cross-entropy of whether the decoder's target is what was spoken: of claims, true and false."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from speechlm_jax import batch as batches
from speechlm_jax.models import speech_text


def weights(batch: batches.Batch) -> Float[Array, "B E"]:
    """1 for each claim, times the weight of its segment."""
    lines = batch.segments
    return lines.weights * jnp.abs(lines.claims)


def totals(outputs: speech_text.Outputs, batch: batches.Batch) -> Float[Array, "B E"]:
    """-log P(what the claim is | claim, encoder) in nats.

    Raises:
        ValueError: the batch has targets, and the model does not match them.
    """
    lines = batch.segments
    if batch.targets is None:
        return jnp.zeros_like(lines.weights)
    if outputs.matching is None:
        raise ValueError(
            "the loss head 'matching' reads whether a text matches speech, and the model does not say. Set "
            "Model.matching = True, or leave 'matching' out of Losses.coefficients."
        )
    return weights(batch) * jax.nn.softplus(-lines.claims * outputs.matching)


def hits(outputs: speech_text.Outputs, batch: batches.Batch) -> Float[Array, "B E"]:
    """The weight of the claims that are told rightly."""
    if outputs.matching is None:
        return jnp.zeros_like(batch.segments.weights)
    return weights(batch) * (batch.segments.claims * outputs.matching > 0)
