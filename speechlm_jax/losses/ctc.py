"""Connectionist temporal classification (Graves et al., 2006) of transcripts in packed rows.

One recursion over a row's encoder positions carries the label lattices of all its segments side by side. A segment's
states move only at the segment's own positions and rest before and after, so no path crosses into a neighbour, and
all are read when the row ends.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from speechlm_jax import batch as batches
from speechlm_jax import vocabulary
from speechlm_jax.layers import segments
from speechlm_jax.models import speech_text

BLANK = vocabulary.PAD
IMPOSSIBLE = -1e30
"""A log-probability that stays finite when it is added to another, and so do its gradients."""


class Lattice(NamedTuple):
    """The states of a row: a slot is a label and the blank before it; a segment ends in a slot of a blank alone."""

    tokens: Int[Array, "B X"]
    segment_ids: Int[Array, "B X"]
    first: Bool[Array, "B X"]
    """The first slot of a segment."""
    last: Bool[Array, "B X"]
    """The slot that holds only the blank after the last label."""
    repeats: Bool[Array, "B X"]
    """A label that is the same as the one before it: a blank must stand between."""


def weights(batch: batches.Batch) -> Float[Array, "B E"]:
    """Labels of each transcript, at least 1: so the loss is one of tokens."""
    lines = batch.segments
    if batch.audio is None or batch.targets is None:
        return jnp.zeros_like(lines.weights)
    is_label_BU = _labels(batch.targets).astype(jnp.float32)
    counts_BE = segments.total(is_label_BU, batch.targets.segment_ids, lines.weights.shape[1])
    return lines.weights * lines.ctc * jnp.maximum(counts_BE, 1.0)


def totals(outputs: speech_text.Outputs, batch: batches.Batch) -> Float[Array, "B E"]:
    """-log P(labels | speech) in nats of each transcript. One that has not enough positions counts 0.

    Raises:
        ValueError: the batch has speech and targets, and the model no CTC head.
    """
    lines = batch.segments
    if batch.audio is None or batch.targets is None:
        return jnp.zeros_like(lines.weights)
    if outputs.ctc is None:
        raise ValueError(
            "the loss head 'ctc' reads a CTC head, and the model has none. Set Model.ctc = True, or leave 'ctc' out of "
            "Losses.coefficients."
        )
    subsampling = batch.audio.segment_ids.shape[1] // outputs.ctc.shape[1]
    frame_ids_BP = batch.audio.segment_ids[:, ::subsampling]
    states = lattice(batch.targets, lines.weights.shape[1])
    losses_BE = negative_log_likelihood(outputs.ctc, frame_ids_BP, states, lines.weights.shape[1])
    applies_BE = (lines.ctc > 0) & feasible(states, frame_ids_BP, lines.weights.shape[1])
    return lines.weights * lines.ctc * jnp.where(applies_BE, losses_BE, 0.0)


def lattice(lane: batches.TargetsLane, num_segments: int) -> Lattice:
    """The states of each row's transcripts: U + E slots, those of one segment side by side."""
    num_tokens = lane.tokens.shape[1]
    is_label_BU = _labels(lane)
    members_BEU = segments.members(lane.segment_ids, num_segments) & is_label_BU[:, None, :]
    ranks_BEU = jnp.cumsum(members_BEU, axis=-1) - 1
    ends_BE = jnp.cumsum(jnp.sum(members_BEU, axis=-1) + 1, axis=-1)
    starts_BE = jnp.pad(ends_BE[:, :-1], ((0, 0), (1, 0)))
    slots_BU = jnp.sum(jnp.where(members_BEU, starts_BE[:, :, None] + ranks_BEU, 0), axis=1)
    slots_X = jnp.arange(num_tokens + num_segments)[None, None, :]
    here_BUX = is_label_BU[:, :, None] & (slots_BU[:, :, None] == slots_X)
    tokens_BX = jnp.sum(jnp.where(here_BUX, lane.tokens[:, :, None], 0), axis=1)
    ids_BX = 1 + jnp.sum(slots_X >= ends_BE[:, :, None], axis=1)
    first_BX = jnp.any(slots_X == starts_BE[:, :, None], axis=1)
    before_BX = jnp.pad(tokens_BX[:, :-1], ((0, 0), (1, 0)))
    return Lattice(
        tokens=tokens_BX,
        segment_ids=jnp.where(ids_BX > num_segments, -1, ids_BX),
        first=first_BX,
        last=jnp.any(slots_X == ends_BE[:, :, None] - 1, axis=1),
        repeats=~first_BX & (tokens_BX == before_BX),
    )


