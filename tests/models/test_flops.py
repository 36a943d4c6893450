"""The formula of operations against the products that programs have."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rows
from flax import nnx
from jax.extend import core

from speechlm_jax import batch as batches
from speechlm_jax.losses import heads
from speechlm_jax.models import flops, log_mel, speech_text

TEXT = batches.Row(inputs=24, targets=40, segments=4)
EVERY_LANE = batches.Row(audio_seconds=8, inputs=24, targets=40, target_audio_seconds=4, segments=4)
EMPTY = batches.empty(EVERY_LANE, 2)
WIDE = {"width": 64, "mlp_width": 96, "stem_channels": 48}


def products(jaxpr, dtype=None):
    """Operations of all matrix products of a program, or of those of a type; those of a loop as often as it runs."""
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general" and dtype in (None, equation.invars[0].aval.dtype):
            (contracted, _), _ = equation.params["dimension_numbers"]
            left, out = equation.invars[0].aval.shape, equation.outvars[0].aval.shape
            total += 2 * int(np.prod(out)) * int(np.prod([left[axis] for axis in contracted]))
        times = equation.params.get("length", 1) if equation.primitive.name == "scan" else 1
        total += times * sum(products(inner, dtype) for inner in core.jaxprs_in_params(equation.params))
    return total


def counted(choice, row):
    """Of the forward pass, in JAX's own program and by the formula."""
    model = nnx.eval_shape(lambda: speech_text.SpeechText(choice, rngs=nnx.Rngs(0)))
    graph, params = nnx.split(model)
    empty = batches.empty(row, 2)
    traced = jax.make_jaxpr(lambda params, batch: nnx.merge(graph, params)(batch))(params, empty)
    return products(traced.jaxpr), flops.step(choice, params, row, 2, heads.names()) / (1 + flops.BACKWARD)


@pytest.mark.parametrize("changes", [{}, {"encoder_block": "transformer"}, {"ctc_tied": True}])
def test_text_takes_the_products_that_the_program_has(changes):
    found, wanted = counted(dataclasses.replace(rows.MODEL, **WIDE, **changes), TEXT)
    assert found == wanted


# The last product of a layer is not done again, for nobody asks for it.
@pytest.mark.parametrize(("remat", "more"), [("none", 0), ("minimal", 0), ("offload", 0), ("full", 0.06)])
def test_rounded_products_are_those_that_the_program_has(remat, more):
    pytest.importorskip("qwix")
    choice = dataclasses.replace(rows.MODEL, **WIDE, text_kernel=3, decoder_kernel=3, products="int8", remat=remat)
    graph, params = nnx.split(nnx.eval_shape(lambda: speech_text.SpeechText(choice, rngs=nnx.Rngs(0))))

    def loss(params, batch):
        return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(nnx.merge(graph, params)(batch)))

    traced = jax.jit(jax.grad(loss)).trace(params, batches.empty(TEXT, 2))
    found, wanted = products(traced.jaxpr.jaxpr, np.int8), flops.rounded(choice, params, TEXT, 2, heads.names())
    assert wanted / (1 + more) <= found <= wanted


def test_what_no_loss_reads_is_not_counted():
    params = rows.model()[1]
    whole = flops.step(rows.MODEL, params, TEXT, 1, ("targets", "masked_tokens"))
    logits = rows.MODEL.width * (rows.VOCABULARY + rows.MODEL.width) * 2 * TEXT.inputs * (1 + flops.BACKWARD)
    assert whole - flops.step(rows.MODEL, params, TEXT, 1, ("targets",)) == logits


def test_layers_are_computed_again_by_the_policy():
    """With all of it, a third of what layers take forward and backward; else attention alone, or nothing."""
    params = rows.model()[1]
    found = {
        remat: flops.again(dataclasses.replace(rows.MODEL, remat=remat), params, TEXT, 2, heads.names())
        for remat in ("none", "minimal", "offload", "full")
    }
    pairs = TEXT.inputs**2 + TEXT.targets * (TEXT.targets + TEXT.inputs)
    assert found["none"] == 0
    assert found["minimal"] == found["offload"] == 2 * rows.MODEL.encoder_layers * 4 * rows.MODEL.width * pairs
    assert 3 * found["full"] < flops.step(rows.MODEL, params, TEXT, 2, heads.names()) < 4.5 * found["full"]


def test_every_lane_and_head_is_counted():
    """The program has a few percent more, codes and tables by products, and less: taps are no products there. What
    comes before the model, log-mel features by products, is counted apart."""
    choice = dataclasses.replace(rows.MODEL, **WIDE, **rows.EVERY_HEAD)
    found, wanted = counted(choice, EVERY_LANE)
    before = 0
    for lane, mels in ((EMPTY.audio, choice.mels), (EMPTY.target_audio, choice.speech_out.mels)):
        features = functools.partial(log_mel.features, num_segments=EVERY_LANE.segments, mels=mels)
        before += products(jax.make_jaxpr(features)(lane.samples, lane.segment_ids).jaxpr)
    assert wanted == pytest.approx(found - before, rel=0.08)


def test_a_parameter_that_the_formula_does_not_know_is_an_error():
    with pytest.raises(AssertionError, match=r"does not know where strange/kernel_DV is used"):
        flops._Positions(rows.MODEL, TEXT, heads.names()).of("strange/kernel_DV")
