"""What brings speech and text to the width of the trunk."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from speechlm_jax import axes
from speechlm_jax.layers import convolution, weights
from speechlm_jax.models import config


class Speech(nnx.Module):
    """Log-mel features to encoder positions: convolutions that halve the frame rate, then a projection."""

    def __init__(self, choice: config.Model, *, rngs: nnx.Rngs):
        channels = choice.stem_channels
        self.halves = nnx.List(
            convolution.ShortConvolution(
                channels if layer else choice.mels, channels, axes.CHANNELS if layer else axes.MELS, rngs=rngs
            )
            for layer in range(int(math.log2(choice.subsampling)))
        )
        self.projection_CD = weights.matrix(
            rngs, (channels, choice.width), (axes.CHANNELS, axes.EMBED), fan_in=channels
        )
        self.dtype = jnp.dtype(choice.dtype)

    def __call__(self, features: Float[Array, "B T M"], segment_ids: Int[Array, "B T"]) -> Float[Array, "B P D"]:
        """Zeros at dead positions. The rows' features must be zeros at dead frames."""
        x_BTC = features.astype(self.dtype)
        for halve in self.halves:
            segment_ids = segment_ids[:, ::2]
            x_BTC = _without_dead(jax.nn.gelu(halve(x_BTC)), segment_ids)
        return jnp.einsum("BPC,CD->BPD", x_BTC, self.projection_CD[...].astype(self.dtype))


class WhisperSpeech(nnx.Module):
    """The same by Whisper's two convolutions, as wide as the trunk: one that keeps the rate, and one that halves it."""

    def __init__(self, choice: config.Model, *, rngs: nnx.Rngs):
        width = choice.width
        self.near = convolution.ShortConvolution(choice.mels, width, axes.MELS, halves=False, rngs=rngs)
        self.half = convolution.ShortConvolution(width, width, axes.CHANNELS, rngs=rngs)
        self.dtype = jnp.dtype(choice.dtype)

    def __call__(self, features: Float[Array, "B T M"], segment_ids: Int[Array, "B T"]) -> Float[Array, "B P D"]:
        """As that of Speech."""
        x_BTD = self.near(features.astype(self.dtype))
        x_BTD = _without_dead(jax.nn.gelu(x_BTD, approximate=False), segment_ids)
        return _without_dead(jax.nn.gelu(self.half(x_BTD), approximate=False), segment_ids[:, ::2])


def _without_dead(x: Float[Array, "B T C"], segment_ids: Int[Array, "B T"]) -> Float[Array, "B T C"]:
    """A dead place is zero at every rate, as the padding of an example alone would be."""
    return jnp.where((segment_ids > 0)[:, :, None], x, 0)


class Text(nnx.Module):
    """The embedding of tokens, and logits over the vocabulary from the same table."""

    def __init__(self, choice: config.Model, *, rngs: nnx.Rngs):
        self.table_VD = weights.matrix(
            rngs, (choice.vocabulary_size, choice.width), (axes.VOCABULARY, axes.EMBED), fan_in=choice.width
        )
        self.dtype = jnp.dtype(choice.dtype)
        self.scale = 1.0 if choice.is_whisper else math.sqrt(choice.width)

    def __call__(self, tokens: Int[Array, "B S"]) -> Float[Array, "B S D"]:
        """Vectors of unit variance to begin with; Whisper's are smaller."""
        return jnp.take(self.table_VD[...].astype(self.dtype), tokens, axis=0) * self.scale

    def logits(self, hidden: Float[Array, "B S D"]) -> Float[Array, "B S V"]:
        """float32 logits of normalised `hidden`."""
        table_VD = self.table_VD[...].astype(hidden.dtype)
        return jnp.einsum("BSD,VD->BSV", hidden, table_VD, preferred_element_type=jnp.float32)

    def logits_of_steps(self) -> Callable[[Float[Array, "B S D"]], Float[Array, "B S V"]]:
        """`logits` for the steps of a loop. The table is made ready once, and stands on the left: on a CPU it is sooner
        multiplied so by a few states."""
        table_VD = self.table_VD[...].astype(self.dtype)

        def logits(hidden: Float[Array, "B S D"]) -> Float[Array, "B S V"]:
            logits_VBS = jnp.einsum("VD,BSD->VBS", table_VD, hidden, preferred_element_type=jnp.float32)
            return jnp.moveaxis(logits_VBS, 0, 2)

        return logits