def feasible(states: Lattice, frame_ids: Int[Array, "B P"], num_segments: int) -> Bool[Array, "B E"]:
    """Where a segment has a position for each label, and one for a blank between any two that are the same."""
    needed_BX = jnp.where(states.last, 0, 1 + states.repeats)
    needed_BE = segments.total(needed_BX, states.segment_ids, num_segments)
    return segments.length(frame_ids, num_segments) >= jnp.maximum(needed_BE, 1)


def negative_log_likelihood(
    logits: Float[Array, "B P V"], frame_ids: Int[Array, "B P"], states: Lattice, num_segments: int
) -> Float[Array, "B E"]:
    """-log of the summed probability of all alignments, in nats; finite but huge where there is none."""
    logits = logits.astype(jnp.float32)
    normal_BP = jax.nn.logsumexp(logits, axis=-1)
    # All that the recursion reads of the vocabulary is fetched here, once, for all positions.
    labels_BPX = jnp.take_along_axis(logits, states.tokens[:, None, :], axis=-1) - normal_BP[:, :, None]
    labels_BPX = jnp.where(states.last[:, None, :], IMPOSSIBLE, labels_BPX)
    blanks_BP = logits[:, :, BLANK] - normal_BP

    def step(carry: tuple[Array, Array], inputs: tuple[Array, Array, Array]) -> tuple[tuple[Array, Array], None]:
        blank_BX, label_BX = carry
        new_label_BX, new_blank_B, ids_B = inputs
        before_BX = jnp.pad(label_BX[:, :-1], ((0, 0), (1, 0)), constant_values=IMPOSSIBLE)
        before_BX = jnp.where(states.first, IMPOSSIBLE, before_BX)
        to_blank_BX = jnp.logaddexp(blank_BX, before_BX) + new_blank_B[:, None]
        skipping_BX = jnp.where(states.repeats, IMPOSSIBLE, before_BX)
        to_label_BX = jnp.logaddexp(jnp.logaddexp(label_BX, blank_BX), skipping_BX) + new_label_BX
        moves_BX = ids_B[:, None] == states.segment_ids
        return (jnp.where(moves_BX, to_blank_BX, blank_BX), jnp.where(moves_BX, to_label_BX, label_BX)), None

    start_BX = jnp.where(states.first, 0.0, IMPOSSIBLE)
    by_time = (jnp.swapaxes(labels_BPX, 0, 1), blanks_BP.T, frame_ids.T)
    (blank_BX, label_BX), _ = jax.lax.scan(step, (start_BX, jnp.full_like(start_BX, IMPOSSIBLE)), by_time)
    before_BX = jnp.pad(label_BX[:, :-1], ((0, 0), (1, 0)), constant_values=IMPOSSIBLE)
    read_BX = jnp.logaddexp(blank_BX, jnp.where(states.first, IMPOSSIBLE, before_BX))
    return -segments.total(jnp.where(states.last, read_BX, 0.0), states.segment_ids, num_segments)


def _labels(lane: batches.TargetsLane) -> Bool[Array, "B U"]:
    return (lane.weights > 0) & (lane.tokens != vocabulary.EOS) & (lane.segment_ids > 0)
