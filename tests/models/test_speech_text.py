"""The whole model is exact in packing: losses and gradients do not depend on neighbours."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rows
from flax import nnx
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from speechlm_jax import batch as batches
from speechlm_jax.layers import convolution, masks
from speechlm_jax.losses import alignment, ctc, masked_speech, masked_tokens, matching, target_audio, targets
from speechlm_jax.models import frontends

ROW = batches.Row(audio_seconds=3.2, inputs=24, targets=30, target_audio_seconds=2.4, segments=6)
LONGER = batches.Row(audio_seconds=4.0, inputs=31, targets=35, target_audio_seconds=3.0, segments=7)
EXAMPLES = (
    rows.example(0, seconds=0.83, prompt=2, targets=7, claim=1),
    rows.example(1, inputs=9, targets=6, target_seconds=0.5),
    rows.example(2, seconds=0.6, inputs=5, prompt=1, targets=4, mask_share=0.4, claim=-1),
    rows.example(3, inputs=6),
    rows.example(4, seconds=0.7, mask_share=0.5, target_seconds=0.61),
)
HEADS = {
    "targets": targets,
    "ctc": ctc,
    "masked_tokens": masked_tokens,
    "masked_speech": masked_speech,
    "target_audio": target_audio,
    "matching": matching,
    "alignment": alignment,
}


def packed(row=ROW):
    """As many rows as examples, so that the program is the one for examples alone."""
    return rows.batch(row, [], [EXAMPLES[i] for i in (2, 0, 3)], [EXAMPLES[i] for i in (4, 1)], [], [])


def alone(row=ROW):
    return rows.batch(row, *[[example] for example in EXAMPLES])


def evaluation(graph, params):
    """What the model makes of each example, for rows.check_packing_is_exact."""

    @rows.compiled
    def run(params, batch):
        model = nnx.merge(graph, params)
        outputs = model(batch)
        return model.encode(batch), outputs, {name: head.totals(outputs, batch) for name, head in HEADS.items()}

    def evaluate(batch):
        encoded, outputs, totals = run(params, batch)
        audio_ids = batch.audio.segment_ids[:, :: rows.MODEL.subsampling]
        step_ids = batch.target_audio.segment_ids[:, :: ROW.reduction]
        return {
            "audio positions": rows.places(encoded.audio, audio_ids),
            "text positions": rows.places(encoded.inputs, batch.inputs.segment_ids),
            "targets": rows.places(outputs.targets, batch.targets.segment_ids),
            "masked tokens": rows.places(outputs.masked_tokens, batch.inputs.segment_ids),
            "ctc": rows.places(outputs.ctc, audio_ids),
            "hidden speech": rows.places(outputs.masked_speech.hidden, audio_ids),
            "codes": rows.places(outputs.masked_speech.codes, audio_ids),
            "code logits": rows.places(outputs.masked_speech.logits, audio_ids),
            "levels": rows.places(outputs.target_audio.levels, step_ids),
            "true levels": rows.places(outputs.target_audio.truth, step_ids),
            "stop": rows.places(outputs.target_audio.stop, step_ids),
            "strays": rows.places(outputs.target_audio.strays, step_ids),
            "matching": rows.lines(outputs.matching, batch),
        } | {f"loss {name}": rows.lines(value, batch) for name, value in totals.items()}

    return evaluate


def loss(graph, params, batch, key=None):
    outputs = nnx.merge(graph, params)(batch, key=key)
    return sum(head.totals(outputs, batch).sum() for head in HEADS.values())


@pytest.fixture(scope="module")
def evaluate():
    return evaluation(*rows.model(**rows.EVERY_HEAD))


def test_packed_and_unpacked_rows_have_one_loss(evaluate):
    rows.check_packing_is_exact(evaluate, packed(), alone())


@pytest.mark.slow
def test_the_length_of_rows_changes_nothing(evaluate):
    rows.check_packing_is_exact(evaluate, packed(), alone(LONGER))


def test_packed_and_unpacked_rows_have_one_gradient():
    graph, params = rows.model(**rows.EVERY_HEAD)
    gradient = rows.compiled(jax.grad(functools.partial(loss, graph)))
    found, wanted = (nnx.to_flat_state(gradient(params, batch)) for batch in (packed(), alone()))
    for (path, one), (_, other) in zip(found, wanted, strict=True):
        assert np.isfinite(one[...]).all(), path
        scale = max(1.0, float(np.abs(other[...]).max()))
        np.testing.assert_allclose(one[...], other[...], rtol=0, atol=1e-5 * scale, err_msg=str(path))
        assert np.abs(other[...]).max() > 0, f"{path} gets no gradient"


def _all_true(mask):
    pairs = jnp.ones((*mask.query_ids.shape, mask.memory_ids.shape[1]), bool)
    return jnp.tril(pairs) if mask.causal else pairs


def _smeared(halve, x, sound=convolution.ShortConvolution.__call__):
    return sound(halve, x + 0.1 * jnp.roll(x, 4, axis=1))


@pytest.mark.parametrize(
    ("room", "name", "leak"),
    [
        (masks.SegmentMask, "pairs", _all_true),
        (convolution, "same_segment", lambda ids, other_ids: jnp.ones(ids.shape, bool)),
        (frontends.convolution.ShortConvolution, "__call__", _smeared),
    ],
    ids=["attention", "depthwise", "stem"],
)
def test_the_check_sees_a_leak(room, name, leak, monkeypatch):
    monkeypatch.setattr(room, name, leak)
    with pytest.raises(AssertionError, match="positions of example"):
        rows.check_packing_is_exact(evaluation(*rows.model(decoder_layers=1, **rows.EVERY_HEAD)), packed(), alone())


def test_a_transformer_packs_exactly():
    evaluate = evaluation(*rows.model(encoder_block="transformer", decoder_layers=1, **rows.EVERY_HEAD))
    rows.check_packing_is_exact(evaluate, packed(), alone())


@pytest.mark.slow
def test_training_in_bfloat16_gives_finite_float32_gradients():
    graph, params = rows.model(dtype="bfloat16", remat="minimal", **rows.EVERY_HEAD)
    step = rows.compiled(jax.value_and_grad(functools.partial(loss, graph)))
    batch = packed()
    value, gradient = step(params, batch, jax.random.key(0))
    other, _ = step(params, batch, jax.random.key(1))
    assert np.isfinite(value) and value != other, "the key drops nothing"
    for leaf in jax.tree.leaves(gradient):
        assert leaf.dtype == jnp.float32 and np.isfinite(leaf).all()


def lowered(batch):
    graph, params = rows.model()
    return jax.jit(lambda params, batch: nnx.merge(graph, params)(batch)).lower(params, batch)


STEM = "tensor<3x20x16xf32>"
QUERY = "tensor<2x16x2x8xf32>"


@pytest.mark.parametrize(
    ("row", "heads", "has_stem", "stacks"),
    [
        (batches.Row(inputs=24, targets=30, segments=5), ("targets", "masked_tokens"), False, 2),
        (batches.Row(audio_seconds=3.2, segments=5), ("ctc",), True, 1),
        (batches.Row(audio_seconds=3.2, targets=30, segments=5), ("targets", "ctc"), True, 2),
        (batches.Row(targets=30, segments=5), ("targets",), False, 1),
    ],
    ids=["text", "audio", "audio and targets", "targets"],
)
def test_a_lane_without_room_is_not_in_the_program(row, heads, has_stem, stacks):
    batch = rows.batch(row, [])
    program = lowered(batch)
    found = [name for name, value in program.out_info._asdict().items() if value is not None]
    assert sorted(found) == sorted(heads)
    parameters = program.as_text().split("func.func public @main(")[1].split("->")[0]
    assert (STEM in parameters) == has_stem
    # Queries, keys and values of a stack, and again of its attention to the encoder.
    has_cross = "targets" in heads and (row.audio_positions > 0 or row.inputs > 0)
    assert parameters.count(QUERY) == 3 * (stacks + has_cross)
    outputs = program.compile(rows.FAST_COMPILE)(rows.model()[1], batch)
    assert all(np.isfinite(value).all() for value in jax.tree.leaves(outputs))


@pytest.mark.slow
def test_rows_cut_over_devices_exchange_nothing_but_gradients():
    devices = jax.devices()
    assert len(devices) >= 8
    mesh = jax.make_mesh((8,), ("rows",), axis_types=(AxisType.Auto,), devices=devices[:8])
    whole, by_rows = (NamedSharding(mesh, PartitionSpec(*names)) for names in ((), ("rows",)))
    graph, params = rows.model(**rows.EVERY_HEAD)
    batch = jax.device_put(rows.batch(ROW, *[EXAMPLES] * 8), by_rows)
    step = rows.compiled(jax.value_and_grad(functools.partial(loss, graph)), out_shardings=whole)
    compiled = step.lower(jax.device_put(params, whole), batch).compile()
    text = compiled.as_text()
    assert "all-reduce" in text
    assert not [name for name in ("all-gather", "all-to-all", "collective-permute") if name in text]
    value, _ = compiled(jax.device_put(params, whole), batch)
    one_row = rows.compiled(functools.partial(loss, graph))(params, rows.batch(ROW, EXAMPLES))
    np.testing.assert_allclose(value, 8 * one_row, rtol=1e-5)


@pytest.mark.parametrize(
    ("row", "hint"),
    [
        (batches.Row(targets=8, target_audio_seconds=0.8), r"Model\.speech_out = @SpeechOut"),
        (batches.Row(audio_seconds=0.98, targets=8, subsampling=2), r"Row\.subsampling and Model\.subsampling"),
    ],
)
def test_a_batch_that_the_model_cannot_take_is_refused(row, hint):
    with pytest.raises(ValueError, match=hint):
        lowered(rows.batch(row, []))


def test_a_tied_ctc_head_reads_by_the_embedding():
    graph, params = rows.model(ctc_tied=True)
    batch = rows.batch(batches.Row(audio_seconds=3.2, segments=2), [rows.example(0, seconds=0.5)])
    model = nnx.merge(graph, params)
    encoded = model.encode(batch)
    wanted = np.asarray(encoded.audio) @ np.asarray(model.text.table_VD[...]).T + np.asarray(model.ctc.bias_V[...])
    np.testing.assert_allclose(model.ctc_logits(encoded), wanted, rtol=1e-4, atol=1e-4)
    assert not hasattr(model.ctc, "kernel_DV")
