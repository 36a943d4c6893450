"""The decoder step by step, as text and speech are written."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from speechlm_jax import sharding
from speechlm_jax.layers import attention, masks, stack
from speechlm_jax.models import decoder, encoder, frontends, parts, speech_out


class Cache(NamedTuple):
    """What changes from step to step; every segment of a row decodes by itself, all at one step.

    A segment may have several hypotheses, each a line: those of a segment stand side by side. Where one goes on from
    another, its keys and values stay where they are, and it is noted where its steps stand.
    """

    own: tuple[attention.Memory, ...]
    """Keys and values of the steps so far, "B E H N U K", of each layer."""
    recent: tuple[Float[Array, "B _ I C"], ...] | None
    """What the convolution of each layer knows of the last steps."""
    stands: Int[Array, "B E N U"]
    """The hypothesis of its segment in whose line each step of each hypothesis was written."""
    step: Int[Array, ""]
    """The step to come, from 0."""


def follow(cache: Cache, parents: Int[Array, "B E N"]) -> Cache:
    """The cache in which each hypothesis goes on from another one of its segment."""
    stands_BENU = jnp.take_along_axis(cache.stands, parents[:, :, :, None], axis=2)
    if cache.recent is None:
        return cache._replace(stands=stands_BENU)
    num_segments, hypotheses = parents.shape[1:]
    lines_BE = (hypotheses * jnp.arange(num_segments)[None, :, None] + parents).reshape(parents.shape[0], -1)
    recent = tuple(jnp.take_along_axis(own, lines_BE[:, :, None, None], axis=1) for own in cache.recent)
    return cache._replace(stands=stands_BENU, recent=recent)


class Steps:
    """Of at most `num_steps` steps, of `num_segments` segments of each row, each of which has so many hypotheses.

    num_rows: an int, or a symbol that stands for one where a program is exported.

    To be made before a loop, under jit: what no step changes is made once, in the order in which steps read it. A loop
    would slice and turn it again at each.
    """

    def __init__(
        self,
        whole: decoder.Decoder,
        encoded: encoder.Encoded | None,
        text: frontends.Text,
        speech: speech_out.SpeechOut | None = None,
        *,
        num_rows: Any,
        num_segments: int,
        num_steps: int,
        hypotheses: int = 1,
    ):
        self._whole, self._text, self._speech = whole, text, speech
        self._logits = text.logits_of_steps()
        self._blocks: list[decoder.Block] = stack.apart(whole.stack)
        self._shape = (num_rows, num_segments, hypotheses, num_steps)
        self._encoded, self._cross_mask = None, None
        if encoded is not None:
            ids_E = 1 + jnp.arange(num_segments * hypotheses) // hypotheses
            ids_BE = jnp.broadcast_to(ids_E[None, :], (num_rows, num_segments * hypotheses))
            self._cross_mask = masks.SegmentMask(ids_BE, encoded.segment_ids)
            self._encoded = [block.looked_at(encoded.hidden) for block in self._blocks]

    def start(self) -> Cache:
        """Before the first step."""
        choice = self._whole.choice
        num_rows, num_segments, hypotheses, num_steps = self._shape
        empty = jnp.zeros(
            (num_rows, num_segments, choice.num_heads, hypotheses, num_steps, choice.head_width), choice.dtype
        )
        recent = None
        if choice.decoder_kernel:
            lines, dtype = num_segments * hypotheses, jnp.dtype(choice.dtype)
            recent = tuple(block.convolution.start(num_rows, lines, dtype) for block in self._blocks)
        return Cache(
            own=tuple(attention.Memory(empty, empty) for _ in self._blocks),
            recent=recent,
            stands=jnp.zeros(self._shape, jnp.int32),
            step=jnp.zeros((), jnp.int32),
        )

    def text(self, tokens: Int[Array, "B _"], cache: Cache) -> tuple[Float[Array, "B _ V"], Cache]:
        """Logits of the token after `tokens` in every line of every row; the first tokens are vocabulary.BOS."""
        hidden_BED, cache = self._step(self._text(tokens), cache)
        return self._logits(hidden_BED), cache

    def speech(self, levels: Int[Array, "B E R M"], cache: Cache) -> tuple[speech_out.Told, Cache]:
        """What follows `levels`, a step of speech of every segment of every row; the first are zeros."""
        assert self._speech is not None
        hidden_BED, cache = self._step(self._speech.into(levels), cache)
        return self._speech.out_of(hidden_BED), cache

    def _step(self, x: Float[Array, "B _ D"], cache: Cache) -> tuple[Float[Array, "B _ D"], Cache]:
        """Hidden states of the next step of every line of every row, and the cache after it."""
        hypotheses, num_steps = self._shape[2:]
        steps_BE = jnp.broadcast_to(cache.step, x.shape[:2])
        rotation = parts.rotation(self._whole.choice, steps_BE)
        lines_N, steps_U = jnp.arange(hypotheses), jnp.arange(num_steps)
        is_now_U = steps_U == cache.step
        stands_BENU = jnp.where(is_now_U[None, None, None, :], lines_N[None, None, :, None], cache.stands)
        # Of each hypothesis, over the lines of its segment one after the other.
        in_line = stands_BENU[:, :, :, None, :] == lines_N[None, None, None, :, None]
        own_mask = (in_line & (steps_U <= cache.step)[None, None, None, None, :]).reshape(
            -1, hypotheses, hypotheses * num_steps
        )
        x, own, recent = self._whole.places(x, steps_BE), [], []
        for number, block in enumerate(self._blocks):
            x = sharding.cut_rows(x)
            known = None if cache.recent is None else cache.recent[number]
            looked_at, cross_mask = (None, None) if self._encoded is None else (self._encoded[number], self._cross_mask)
            kept = cache.own[number], own_mask, known, looked_at, cross_mask
            x, memory, known = block.step(x, cache.step, rotation, *kept)
            own.append(memory)
            recent.append(known)
        after = None if cache.recent is None else tuple(recent)
        return self._whole.norm(x), Cache(tuple(own), after, stands_BENU, cache.step + 1)
