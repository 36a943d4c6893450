"""The same step however it is laid out: over slices, rows, weights and heads, in parts, computed again or not."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
import rows

from speechlm_jax import batch as batches
from speechlm_jax import layout, parameters, sharding
from speechlm_jax.data import config as data_config
from speechlm_jax.models import config as models
from speechlm_jax.training import config, program

ROW = batches.Row(audio_seconds=1.28, inputs=16, targets=20, target_audio_seconds=1.28, segments=3)
MODEL = dataclasses.replace(
    rows.MODEL,
    width=32,
    num_heads=8,
    mlp_width=32,
    stem_channels=16,
    ctc_tied=True,
    dropout=0.1,
    spec_augment=models.SpecAugment(),
    **rows.EVERY_HEAD | {"speech_out": models.SpeechOut(mels=16, levels=4, reduction=2, hidden=16, guided_heads=1)},
)
LOSSES = config.Losses(
    tuple(
        (head, 1.0)
        for head in ("targets", "ctc", "masked_tokens", "masked_speech", "target_audio", "matching", "alignment")
    )
)
# What is left of a gradient after one step is its first moment; nothing else may hide it.
PLAIN = config.Optimizer(schedule=config.Schedule(peak=1e-3, warmup_steps=0), clip_norm=None)
ROWS = 8


@functools.cache
def global_rows():
    """Two examples a row, which fill all lanes between them."""
    return rows.batch(
        ROW,
        *[
            [
                rows.example(2 * row, seconds=0.5, prompt=2, targets=6, claim=1, mask_share=0.3),
                rows.example(2 * row + 1, inputs=7, targets=5, target_seconds=0.4),
            ]
            for row in range(ROWS)
        ],
    )


def stepped(shape, *, accumulate=1, **changes):
    """Loss totals by head, and the gradient of every parameter, of the first step on a mesh."""
    recipe = config.Recipe(
        steps=10,
        data=data_config.Data(row=ROW, rows=ROWS, vocabulary="/nowhere/vocabulary.model"),
        model=dataclasses.replace(MODEL, **changes),
        losses=LOSSES,
        optimizer=dataclasses.replace(PLAIN, accumulate=accumulate),
        layout=shape,
    )
    places = (shape.slices, shape.data, shape.fsdp, shape.tensor)
    made = program.Program(recipe, sharding.make_mesh(shape, jax.devices()[: int(np.prod(places))]))
    step = made.lower().compile(compiler_options=rows.FAST_COMPILE)
    now, metrics = step(made.first_state(), sharding.global_batch(made.mesh, global_rows()))
    moments = parameters.by_path(now.opt_state["adam"].mu)
    gradients = {
        path: np.asarray(parameters.array(leaf)) / (1 - PLAIN.b1)
        for path, leaf in moments.items()
        if parameters.is_variable(leaf)
    }
    return np.asarray(metrics.sums.totals).sum(axis=1), gradients


@functools.cache
def wanted(accumulate=1):
    """On one device. Each microbatch has its own dropout, so the number of them is part of what is asked."""
    return stepped(layout.Layout(1, 1, 1), accumulate=accumulate)


def check(found, accumulate=1):
    totals, gradients = wanted(accumulate)
    np.testing.assert_allclose(found[0], totals, rtol=1e-5)
    assert found[1].keys() == gradients.keys()
    for path, gradient in gradients.items():
        scale = max(1.0, float(np.abs(gradient).max()))
        np.testing.assert_allclose(found[1][path], gradient, rtol=0, atol=1e-5 * scale, err_msg=path)


def test_every_head_learns_from_the_rows():
    totals, gradients = wanted()
    assert len(totals) == len(LOSSES.coefficients) and np.all(totals > 0)
    assert sum(np.abs(gradient).max() > 0 for gradient in gradients.values()) > 0.9 * len(gradients)


@pytest.mark.parametrize(
    "shape",
    [
        layout.Layout(data=1, fsdp=8, tensor=1),
        layout.Layout(data=1, fsdp=1, tensor=8),
        layout.Layout(data=1, fsdp=4, tensor=2),
        layout.Layout(slices=2, data=1, fsdp=2, tensor=2),
    ],
    ids=["fsdp 8", "tensor 8", "fsdp 4 x tensor 2", "2 slices x fsdp 2 x tensor 2"],
)
@pytest.mark.slow
def test_loss_and_gradients_are_those_of_one_device(shape):
    check(stepped(shape))


@pytest.mark.parametrize("accumulate", [2, 4])
@pytest.mark.slow
def test_microbatches_on_a_mesh_are_those_of_one_device(accumulate):
    check(stepped(layout.Layout(data=1, fsdp=2, tensor=2), accumulate=accumulate), accumulate)


@pytest.mark.parametrize("changes", [{"remat": "minimal"}, {"remat": "full"}, {"scan": False}], ids=str)
@pytest.mark.slow
def test_what_is_kept_and_how_layers_are_compiled_changes_no_gradient(changes):
    check(stepped(layout.Layout(data=1, fsdp=2, tensor=2), **changes))
