"""Speech out of the decoder: log-mel frames in a few levels a channel (dMel, arXiv 2407.15835), several a step."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from speechlm_jax import axes, batch
from speechlm_jax.layers import dropout, segments, weights
from speechlm_jax.models import config, log_mel

DB_OF_FEATURE = 40.0
"""Decibels in a difference of 1 between log-mel features."""


class Told(NamedTuple):
    """What the decoder says of each step of speech."""

    levels: Float[Array, "B Y R M Z"]
    """float32 logits over the levels of every channel of every frame of the step."""
    stop: Float[Array, "B Y"]
    """float32 logit of this step being the last one."""
    truth: Int[Array, "B Y R M"] | None
    """The levels that stand there; None while decoding."""
    strays: Float[Array, "B Y"] | None = None
    """How far from the diagonal of its text each step looks, 0 to 1; None where no head is guided, and while
    decoding."""


def levels(lane: batch.AudioLane, num_segments: int, choice: config.SpeechOut) -> Int[Array, "B Y R M"]:
    """The levels of packed waveforms, from 0 (`range_db` below the segment's loudest channel, or less) up; 0 at dead
    frames."""
    mel_BTM = log_mel.features(lane.samples, lane.segment_ids, num_segments, choice.mels)
    loudest_BE = segments.maximum(jnp.max(mel_BTM, axis=-1), lane.segment_ids, num_segments)
    below_BTM = (mel_BTM - segments.look_up(loudest_BE, lane.segment_ids)[:, :, None]) * DB_OF_FEATURE
    share_BTM = jnp.clip(1.0 + below_BTM / choice.range_db, 0.0, 1.0)
    levels_BTM = jnp.round(share_BTM * (choice.levels - 1)).astype(jnp.int32)
    levels_BTM = jnp.where((lane.segment_ids > 0)[:, :, None], levels_BTM, 0)
    num_rows, num_frames, mels = mel_BTM.shape
    return levels_BTM.reshape(num_rows, num_frames // choice.reduction, choice.reduction, mels)


class SpeechOut(nnx.Module):
    """What brings frames into the decoder, and what reads the next ones from it."""

    def __init__(self, choice: config.Model, speech: config.SpeechOut, *, rngs: nnx.Rngs):
        self.choice = speech
        size = speech.reduction * speech.mels
        self.in_IC = weights.matrix(rngs, (size, speech.hidden), (axes.MELS, axes.CHANNELS), fan_in=size)
        self.in_C = weights.constant(0.0, (speech.hidden,), (axes.CHANNELS,))
        self.middle_CD = weights.matrix(
            rngs, (speech.hidden, choice.width), (axes.CHANNELS, axes.EMBED), fan_in=speech.hidden
        )
        self.middle_D = weights.constant(0.0, (choice.width,), (axes.EMBED,))
        self.levels_DIZ = weights.matrix(
            rngs, (choice.width, size, speech.levels), (axes.EMBED, axes.MELS, axes.CODES), fan_in=choice.width
        )
        self.stop_D = weights.constant(0.0, (choice.width,), (axes.EMBED,))
        self.stop_bias = weights.constant(0.0, (), ())
        self.dtype = jnp.dtype(choice.dtype)

    def into(self, levels: Int[Array, "B Y R M"], key: PRNGKeyArray | None = None) -> Float[Array, "B Y D"]:
        """Steps of speech at the width of the trunk."""
        num_rows, num_steps = levels.shape[:2]
        values_BYI = levels.reshape(num_rows, num_steps, -1).astype(self.dtype) / (self.choice.levels - 1)
        hidden_BYC = jnp.einsum("BYI,IC->BYC", values_BYI, self.in_IC[...].astype(self.dtype))
        hidden_BYC = jax.nn.silu(hidden_BYC + self.in_C[...].astype(self.dtype)[None, None, :])
        hidden_BYC = dropout.dropout(hidden_BYC, self.choice.dropout, key)
        out_BYD = jnp.einsum("BYC,CD->BYD", hidden_BYC, self.middle_CD[...].astype(self.dtype))
        return out_BYD + self.middle_D[...].astype(self.dtype)[None, None, :]

    def out_of(self, hidden: Float[Array, "B Y D"], truth: Int[Array, "B Y R M"] | None = None) -> Told:
        """What normalised `hidden` says of its steps."""
        speech, (num_rows, num_steps, _) = self.choice, hidden.shape
        kernel_DIZ = self.levels_DIZ[...].astype(hidden.dtype)
        levels_BYIZ = jnp.einsum("BYD,DIZ->BYIZ", hidden, kernel_DIZ, preferred_element_type=jnp.float32)
        stop_BY = jnp.einsum("BYD,D->BY", hidden.astype(jnp.float32), self.stop_D[...]) + self.stop_bias[...]
        shape = (num_rows, num_steps, speech.reduction, speech.mels, speech.levels)
        return Told(levels_BYIZ.reshape(shape), stop_BY, truth)
