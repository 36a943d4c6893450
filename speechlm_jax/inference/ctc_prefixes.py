"""How probable it is to the CTC head that speech begins with the text of a hypothesis (arXiv 1706.02737, algorithm 2).

The probability of every extension by one token is a sum over the position at which the token begins: a product of
matrices gives it for the whole vocabulary at once. Only for the extensions that are followed is the recursion over
positions done.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from speechlm_jax import vocabulary
from speechlm_jax.inference import hypotheses
from speechlm_jax.layers import segments
from speechlm_jax.losses import ctc

_LEAST = 1e-37
"""Of a sum of probabilities relative to the largest way into it: less is as good as nothing."""


class Frames(NamedTuple):
    """What the head says of a row's positions."""

    log_probs: Float[Array, "B P V"]
    probs: Float[Array, "B P V"]
    own: Bool[Array, "B E P"]
    """The positions of each segment."""


class Prefixes(NamedTuple):
    """Of each hypothesis: log-probabilities, summed over the alignments of the positions *before* each one."""

    label: Float[Array, "B E N P"]
    """Of those that end in the last label."""
    blank: Float[Array, "B E N P"]
    """Of those that end in a blank."""
    whole: Float[Array, "B E N"]
    """That the speech is the hypothesis, and nothing more."""
    begun: Float[Array, "B E N"]
    """That the speech is, or begins with, the hypothesis."""
    last: Int[Array, "B E N"]
    """The last label; a blank stands for none."""


def frames(logits: Float[Array, "B P V"], segment_ids: Int[Array, "B P"], num_segments: int) -> Frames:
    """Of the positions of a row, by the segments that they belong to."""
    log_probs_BPV = jax.nn.log_softmax(logits.astype(jnp.float32))
    return Frames(log_probs_BPV, jnp.exp(log_probs_BPV), segments.members(segment_ids, num_segments))


def start(told: Frames, count: int) -> Prefixes:
    """Of so many hypotheses of each segment, without a label."""
    blanks_BEP = jnp.where(told.own, told.log_probs[:, None, :, ctc.BLANK], 0.0)
    until_BEP = jnp.cumsum(blanks_BEP, axis=-1)

    def of_each(values: Array) -> Array:
        return jnp.repeat(values[:, :, None], count, axis=2)

    blank_BENP = of_each(until_BEP - blanks_BEP)
    return Prefixes(
        label=jnp.full_like(blank_BENP, ctc.IMPOSSIBLE),
        blank=blank_BENP,
        whole=of_each(until_BEP[:, :, -1]),
        begun=of_each(jnp.zeros_like(until_BEP[:, :, -1])),
        last=jnp.full(blank_BENP.shape[:3], ctc.BLANK, jnp.int32),
    )


def extended(told: Frames, prefixes: Prefixes) -> Float[Array, "B E N V"]:
    """log P that the speech begins with each hypothesis and one more token; of the end token, that it is the
    hypothesis. Where that is far below all else there may be a bound in its place."""
    ways_BENP = jnp.where(told.own[:, :, None], jnp.logaddexp(prefixes.label, prefixes.blank), ctc.IMPOSSIBLE)
    largest_BEN1 = jnp.max(ways_BENP, axis=-1, keepdims=True)
    shares_BENP = jnp.where(told.own[:, :, None], jnp.exp(ways_BENP - largest_BEN1), 0.0)
    sums_BENV = jnp.einsum("BENP,BPV->BENV", shares_BENP, told.probs, precision=jax.lax.Precision.HIGHEST)
    found_BENV = largest_BEN1 + jnp.log(jnp.maximum(sums_BENV, _LEAST))
    # Between a label and the same again stands a blank.
    again_BEN = _logsumexp(prefixes.blank + _at(told, prefixes.last), told.own)
    tokens_V = jnp.arange(told.log_probs.shape[-1])[None, None, None, :]
    found_BENV = jnp.where(tokens_V == prefixes.last[..., None], again_BEN[..., None], found_BENV)
    found_BENV = jnp.where(tokens_V == ctc.BLANK, ctc.IMPOSSIBLE, found_BENV)
    found_BENV = jnp.where(tokens_V == vocabulary.EOS, prefixes.whole[..., None], found_BENV)
    # Longer is never more probable, and what is rounded must not say so.
    return jnp.minimum(found_BENV, prefixes.begun[..., None])


def follow(told: Frames, prefixes: Prefixes, parents: Int[Array, "B E N"], tokens: Int[Array, "B E N"]) -> Prefixes:
    """Of each hypothesis's parent with one more token."""
    prefixes = jax.tree.map(lambda values: hypotheses.taken(values, parents), prefixes)
    repeats_BEN = tokens == prefixes.last
    ways_BENP = jnp.where(repeats_BEN[..., None], prefixes.blank, jnp.logaddexp(prefixes.label, prefixes.blank))
    token_BENP, blank_BP = _at(told, tokens), told.log_probs[:, :, ctc.BLANK]

    def step(carry: tuple[Array, Array], at: tuple[Array, ...]) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        label_BEN, blank_BEN = carry
        way_BEN, token_BEN, blank_B, own_BE = at
        now_label_BEN = jnp.logaddexp(label_BEN, way_BEN) + token_BEN
        now_blank_BEN = jnp.logaddexp(label_BEN, blank_BEN) + blank_B[:, None, None]
        moves_BE1 = own_BE[:, :, None]
        return (jnp.where(moves_BE1, now_label_BEN, label_BEN), jnp.where(moves_BE1, now_blank_BEN, blank_BEN)), carry

    nothing_BEN = jnp.full(tokens.shape, ctc.IMPOSSIBLE)
    along = (jnp.moveaxis(values, -1, 0) for values in (ways_BENP, token_BENP, blank_BP, told.own))
    end, before = jax.lax.scan(step, (nothing_BEN, nothing_BEN), tuple(along))
    label_BENP, blank_BENP = (jnp.moveaxis(values, 0, -1) for values in before)
    begun_BEN = _logsumexp(ways_BENP + token_BENP, told.own)
    return Prefixes(label_BENP, blank_BENP, jnp.logaddexp(*end), jnp.minimum(begun_BEN, prefixes.begun), tokens)


def _at(told: Frames, tokens: Int[Array, "B E N"]) -> Float[Array, "B E N P"]:
    """What the head says of one token of each hypothesis, at every position."""
    num_rows = tokens.shape[0]
    found = jnp.take_along_axis(told.log_probs, tokens.reshape(num_rows, 1, -1), axis=2)
    return jnp.swapaxes(found, 1, 2).reshape(*tokens.shape, -1)


def _logsumexp(values: Float[Array, "B E N P"], own: Bool[Array, "B E P"]) -> Float[Array, "B E N"]:
    return jnp.maximum(jax.nn.logsumexp(jnp.where(own[:, :, None], values, ctc.IMPOSSIBLE), axis=-1), ctc.IMPOSSIBLE)
