"""Tokens from a model, one after the other: the most probable ones, or drawn; and the best path of the CTC head."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from speechlm_jax import batch as batches
from speechlm_jax import vocabulary
from speechlm_jax.inference import alignment, config, hypotheses, label_sets
from speechlm_jax.layers import segments
from speechlm_jax.models import encoder, speech_text, stepping


class _State(NamedTuple):
    tokens: Int[Array, "B E N U"]
    lengths: Int[Array, "B E N"]
    sums: Float[Array, "B E N"]
    ended: Bool[Array, "B E N"]
    """By an end token."""
    nodes: Int[Array, "B E N"] | None
    cache: stepping.Cache


def write(
    model: speech_text.SpeechText,
    batch: batches.Batch,
    encoded: encoder.Encoded | None,
    prompts: Int[Array, "B E W"],
    prompt_lengths: Int[Array, "B E"],
    max_steps: int,
    choices: config.Search = config.GREEDY,
    *,
    labels: label_sets.Labels | None = None,
    forbidden: hypotheses.Forbidden = hypotheses.NOTHING,
    eos: int | Int[Array, ""] = vocabulary.EOS,
) -> hypotheses.Texts:
    """The most probable token at each step, or one that is drawn, for all segments of all rows at once; to be called
    under jit. Stops when every segment of weight above 0 has ended or written `max_steps` tokens.

    Args:
        encoded: model.encode(batch).
        prompts: tokens that each segment starts with.
        max_steps: tokens that may be written, the end token too.
        labels: the texts to choose among; None: any.
        forbidden: what is not to be written.
    """
    num_rows, num_segments, prompt_room = prompts.shape
    num_steps = prompt_room + max_steps
    shape = (num_rows, num_segments, choices.best)
    steps = model.steps(encoded, num_rows, num_segments, num_steps, choices.best)
    is_asked_BE1 = (batch.segments.weights > 0)[:, :, None]

    def unfinished(state: _State) -> Bool[Array, ""]:
        return (state.cache.step < num_steps) & jnp.any(goes_on(state))

    def goes_on(state: _State) -> Bool[Array, "B E N"]:
        return is_asked_BE1 & ~state.ended & (state.lengths < max_steps)

    def advance(state: _State) -> _State:
        step = state.cache.step
        before_BEN = hypotheses.before(state.tokens, step)
        logits, cache = steps.text(before_BEN.reshape(num_rows, -1), state.cache)
        logits_BENV = logits.reshape(*shape, -1)
        sums_BEN = jax.nn.logsumexp(logits_BENV, axis=-1)
        logits_BENV = forbidden.left_out(logits_BENV, step == prompt_lengths)
        if labels is not None:
            assert state.nodes is not None
            allowed_BENV = label_sets.allowed(labels, state.nodes, logits_BENV.shape[-1])
            logits_BENV = jnp.where(allowed_BENV, logits_BENV, -jnp.inf)
        chosen_BEN = _chosen(logits_BENV, choices, batch.segments.origins, step - prompt_lengths)
        # What may be chosen is left as it was: the logit of what is is its own.
        likely_BEN = jnp.take_along_axis(logits_BENV, chosen_BEN[..., None], axis=-1)[..., 0] - sums_BEN
        free_BEN = (step >= prompt_lengths)[:, :, None] & goes_on(state)
        ends_BEN = free_BEN & (chosen_BEN == eos)
        writes_BEN = free_BEN & ~ends_BEN
        here_BENU = writes_BEN[..., None] & (jnp.arange(num_steps) == step)[None, None, None, :]
        nodes = state.nodes
        if labels is not None and nodes is not None:
            nodes = jnp.where(free_BEN, label_sets.follow(labels, nodes, chosen_BEN), nodes)
        return _State(
            tokens=jnp.where(here_BENU, chosen_BEN[..., None], state.tokens),
            lengths=state.lengths + writes_BEN,
            sums=state.sums + jnp.where(free_BEN, likely_BEN, 0),
            ended=state.ended | ends_BEN,
            nodes=nodes,
            cache=cache,
        )

    start = _State(
        tokens=hypotheses.begun(prompts, prompt_lengths, max_steps, choices.best),
        lengths=jnp.zeros(shape, jnp.int32),
        sums=jnp.zeros(shape),
        ended=jnp.zeros(shape, bool),
        nodes=None if labels is None else jnp.zeros(shape, jnp.int32),
        cache=steps.start(),
    )
    end = jax.lax.while_loop(unfinished, advance, start)
    scores_BEN = end.sums / hypotheses.power(end.lengths + end.ended, choices)
    tokens_BENU = hypotheses.behind(end.tokens, prompt_lengths, end.lengths, max_steps)
    texts = hypotheses.Texts(tokens_BENU, end.lengths, scores_BEN, end.ended)
    order_BEN = jnp.argsort(-scores_BEN, axis=-1)
    return jax.tree.map(lambda values: hypotheses.taken(values, order_BEN), texts)


def _chosen(
    logits: Float[Array, "B E N V"], choices: config.Search, origins: Int[Array, "B E 3"], number: Int[Array, "B E"]
) -> Int[Array, "B E N"]:
    """The next token of each hypothesis, the `number`-th behind its prompt."""
    if not choices.draws:
        return hypotheses.highest(logits, 1)[1][..., 0]
    kept_BENV = _truncated(logits / choices.temperature, choices)
    key = jax.random.key(choices.seed)

    def of_segment(origin_3: Array, number: Array, logits_NV: Array) -> Array:
        own_key = jax.random.fold_in(segments.own_key(key, origin_3), number)
        return jax.random.categorical(own_key, logits_NV)

    return jax.vmap(jax.vmap(of_segment))(origins, number, kept_BENV).astype(jnp.int32)


def _truncated(logits: Float[Array, "B E N V"], choices: config.Search) -> Float[Array, "B E N V"]:
    """Minus infinity where Search.top_k and .top_p leave nothing; the most probable token always stays."""
    if choices.top_k:
        least_BEN1 = jax.lax.top_k(logits, min(choices.top_k, logits.shape[-1]))[0][..., -1:]
        logits = jnp.where(logits >= least_BEN1, logits, -jnp.inf)
    if choices.top_p < 1:
        sorted_BENV = jnp.flip(jnp.sort(logits, axis=-1), axis=-1)
        shares_BENV = jax.nn.softmax(sorted_BENV)
        # A token stays while those before it do not sum to enough.
        stays_BENV = jnp.cumsum(shares_BENV, axis=-1) - shares_BENV < choices.top_p
        least_BEN1 = jnp.min(jnp.where(stays_BENV, sorted_BENV, jnp.inf), axis=-1, keepdims=True)
        logits = jnp.where(logits >= least_BEN1, logits, -jnp.inf)
    return logits


def collapse(path: Sequence[int] | np.ndarray, blank: int = vocabulary.PAD) -> list[int]:
    """The labels of one segment's CTC path (token of each position): repeats joined, then blanks left out."""
    return [token for token, _ in runs(path, blank)]


def runs(path: Sequence[int] | np.ndarray, blank: int = vocabulary.PAD) -> list[tuple[int, alignment.Span]]:
    """The labels of a path, each with the positions at which it stands."""
    found, place = [], 0
    for token, same in itertools.groupby(int(token) for token in path):
        start, place = place, place + len(list(same))
        if token != blank:
            found.append((token, (start, place)))
    return found
