"""The decoder sees what came before in its segment, all at once as step by step."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
import rows
from flax import nnx

from speechlm_jax import batch as batches
from speechlm_jax import vocabulary
from speechlm_jax.layers import splash
from speechlm_jax.models import decoder, speech_text

ROW = batches.Row(audio_seconds=2.4, inputs=16, targets=24, segments=4)
EXAMPLES = (
    rows.example(0, seconds=0.83, prompt=2, targets=7),
    rows.example(1, inputs=9, targets=6),
    rows.example(2, seconds=0.6, inputs=5, targets=4),
)
STEPS = 9


def teacher_forced(encodes, **changes):
    graph, params = rows.model(**changes)
    batch = rows.batch(ROW, [EXAMPLES[2], EXAMPLES[0]], [EXAMPLES[1]])

    @rows.compiled
    def decode(params, batch):
        model = nnx.merge(graph, params)
        return model.decode(batch, model.encode(batch) if encodes else None)[0]

    return batch, rows.places(decode(params, batch), batch.targets.segment_ids)


def step_by_step(batch, encodes, **changes):
    graph, params = rows.model(**changes)
    own = rows.places(batch.targets.tokens, batch.targets.segment_ids)

    def steps(params, batch):
        model = nnx.merge(graph, params)
        return model.steps(model.encode(batch) if encodes else None, 2, ROW.segments, STEPS)

    @rows.compiled
    def step(params, batch, tokens, cache):
        return steps(params, batch).text(tokens, cache)

    cache, logits = rows.compiled(lambda params, batch: steps(params, batch).start())(params, batch), []
    before = np.full((2, ROW.segments), vocabulary.BOS, np.int32)
    for number in range(STEPS):
        value, cache = step(params, batch, jnp.asarray(before), cache)
        logits.append(np.asarray(value))
        for (row, segment), tokens in own.items():
            before[row, segment - 1] = tokens[number] if number < len(tokens) else vocabulary.PAD
    return np.stack(logits, axis=2)


@pytest.mark.parametrize("changes", [{}, {"decoder_kernel": 4}, {"decoder_kernel": 1}])
@pytest.mark.parametrize("encodes", [True, False])
def test_decoding_step_by_step_gives_the_logits_of_all_steps_at_once(encodes, changes):
    batch, wanted = teacher_forced(encodes, **changes)
    found = step_by_step(batch, encodes, **changes)
    assert set(wanted) == {(0, 1), (0, 2), (1, 1)}
    for (row, segment), logits in wanted.items():
        np.testing.assert_allclose(found[row, segment - 1, : len(logits)], logits, atol=1e-5)


@pytest.mark.parametrize("changes", [{}, {"decoder_kernel": 4}])
def test_a_token_is_predicted_from_those_before_it_in_its_segment(changes):
    batch, wanted = teacher_forced(True, **changes)
    graph, params = rows.model(**changes)
    decode = rows.compiled(lambda p, b: nnx.merge(graph, p).decode(b, nnx.merge(graph, p).encode(b))[0])
    place = 4 + 3  # The fourth step of the second segment.
    lane = batch.targets._replace(tokens=batch.targets.tokens.at[0, place].add(1))
    found = rows.places(decode(params, batch._replace(targets=lane)), batch.targets.segment_ids)
    assert np.array_equal(found[0, 1], wanted[0, 1])
    np.testing.assert_allclose(found[0, 2][:4], wanted[0, 2][:4], atol=1e-6)
    assert np.abs(found[0, 2][4:] - wanted[0, 2][4:]).max() > 1e-3


def test_a_model_starts_as_a_lookup_as_far_as_asked():
    """Of each part that the choice is about: how alike two matrices are that else are drawn by themselves."""

    def likeness(lookup_start):
        choice = dataclasses.replace(
            rows.MODEL,
            width=64,
            text_kernel=3,
            decoder_kernel=3,
            decoder_layers=1,
            encoder_layers=1,
            lookup_start=lookup_start,
        )
        model = speech_text.SpeechText(choice, rngs=nnx.Rngs(0))
        text, own = model.encoder.stack.text_convolution, model.decoder.stack
        pairs = {
            "cross-attention": (own.cross_attention.key_DHK, own.cross_attention.query_DHK),
            "self-attention": (own.attention.key_DHK, own.attention.query_DHK),
            "text": (text.out_CD, jnp.swapaxes(text.value_DC[...], 1, 2)),
            "decoder": (own.convolution.out_CD, jnp.swapaxes(own.convolution.value_DC[...], 1, 2)),
        }
        return {
            name: float(np.corrcoef(np.ravel(one[...]), np.ravel(other[...]))[0, 1])
            for name, (one, other) in pairs.items()
        }

    started, usual = likeness(0.9), likeness(0.0)
    assert all(abs(value) < 0.1 for value in usual.values()), usual
    assert abs(started.pop("self-attention")) < 0.1, "there it would keep a step from gathering what stands before"
    assert all(value == pytest.approx(0.9, abs=0.03) for value in started.values()), started


def test_no_block_of_one_lane_is_multiplied_with_one_of_another():
    lanes = [jnp.repeat(jnp.asarray([[1, 2, 3, 0]]), 64, axis=1), jnp.repeat(jnp.asarray([[1, 1, 2, 3]]), 64, axis=1)]
    ids = decoder.own_ids(lanes)
    assert ids.tolist()[0][::64] == [1, 2, 3, 0, *(2**16 + n for n in (1, 1, 2, 3))]
    visited = np.asarray(splash.visited(ids, ids, 128, 128, causal=True))[0]
    assert visited[2:, 2:].any()
    assert not visited[2:, :2].any()
