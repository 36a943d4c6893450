"""Cross-entropy of the encoder over the codes of hidden speech (BEST-RQ, arXiv 2202.01855)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from speechlm_jax import batch as batches
from speechlm_jax.layers import likelihoods, segments
from speechlm_jax.models import speech_text


def weights(batch: batches.Batch) -> Float[Array, "B E"]:
    """Speech frames of each segment times the share that is to be hidden: so the loss is one of hidden frames."""
    lines = batch.segments
    if batch.audio is None:
        return jnp.zeros_like(lines.weights)
    frames_BE = segments.length(batch.audio.segment_ids, lines.weights.shape[1])
    return lines.weights * lines.mask_shares * frames_BE


def totals(outputs: speech_text.Outputs, batch: batches.Batch) -> Float[Array, "B E"]:
    """-log P(code | what is not hidden) in nats, its mean over the hidden positions of a segment and over codebooks
    times the segment's weight. A segment of which nothing was hidden counts 0.

    Raises:
        ValueError: the batch has speech, and the model no head for hidden speech.
    """
    lines = batch.segments
    if batch.audio is None:
        return jnp.zeros_like(lines.weights)
    if outputs.masked_speech is None:
        raise ValueError(
            "the loss head 'masked_speech' reads a head over codes of speech, and the model has none. Set "
            "Model.masked_speech = @MaskedSpeech(), or leave 'masked_speech' out of Losses.coefficients."
        )
    masked = outputs.masked_speech
    losses_BP = jnp.mean(likelihoods.cross_entropy(masked.logits, masked.codes), axis=-1)
    return weights(batch) * _mean_over_hidden(losses_BP, masked.hidden, batch)


def hits(outputs: speech_text.Outputs, batch: batches.Batch) -> Float[Array, "B E"]:
    """The weights of segments, each times the share of its hidden codes that are the likeliest."""
    lines, masked = batch.segments, outputs.masked_speech
    if batch.audio is None or masked is None:
        return jnp.zeros_like(lines.weights)
    right_BP = jnp.mean(masked.logits.argmax(-1) == masked.codes, axis=-1)
    return weights(batch) * _mean_over_hidden(right_BP, masked.hidden, batch)


def code_counts(outputs: speech_text.Outputs, batch: batches.Batch) -> Float[Array, "Q Z"]:
    """How often each code stands at a hidden position of a segment that weighs: what tells whether the codebooks are in
    use."""
    masked = outputs.masked_speech
    assert masked is not None and batch.audio is not None
    weights_BP = segments.look_up(batch.segments.weights, _ids(batch.audio, masked.hidden.shape[1]))
    count_BP = masked.hidden & (weights_BP > 0)
    return (jax.nn.one_hot(masked.codes, masked.logits.shape[-1]) * count_BP[:, :, None, None]).sum((0, 1))


def _mean_over_hidden(
    values_BP: Float[Array, "B P"], are_hidden_BP: Bool[Array, "B P"], batch: batches.Batch
) -> Float[Array, "B E"]:
    """The mean over the hidden positions of each segment; 0 where there are none."""
    assert batch.audio is not None
    num_segments = batch.segments.weights.shape[1]
    ids_BP = _ids(batch.audio, values_BP.shape[1])
    hidden_BP = are_hidden_BP.astype(jnp.float32)
    sums_BE = segments.total(values_BP * hidden_BP, ids_BP, num_segments)
    return sums_BE / jnp.maximum(segments.total(hidden_BP, ids_BP, num_segments), 1.0)


def _ids(audio: batches.AudioLane, positions: int) -> Int[Array, "B P"]:
    """The segment of each position of the encoder."""
    return audio.segment_ids[:, :: audio.segment_ids.shape[1] // positions]
