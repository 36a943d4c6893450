"""Texts under way, several of each segment: arrays "B E N ..." behind a prompt of the segment's own."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Shaped

from speechlm_jax import vocabulary
from speechlm_jax.inference import config


class Texts(NamedTuple):
    """What was found for each segment, the best first; what follows a text's end is zeros."""

    tokens: Int[Array, "B E N U"]
    lengths: Int[Array, "B E N"]
    """Tokens before the end token, which is not among them; -1 where there is no such text."""
    scores: Float[Array, "B E N"]
    """As config.Search has it; of what was drawn, too, as if it were not."""
    ended: Bool[Array, "B E N"]
    """Whether there is an end token, or only no more room."""


class Forbidden(NamedTuple):
    """Tokens that are not to be written: never, or not as the first."""

    always: tuple[int, ...] = ()
    first: tuple[int, ...] = ()

    def left_out(self, scores: Float[Array, "B E N V"], is_first: Bool[Array, "B E"]) -> Float[Array, "B E N V"]:
        """The scores of what may come next; minus infinity for what may not."""
        if self.always:
            scores = jnp.where(_among(self.always, scores.shape[-1]), -jnp.inf, scores)
        if self.first:
            left_out = is_first[:, :, None, None] & _among(self.first, scores.shape[-1])
            scores = jnp.where(left_out, -jnp.inf, scores)
        return scores


NOTHING = Forbidden()
"""Is forbidden."""


def forbidden_of(words: vocabulary.Vocabulary) -> Forbidden:
    """What a vocabulary does not have written."""
    return Forbidden(words.forbidden, words.forbidden_first)


_BLOCK = 128


def _among(tokens: tuple[int, ...], size: int) -> Bool[Array, "1 1 1 V"]:
    """Which of so many tokens are these; a table, not a scatter, which would copy all scores."""
    found_V = np.zeros(size, bool)
    found_V[list(tokens)] = True
    return jnp.asarray(found_V)[None, None, None, :]


def highest(values: Float[Array, "*L X"], count: int) -> tuple[Float[Array, "*L _"], Int[Array, "*L _"]]:
    """As jax.lax.top_k, for a few of many: they stand in as many blocks, those whose largest values are the largest.
    Of equal ones the first come first, as there."""
    size = values.shape[-1]
    if count * _BLOCK >= size:
        return _top(values, count)
    lead = values.shape[:-1]
    padded = jnp.pad(values, [(0, 0)] * len(lead) + [(0, -size % _BLOCK)], constant_values=-jnp.inf)
    blocks = padded.reshape(*lead, -1, _BLOCK)
    _, found = _top(jnp.max(blocks, axis=-1), count)
    found = jnp.sort(found, axis=-1)
    most, places = _top(jnp.take_along_axis(blocks, found[..., None], axis=-2).reshape(*lead, -1), count)
    return most, jnp.take_along_axis(found, places // _BLOCK, axis=-1) * _BLOCK + places % _BLOCK


def _top(values: Float[Array, "*L X"], count: int) -> tuple[Float[Array, "*L _"], Int[Array, "*L _"]]:
    """jax.lax.top_k; of one, without that operation, which TensorFlow does not know yet."""
    if count > 1:
        most, places = jax.lax.top_k(values, count)
    else:
        places = jnp.argmax(values, axis=-1, keepdims=True).astype(jnp.int32)
        most = jnp.max(values, axis=-1, keepdims=True)
    return most, places


def begun(
    prompts: Int[Array, "B E W"], lengths: Int[Array, "B E"], max_steps: int, hypotheses: int
) -> Int[Array, "B E N U"]:
    """The tokens of hypotheses that are their prompts yet, with room behind them."""
    in_prompt_BEW = jnp.arange(prompts.shape[2])[None, None, :] < lengths[:, :, None]
    told_BEU = jnp.pad(jnp.where(in_prompt_BEW, prompts, 0), ((0, 0), (0, 0), (0, max_steps)))
    return jnp.repeat(told_BEU[:, :, None], hypotheses, axis=2)


def before(tokens: Int[Array, "B E N U"], step: Int[Array, ""]) -> Int[Array, "B E N"]:
    """What the decoder is given at a step: the token before it."""
    before_BEN = jax.lax.dynamic_index_in_dim(tokens, jnp.maximum(step - 1, 0), axis=3, keepdims=False)
    return jnp.where(step == 0, vocabulary.BOS, before_BEN)


def behind(
    tokens: Int[Array, "B E N _"], prompt_lengths: Int[Array, "B E"], lengths: Int[Array, "B E N"], max_steps: int
) -> Int[Array, "B E N {max_steps}"]:
    """So many tokens behind the prompts; zeros follow."""
    places_U = jnp.arange(max_steps)[None, None, None, :]
    found_BENU = jnp.take_along_axis(tokens, prompt_lengths[:, :, None, None] + places_U, axis=3)
    return jnp.where(places_U < lengths[..., None], found_BENU, 0)


def power(tokens: Int[Array, "..."], choices: config.Search) -> Float[Array, "..."]:
    """What the sum of so many tokens' log-probabilities is divided by to be a score."""
    return ((5.0 + tokens) / 6.0) ** choices.length_penalty


def taken(values: Shaped[Array, "B E N ..."], places: Int[Array, "B E _"]) -> Shaped[Array, "B E _ ..."]:
    """Those at these places among a segment's hypotheses."""
    return jnp.take_along_axis(values, places.reshape(*places.shape, *(1,) * (values.ndim - 3)), axis=2)
