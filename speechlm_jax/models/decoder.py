"""The causal stack over target tokens and target speech, which looks at the encoder positions of its own segment."""

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from speechlm_jax.layers import (
    attention,
    convolution,
    dot_products,
    dropout,
    masks,
    positions,
    stack,
)
from speechlm_jax.models import config, encoder, parts

_LANE_IDS = 2**16
"""More than a row has segments."""


class Cache(NamedTuple):
    """What decoding keeps from step to step; every segment of a row decodes by itself, all at one step.

    A segment may have several hypotheses, each a line: those of a segment stand side by side. Where one goes on from
    another, its keys and values stay where they are, and it is noted where its steps stand.
    """

    own: attention.Memory
    """Keys and values of the steps so far, "L B _ U H K"."""
    recent: Float[Array, "L B _ I C"] | None
    """What the convolutions know of the last steps."""
    stands: Int[Array, "B E N U"]
    """The hypothesis of its segment in whose line each step of each hypothesis was written."""
    encoded: attention.Memory | None
    """Keys and values of the encoder positions, "L B S H K"."""
    encoded_ids: Int[Array, "B S"] | None
    step: Int[Array, ""]
    """The step to come, from 0."""


def follow(cache: Cache, parents: Int[Array, "B E N"]) -> Cache:
    """The cache in which each hypothesis goes on from another one of its segment."""
    stands_BENU = jnp.take_along_axis(cache.stands, parents[:, :, :, None], axis=2)
    if cache.recent is None:
        return cache._replace(stands=stands_BENU)
    num_segments, hypotheses = parents.shape[1:]
    lines_BE = (hypotheses * jnp.arange(num_segments)[None, :, None] + parents).reshape(parents.shape[0], -1)
    recent = jnp.take_along_axis(cache.recent, lines_BE[None, :, :, None, None], axis=2)
    return cache._replace(stands=stands_BENU, recent=recent)


class Block(nnx.Module):
    """Convolution, self-attention, attention to the encoder, feed-forward, each behind a norm and beside a residual.

    Not every model has the convolution.
    """

    def __init__(self, choice: config.Model, *, rngs: nnx.Rngs):
        self.rate = choice.dropout
        self.guided_heads = 0 if choice.speech_out is None else choice.speech_out.guided_heads
        branches = 4 if choice.decoder_kernel else 3
        out_scale = 1 / math.sqrt(branches * choice.decoder_layers)
        width = choice.width
        shared: dict[str, Any] = {"out_scale": out_scale, "numbers": choice.products, "rngs": rngs}
        self.kernel = choice.decoder_kernel
        if choice.decoder_kernel:
            self.convolution_norm = parts.norm(choice)
            self.convolution = convolution.ConformerConvolution(
                width, choice.decoder_kernel, causal=True, gathering=choice.lookup_start, **shared
            )
        self.attention_norm = parts.norm(choice)
        self.attention = parts.attends(choice, **shared)
        self.cross_norm = parts.norm(choice)
        self.cross_attention = parts.attends(choice, likeness=choice.lookup_start, **shared)
        self.norm = parts.norm(choice)
        self.feed_forward = parts.feed_forwards(choice, **shared)

    def __call__(
        self,
        x: Float[Array, "B U D"],
        ids: Int[Array, "B U"],
        mask: masks.SegmentMask,
        rotation: positions.Rotation | None,
        encoded: Float[Array, "B S D"] | None,
        cross_mask: masks.SegmentMask | None,
        distance: Float[Array, "B U S"] | None,
        key: PRNGKeyArray | None,
    ) -> tuple[Float[Array, "B U D"], Float[Array, "B U"] | None]:
        """Also the mean of `distance` over where the guided heads look. `ids` tell lanes apart as well as segments."""
        branches = 4 if self.kernel else 3
        keys = [None] * branches if key is None else list(jax.random.split(key, branches))

        def drop(y_BUD: Array) -> Array:
            return dropout.dropout(y_BUD, self.rate, keys.pop())

        if self.kernel:
            x += drop(self.convolution(self.convolution_norm(x), ids))
        y_BUD, strays_BU = self.attention_norm(x), None
        x += drop(self.attention(y_BUD, self.attention.memory(y_BUD, rotation), mask, rotation))
        if encoded is not None and cross_mask is not None:
            y_BUD, memory = self.cross_norm(x), self.cross_attention.memory(encoded)
            if distance is not None:
                looks_BHUS = dot_products.probabilities(
                    self.cross_attention.queries(y_BUD)[:, :, : self.guided_heads],
                    memory.keys[:, :, : self.guided_heads],
                    cross_mask.pairs(),
                )
                strays_BU = jnp.einsum("BHUS,BUS->BU", looks_BHUS, distance) / self.guided_heads
            x += drop(self.cross_attention(y_BUD, memory, cross_mask))
        return x + drop(self.feed_forward(self.norm(x))), strays_BU

    def step(
        self,
        x: Float[Array, "B _ D"],
        step: Int[Array, ""],
        rotation: positions.Rotation | None,
        own: attention.Memory,
        own_mask: Bool[Array, "_ N _"],
        recent: Float[Array, "B _ I C"] | None,
        encoded: attention.Memory | None,
        cross_mask: masks.SegmentMask | None,
    ) -> tuple[Float[Array, "B _ D"], attention.Memory, Float[Array, "B _ I C"] | None]:
        """One step of every line. `own` is "B _ U H K"; returns the step's own keys and values, "B _ H K".

        own_mask: of every segment of every row, at which steps of which of its lines each of its hypotheses looks.
        """
        if recent is not None:
            moved_BED, recent = self.convolution.step(self.convolution_norm(x), recent)
            x += moved_BED
        y_BED = self.attention_norm(x)
        new = self.attention.memory(y_BED, rotation)
        queries_BEHK = self.attention.queries(y_BED, rotation)
        segments, hypotheses, places = own_mask.shape

        def with_new(steps_BEUHK: Array, new_BEHK: Array) -> Array:
            whole_BEUHK = jax.lax.dynamic_update_slice_in_dim(steps_BEUHK, new_BEHK[:, :, None], step, axis=2)
            return whole_BEUHK.reshape(segments, places, *whole_BEUHK.shape[3:])

        attended = dot_products.attend(
            queries_BEHK.reshape(segments, hypotheses, *queries_BEHK.shape[2:]),
            with_new(own.keys, new.keys),
            with_new(own.values, new.values),
            own_mask,
        )
        x += self.attention.out(attended.reshape(queries_BEHK.shape))
        if encoded is not None and cross_mask is not None:
            x += self.cross_attention(self.cross_norm(x), encoded, cross_mask)
        return x + self.feed_forward(self.norm(x)), new, recent


