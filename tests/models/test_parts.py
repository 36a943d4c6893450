"""A model of Whisper's layers packs exactly, decodes step by step as all at once, and trains."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rows
from flax import nnx

from speechlm_jax import batch as batches
from speechlm_jax import vocabulary
from speechlm_jax.models import config

WHISPER = {"parts": "whisper", "encoder_block": "transformer", "subsampling": 2, "audio_places": 90, "text_places": 30}
ROW = batches.Row(audio_seconds=3.2, targets=24, segments=3, subsampling=2)
EXAMPLES = (
    rows.example(0, seconds=0.83, prompt=2, targets=7),
    rows.example(1, seconds=0.41, targets=5),
    rows.example(2, seconds=0.6, prompt=1, targets=6),
)
GRAPH, PARAMS = rows.model(**WHISPER)


@rows.compiled
def logits(params, batch):
    model = nnx.merge(GRAPH, params)
    encoded = model.encode(batch)
    return encoded.audio, model.decode(batch, encoded)[0]


def evaluate(batch):
    audio, targets = logits(PARAMS, batch)
    return {
        "encoder": rows.places(audio, batch.audio.segment_ids[:, :: ROW.subsampling]),
        "decoder": rows.places(targets, batch.targets.segment_ids),
    }


def test_packed_and_unpacked_rows_say_the_same():
    a, b, c = EXAMPLES
    rows.check_packing_is_exact(evaluate, rows.batch(ROW, [c, a, b]), rows.batch(ROW, [a], [b], [c]))


def test_step_by_step_it_says_what_it_says_of_all_steps_at_once():
    batch = rows.batch(ROW, [EXAMPLES[2], EXAMPLES[0]])
    wanted, own = evaluate(batch)["decoder"], rows.places(batch.targets.tokens, batch.targets.segment_ids)

    @rows.compiled
    def steps(params, batch, given):
        model = nnx.merge(GRAPH, params)
        by_step = model.steps(model.encode(batch), 1, ROW.segments, given.shape[2])
        cache, found = by_step.start(), []
        for number in range(given.shape[2]):
            logits, cache = by_step.text(given[:, :, number], cache)
            found.append(logits)
        return jnp.stack(found, axis=2)

    given = np.full((1, ROW.segments, 9), vocabulary.BOS, np.int32)
    for (_, segment), tokens in own.items():
        given[0, segment - 1, 1 : len(tokens)] = tokens[:-1]
    found = np.asarray(steps(PARAMS, batch, jnp.asarray(given)))
    for (row, segment), values in wanted.items():
        np.testing.assert_allclose(found[row, segment - 1, : len(values)], values, atol=1e-5)


def test_places_beyond_a_table_count_as_its_last():
    graph, params = rows.model(**{**WHISPER, "audio_places": 10})
    batch = rows.batch(ROW, [EXAMPLES[0]])
    encoded = rows.compiled(lambda p, b: nnx.merge(graph, p).encode(b).hidden)(params, batch)
    assert np.isfinite(encoded).all()


def test_every_parameter_of_its_layers_is_trained():
    batch = rows.batch(ROW, list(EXAMPLES))

    @functools.partial(rows.compiled)
    @jax.grad
    def gradient(params):
        told = nnx.merge(GRAPH, params)(batch).targets
        return jnp.sum(jax.nn.log_softmax(told)[:, :, 7] * (batch.targets.weights > 0))

    still = [
        "/".join(map(str, path))
        for path, leaf in nnx.to_flat_state(gradient(PARAMS))
        if not np.abs(leaf[...]).max() > 0
    ]
    assert {name.split("/")[0] for name in still} <= {"masked_tokens", "ctc", "encoder"}
    assert not [name for name in still if name.startswith("encoder") and name != "encoder/inputs_D"]


@pytest.mark.parametrize("changes", [{"encoder_block": "conformer"}, {"subsampling": 4}, {"text_kernel": 3}])
def test_what_whisper_has_not_is_refused(changes):
    with pytest.raises(ValueError, match="a Transformer over every other frame"):
        config.Model(**{**WHISPER, **changes})
