"""The causal stack over target tokens and target speech, which looks at the encoder positions of its own segment."""

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from speechlm_jax.layers import attention, convolution, dot_products, dropout, masks, positions, stack
from speechlm_jax.models import config, encoder, parts

_LANE_IDS = 2**16
"""More than a row has segments."""
Watch = Callable[[attention.Attention, Float[Array, "B U D"], attention.Memory, masks.SegmentMask], Any]
"""What is to be known of how a block looks at the encoder: (its attention, what asks, what is looked at, who may look
at whom) -> arrays. It computes the looks itself, for no fused kernel has them."""


class Block(nnx.Module):
    """Convolution, self-attention, attention to the encoder, feed-forward, each behind a norm and beside a residual.

    Not every model has the convolution.
    """

    def __init__(self, choice: config.Model, *, rngs: nnx.Rngs):
        self.rate = choice.dropout
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
        watch: Watch | None,
        key: PRNGKeyArray | None,
    ) -> tuple[Float[Array, "B U D"], Any]:
        """Also what `watch` found. `ids` tell lanes apart as well as segments."""
        branches = 4 if self.kernel else 3
        keys = [None] * branches if key is None else list(jax.random.split(key, branches))

        def drop(y_BUD: Array) -> Array:
            return dropout.dropout(y_BUD, self.rate, keys.pop())

        if self.kernel:
            x += drop(self.convolution(self.convolution_norm(x), ids))
        y_BUD, watched = self.attention_norm(x), None
        x += drop(self.attention(y_BUD, self.attention.memory(y_BUD, rotation), mask, rotation))
        if encoded is not None and cross_mask is not None:
            y_BUD, memory = self.cross_norm(x), self.cross_attention.memory(encoded)
            if watch is not None:
                watched = watch(self.cross_attention, y_BUD, memory, cross_mask)
            x += drop(self.cross_attention(y_BUD, memory, cross_mask))
        return x + drop(self.feed_forward(self.norm(x))), watched

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
        """One step of every line. Returns what comes after it of `own` and of `recent`, too.

        Args:
            own: "B E H N U K", as stepping.Cache has it.
            own_mask: of every segment of every row, at which steps of which of its lines each of its hypotheses looks.
            encoded: as `looked_at` gives it.
        """
        if recent is not None:
            moved_BED, recent = self.convolution.step(self.convolution_norm(x), recent)
            x += moved_BED
        y_BED = self.attention_norm(x)
        queries_BEHK = self.attention.queries(y_BED, rotation)
        own = jax.tree.map(functools.partial(_with_step, step=step), own, self.attention.memory(y_BED, rotation))
        segments, hypotheses, places = own_mask.shape
        heads, width = queries_BEHK.shape[2:]
        keys, values = (jnp.swapaxes(whole.reshape(segments, heads, places, width), 1, 2) for whole in own)
        queries = queries_BEHK.reshape(segments, hypotheses, heads, width)
        attended = dot_products.attend(queries, keys, values, own_mask)
        x += self.attention.out(attended.reshape(queries_BEHK.shape))
        if encoded is not None and cross_mask is not None:
            memory = attention.Memory(*(jnp.transpose(lane_BHKS, (0, 3, 1, 2)) for lane_BHKS in encoded))
            x += self.cross_attention(self.cross_norm(x), memory, cross_mask)
        return x + self.feed_forward(self.norm(x)), own, recent

    def looked_at(self, encoded: Float[Array, "B S D"]) -> attention.Memory:
        """Keys and values of encoder positions as `step` reads them, "B H K S": what stands so in memory is multiplied
        without being turned."""
        memory = self.cross_attention.memory(encoded)
        # Without the barrier XLA has the loop turn them, at each step.
        turned = (jnp.transpose(lane_BSHK, (0, 2, 3, 1)) for lane_BSHK in memory)
        return attention.Memory(*jax.lax.optimization_barrier(tuple(turned)))


def _with_step(
    whole: Float[Array, "B E H N U K"], new: Float[Array, "B _ H K"], *, step: Int[Array, ""]
) -> Float[Array, "B E H N U K"]:
    """Keys or values of all steps, those of a step put in."""
    num_rows, segments, heads, hypotheses, _, width = whole.shape
    new_BEN1HK = new.reshape(num_rows, segments, hypotheses, 1, heads, width)
    return jax.lax.dynamic_update_slice_in_dim(whole, jnp.moveaxis(new_BEN1HK, 4, 2), step, axis=4)


def own_ids(lanes: Sequence[Int[Array, "B _"]]) -> Int[Array, "B U"]:
    """To what decoder blocks do among their own steps, a segment's steps in two lanes are two segments.

    Each lane has a range of ids to itself: a kernel passes over blocks by the ranges of theirs.
    """
    return jnp.concatenate([jnp.where(ids > 0, _LANE_IDS * lane + ids, 0) for lane, ids in enumerate(lanes)], axis=1)


class Decoder(nnx.Module):
    """Blocks over the steps of text and of speech, all at once."""

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
        watch: Watch | None = None,
    ) -> tuple[list[Float[Array, "B _ D"]], Any]:
        """Hidden states at every step of each lane; and what `watch` found in each layer, stacked "L ...". The steps of
        a segment stand in order, and lanes do not see each other."""
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

        def body(block: Block, x_BUD: Array, key: PRNGKeyArray | None) -> tuple[Array, Any]:
            return block(x_BUD, own_ids_BU, mask, rotation, hidden_BSD, cross_mask, watch, key)

        x_BUD, watched = stack.run(self.stack, body, x_BUD, keys, remat=self.choice.remat, scan=self.choice.scan)
        edges = list(itertools.accumulate(lane.segment_ids.shape[1] for lane in lanes))[:-1]
        return jnp.split(self.norm(x_BUD), edges, axis=1), watched