def own_ids(lanes: Sequence[Int[Array, "B _"]]) -> Int[Array, "B U"]:
    """To what decoder blocks do among their own steps, a segment's steps in two lanes are two segments.

    Each lane has a range of ids to itself: a kernel passes over blocks by the ranges of theirs.
    """
    return jnp.concatenate([jnp.where(ids > 0, _LANE_IDS * lane + ids, 0) for lane, ids in enumerate(lanes)], axis=1)


class Decoder(nnx.Module):
    """Blocks over the steps of text and of speech: all at once in training, step by step in decoding."""

    def __init__(self, choice: config.Model, *, rngs: nnx.Rngs):
        self.choice = choice
        self.places = parts.Places(choice, choice.text_places, rngs=rngs)
        self.stack = stack.build(lambda rngs: Block(choice, rngs=rngs), choice.decoder_layers, rngs=rngs)
        self.norm = parts.norm(choice)

    def __call__(
        self,
        lanes: Sequence[encoder.Lane],
        encoded: encoder.Encoded | None,
        key: PRNGKeyArray | None = None,
        *,
        distance: Float[Array, "B U S"] | None = None,
    ) -> tuple[list[Float[Array, "B _ D"]], Float[Array, "B U"] | None]:
        """Hidden states at every step of each lane; and of each step the mean `distance` to where the guided heads of
        all layers look, None without it. The steps of a segment stand in order, and lanes do not see each other."""
        ids_BU = jnp.concatenate([lane.segment_ids for lane in lanes], axis=1)
        own_ids_BU = own_ids([lane.segment_ids for lane in lanes])
        mask = masks.SegmentMask(own_ids_BU, own_ids_BU, causal=True)
        positions_BU = jnp.concatenate([lane.positions for lane in lanes], axis=1)
        rotation = parts.rotation(self.choice, positions_BU)
        hidden_BSD, cross_mask = None, None
        if encoded is not None:
            hidden_BSD, cross_mask = encoded.hidden, masks.SegmentMask(ids_BU, encoded.segment_ids)
        x_BUD = self.places(jnp.concatenate([lane.hidden for lane in lanes], axis=1), positions_BU)
        keys = None
        if key is not None:
            own_key, stack_key = jax.random.split(key)
            keys = jax.random.split(stack_key, self.choice.decoder_layers)
            x_BUD = dropout.dropout(x_BUD, self.choice.dropout, own_key)

        def body(block: Block, x_BUD: Array, key: PRNGKeyArray | None) -> tuple[Array, Array | None]:
            return block(x_BUD, own_ids_BU, mask, rotation, hidden_BSD, cross_mask, distance, key)

        x_BUD, strays_LBU = stack.run(self.stack, body, x_BUD, keys, remat=self.choice.remat, scan=self.choice.scan)
        edges = list(itertools.accumulate(lane.segment_ids.shape[1] for lane in lanes))[:-1]
        strays_BU = None if strays_LBU is None else jnp.mean(strays_LBU, axis=0)
        return jnp.split(self.norm(x_BUD), edges, axis=1), strays_BU

    def start(
        self, encoded: encoder.Encoded | None, num_rows: int, num_segments: int, num_steps: int, hypotheses: int = 1
    ) -> Cache:
        """The cache before the first of at most `num_steps` steps, of so many hypotheses of each segment."""
        choice, lines = self.choice, num_segments * hypotheses
        shape = (choice.decoder_layers, num_rows, lines, num_steps, choice.num_heads, choice.head_width)
        dtype = jnp.dtype(choice.dtype)
        empty = jnp.zeros(shape, dtype)

        def body(block: Block, carry: None, _: None) -> tuple[None, tuple[Array | None, attention.Memory | None]]:
            recent = block.convolution.start(num_rows, lines, dtype) if block.kernel else None
            return None, (recent, None if encoded is None else block.cross_attention.memory(encoded.hidden))

        recent, memory = stack.run(self.stack, body, None)[1]
        return Cache(
            own=attention.Memory(empty, empty),
            recent=recent,
            stands=jnp.zeros((num_rows, num_segments, hypotheses, num_steps), jnp.int32),
            encoded=memory,
            encoded_ids=None if encoded is None else encoded.segment_ids,
            step=jnp.zeros((), jnp.int32),
        )

    def step(self, x: Float[Array, "B _ D"], cache: Cache) -> tuple[Float[Array, "B _ D"], Cache]:
        """Hidden states of the next step of every line of every row, and the cache after it."""
        num_rows, num_lines, _ = x.shape
        hypotheses, num_steps = cache.stands.shape[2:]
        steps_BE = jnp.broadcast_to(cache.step, (num_rows, num_lines))
        rotation = parts.rotation(self.choice, steps_BE)
        cross_mask = None
        if cache.encoded_ids is not None:
            ids_BE = jnp.broadcast_to(1 + jnp.arange(num_lines)[None, :] // hypotheses, (num_rows, num_lines))
            cross_mask = masks.SegmentMask(ids_BE, cache.encoded_ids)
        lines_N, steps_U = jnp.arange(hypotheses), jnp.arange(num_steps)
        is_now_U = steps_U == cache.step
        stands_BENU = jnp.where(is_now_U[None, None, None, :], lines_N[None, None, :, None], cache.stands)
        # Of each hypothesis, over the lines of its segment one after the other.
        in_line = stands_BENU[:, :, :, None, :] == lines_N[None, None, None, :, None]
        own_mask = (in_line & (steps_U <= cache.step)[None, None, None, None, :]).reshape(
            -1, hypotheses, hypotheses * num_steps
        )

        def body(block: Block, x_BED: Array, kept: tuple) -> tuple[Array, tuple[attention.Memory, Array | None]]:
            own, recent, encoded = kept
            x_BED, new, recent = block.step(x_BED, cache.step, rotation, own, own_mask, recent, encoded, cross_mask)
            return x_BED, (new, recent)

        kept = (cache.own, cache.recent, cache.encoded)
        x_BED, (new, recent) = stack.run(self.stack, body, self.places(x, steps_BE), kept)
        own = attention.Memory(
            *(
                jax.lax.dynamic_update_slice_in_dim(old, now[:, :, :, None], cache.step, axis=3)
                for old, now in zip(cache.own, new, strict=True)
            )
        )
        return self.norm(x_BED), cache._replace(own=own, recent=recent, stands=stands_BENU, step=cache.step + 1)
