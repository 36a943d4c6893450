"""Tokens from a model: greedy search with the decoder, and the best path of the CTC head."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from speechlm_jax import batch as batches
from speechlm_jax import vocabulary
from speechlm_jax.models import decoder, encoder, speech_text


class _State(NamedTuple):
    tokens: Int[Array, "B E U"]
    lengths: Int[Array, "B E"]
    ended: Bool[Array, "B E"]
    cache: decoder.Cache


def greedy(
    model: speech_text.SpeechText,
    batch: batches.Batch,
    encoded: encoder.Encoded | None,
    prompts: Int[Array, "B E W"],
    prompt_lengths: Int[Array, "B E"],
    max_steps: int,
    *,
    eos: int | Int[Array, ""] = vocabulary.EOS,
) -> tuple[Int[Array, "B E {max_steps}"], Int[Array, "B E"]]:
    """The most probable token at each step, for all segments of all rows at once; to be called under jit.

    Returns what is written after the prompt, padded with zeros, and the number of tokens before the end token, which
    is not among them. Stops when every segment of weight above 0 has ended or written `max_steps` tokens.

    Args:
        encoded: model.encode(batch).
        prompts: tokens that each segment starts with.
    """
    num_rows, num_segments, prompt_room = prompts.shape
    num_steps = prompt_room + max_steps
    steps_U = jnp.arange(num_steps)
    in_prompt_BEW = jnp.arange(prompt_room)[None, None, :] < prompt_lengths[:, :, None]
    start = _State(
        tokens=jnp.pad(jnp.where(in_prompt_BEW, prompts, 0), ((0, 0), (0, 0), (0, max_steps))),
        lengths=jnp.zeros((num_rows, num_segments), jnp.int32),
        ended=batch.segments.weights <= 0,
        cache=model.start(encoded, num_rows, num_segments, num_steps),
    )

    def unfinished(state: _State) -> Bool[Array, ""]:
        return (state.cache.step < num_steps) & ~jnp.all(state.ended)

    def advance(state: _State) -> _State:
        step = state.cache.step
        before_BE = jax.lax.dynamic_index_in_dim(state.tokens, jnp.maximum(step - 1, 0), axis=2, keepdims=False)
        logits_BEV, cache = model.step(jnp.where(step == 0, vocabulary.BOS, before_BE), state.cache)
        best_BE = jnp.argmax(logits_BEV, axis=-1).astype(jnp.int32)
        free_BE = (step >= prompt_lengths) & ~state.ended
        writes_BE = free_BE & (best_BE != eos)
        lengths_BE = state.lengths + writes_BE
        here_BEU = writes_BE[:, :, None] & (steps_U == step)[None, None, :]
        return _State(
            tokens=jnp.where(here_BEU, best_BE[:, :, None], state.tokens),
            lengths=lengths_BE,
            ended=state.ended | (free_BE & ((best_BE == eos) | (lengths_BE == max_steps))),
            cache=cache,
        )

    end = jax.lax.while_loop(unfinished, advance, start)
    written_BEU = jnp.arange(max_steps)[None, None, :]
    from_prompt_BEU = jnp.take_along_axis(end.tokens, prompt_lengths[:, :, None] + written_BEU, axis=2)
    return jnp.where(written_BEU < end.lengths[:, :, None], from_prompt_BEU, 0), end.lengths


def collapse(path: Sequence[int] | np.ndarray, blank: int = vocabulary.PAD) -> list[int]:
    """The labels of one segment's CTC path (token of each position): repeats joined, then blanks left out."""
    tokens = [int(token) for token in path]
    return [token for before, token in zip([blank, *tokens], tokens, strict=False) if token not in (before, blank)]
