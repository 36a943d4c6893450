"""One stack over the audio positions and the text positions of a row, each segment by itself."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from speechlm_jax import axes
from speechlm_jax.layers import (
    convolution,
    dropout,
    masks,
    positions,
    stack,
    weights,
)
from speechlm_jax.models import config, parts


class Lane(NamedTuple):
    """Encoder positions of one modality."""

    hidden: Float[Array, "B S D"]
    segment_ids: Int[Array, "B S"]
    positions: Int[Array, "B S"]


class Encoded(NamedTuple):
    """What the encoder gives; zeros where no example lies."""

    hidden: Float[Array, "B S D"]
    """Audio positions, then text positions."""
    segment_ids: Int[Array, "B S"]
    audio: Float[Array, "B P D"] | None
    """The audio positions alone."""
    inputs: Float[Array, "B S D"] | None
    """The text positions alone."""


class Surroundings(NamedTuple):
    """What every block of the stack needs beside its input."""

    mask: masks.SegmentMask
    rotation: positions.Rotation | None
    audio_ids: Int[Array, "B P"] | None
    inputs_ids: Int[Array, "B W"] | None
    """Of the audio positions, and of the text positions behind them."""


class Block(nnx.Module):
    """A Conformer block (arXiv 2005.08100) or a Transformer block, each part behind a norm and beside a residual.

    Speech and text have convolutions of their own: a tap is 40 ms of the one and a token of the other. A Transformer
    block may have that of text.
    """

    def __init__(self, choice: config.Model, *, rngs: nnx.Rngs):
        self.conformer = choice.encoder_block == "conformer"
        self.rate = choice.dropout
        branches = 4 if self.conformer else 2
        # The sum of all residuals is about as large as what enters the stack; that of the convolution of text comes on
        # top, so that a model begins alike with it and without.
        out_scale = 1 / math.sqrt(branches * choice.encoder_layers)
        width = choice.width

        shared: dict[str, Any] = {"out_scale": out_scale, "numbers": choice.products, "rngs": rngs}
        if self.conformer:
            self.first_norm = parts.norm(choice)
            self.first_feed_forward = parts.feed_forwards(choice, **shared)
            self.convolution_norm = parts.norm(choice)
            self.convolution = convolution.ConformerConvolution(width, choice.conv_kernel, **shared)
        self.text_kernel = choice.text_kernel
        if choice.text_kernel:
            self.text_convolution_norm = parts.norm(choice)
            self.text_convolution = convolution.ConformerConvolution(
                width, choice.text_kernel, gathering=choice.lookup_start, **shared
            )
        self.attention_norm = parts.norm(choice)
        self.attention = parts.attends(choice, **shared)
        self.norm = parts.norm(choice)
        self.feed_forward = parts.feed_forwards(choice, **shared)

    def __call__(
        self, x: Float[Array, "B S D"], around: Surroundings, key: PRNGKeyArray | None
    ) -> Float[Array, "B S D"]:
        drops = 5 if self.text_kernel else 4
        keys = [None] * drops if key is None else list(jax.random.split(key, drops))

        def drop(y_BSD: Array) -> Array:
            return dropout.dropout(y_BSD, self.rate, keys.pop())

        if self.conformer:
            x += 0.5 * drop(self.first_feed_forward(self.first_norm(x)))
        y_BSD = self.attention_norm(x)
        memory = self.attention.memory(y_BSD, around.rotation)
        x += drop(self.attention(y_BSD, memory, around.mask, around.rotation))
        places = 0 if around.audio_ids is None else around.audio_ids.shape[1]
        if self.conformer and around.audio_ids is not None:
            y_BPD = drop(self.convolution(self.convolution_norm(x[:, :places]), around.audio_ids))
            x += jnp.pad(y_BPD, ((0, 0), (0, x.shape[1] - places), (0, 0)))
        if self.text_kernel and around.inputs_ids is not None:
            y_BWD = drop(self.text_convolution(self.text_convolution_norm(x[:, places:]), around.inputs_ids))
            x += jnp.pad(y_BWD, ((0, 0), (places, 0), (0, 0)))
        return x + (0.5 if self.conformer else 1.0) * drop(self.feed_forward(self.norm(x)))


class Encoder(nnx.Module):
    """Blocks over [audio positions ; text positions] with attention within segments."""

    def __init__(self, choice: config.Model, *, rngs: nnx.Rngs):
        self.choice = choice
        self.audio_D = weights.constant(0.0, (choice.width,), (axes.EMBED,))
        self.inputs_D = weights.constant(0.0, (choice.width,), (axes.EMBED,))
        self.places = parts.Places(choice, choice.audio_places, rngs=rngs)
        self.stack = stack.build(lambda rngs: Block(choice, rngs=rngs), choice.encoder_layers, rngs=rngs)
        self.norm = parts.norm(choice)

    def __call__(self, audio: Lane | None, inputs: Lane | None, key: PRNGKeyArray | None = None) -> Encoded:
        """At least one of the lanes must be there; one that is None is not in the program."""
        lanes = [(audio, self.audio_D), (inputs, self.inputs_D)]
        present = [(lane, embedding) for lane, embedding in lanes if lane is not None]
        x_BSD = jnp.concatenate(
            [lane.hidden + embedding[...].astype(lane.hidden.dtype)[None, None, :] for lane, embedding in present],
            axis=1,
        )
        ids_BS = jnp.concatenate([lane.segment_ids for lane, _ in present], axis=1)
        positions_BS = jnp.concatenate([lane.positions for lane, _ in present], axis=1)
        x_BSD = self.places(x_BSD, positions_BS)
        around = Surroundings(
            mask=masks.SegmentMask(ids_BS, ids_BS),
            rotation=parts.rotation(self.choice, positions_BS),
            audio_ids=None if audio is None else audio.segment_ids,
            inputs_ids=None if inputs is None else inputs.segment_ids,
        )
        keys = None
        if key is not None:
            own_key, stack_key = jax.random.split(key)
            keys = jax.random.split(stack_key, self.choice.encoder_layers)
            x_BSD = dropout.dropout(x_BSD, self.choice.dropout, own_key)

        def body(block: Block, x_BSD: Array, key: PRNGKeyArray | None) -> tuple[Array, None]:
            return block(x_BSD, around, key), None

        x_BSD, _ = stack.run(self.stack, body, x_BSD, keys, remat=self.choice.remat, scan=self.choice.scan)
        hidden_BSD = jnp.where((ids_BS > 0)[:, :, None], self.norm(x_BSD), 0)
        places = 0 if audio is None else audio.segment_ids.shape[1]
        return Encoded(
            hidden=hidden_BSD,
            segment_ids=ids_BS,
            audio=None if audio is None else hidden_BSD[:, :places],
            inputs=None if inputs is None else hidden_BSD[:, places:],
        )
