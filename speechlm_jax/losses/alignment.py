"""Guided attention (arXiv 1710.08969, section 4): how far speech out looks from the place of its text where it is."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from speechlm_jax import batch as batches
from speechlm_jax.layers import segments
from speechlm_jax.models import speech_text


def weights(batch: batches.Batch) -> Float[Array, "B E"]:
    """Speech frames that the decoder is to write for each segment with a text to read."""
    lines = batch.segments
    if batch.target_audio is None or batch.inputs is None:
        return jnp.zeros_like(lines.weights)
    return _reading(batch.inputs, lines) * segments.length(batch.target_audio.segment_ids, lines.weights.shape[1])


def totals(outputs: speech_text.Outputs, batch: batches.Batch) -> Float[Array, "B E"]:
    """The mean distance from the diagonal, 0 to 1, at which the guided heads look, summed over frames.

    Raises:
        ValueError: the batch has speech to write and text to read, and no head of the model is guided.
    """
    lines = batch.segments
    if batch.target_audio is None or batch.inputs is None:
        return jnp.zeros_like(lines.weights)
    if outputs.alignment is None:
        raise ValueError(
            "the loss head 'alignment' reads where attention strays from the text of speech, and no head of the model "
            "tells. Set SpeechOut.guided_heads to one or more, or leave 'alignment' out of Losses.coefficients."
        )
    ids_BT = batch.target_audio.segment_ids
    strays_BT = jnp.repeat(outputs.alignment, ids_BT.shape[1] // outputs.alignment.shape[1], axis=1)
    return _reading(batch.inputs, lines) * segments.total(strays_BT, ids_BT, lines.weights.shape[1])


def _reading(inputs: batches.InputsLane, lines: batches.Segments) -> Float[Array, "B E"]:
    """The weights of segments with text to read, 0 for the others. One token alone is no text: it names a task, such as
    the denoising of speech, and there is no order in which to read it."""
    return lines.weights * (segments.length(inputs.segment_ids, lines.weights.shape[1]) > 1)
