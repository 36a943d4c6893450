"""Products with weights of 8 bits: near the exact ones, with exact gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rows
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec

from speechlm_jax import batch as batches
from speechlm_jax import layout, sharding
from speechlm_jax.layers import products
from speechlm_jax.planning import report, topology

SPECS = {
    "BSD,DF->BSF": ((2, 7, 32), (32, 48)),
    "BUHK,HKD->BUD": ((2, 7, 4, 8), (4, 8, 32)),
    "BSD,DHK->BSHK": ((2, 7, 32), (32, 4, 8)),
}
ERRORS = {"int8": 0.012, "fp8": 0.045}
"""Of the length of a product: rounding to 127 steps either side, and to 3 bits behind the leading one."""
SHOWN = {"int8": "xi8>", "fp8": "xf8E4M3FN>"}


def pair(spec, dtype=jnp.float32):
    x_shape, weights_shape = SPECS[spec]
    return rows.normal(0, *x_shape).astype(dtype), nnx.Param(rows.normal(1, *weights_shape))


def error(found, wanted):
    difference = (found - wanted).astype(jnp.float32)
    return float(jnp.linalg.norm(difference) / jnp.linalg.norm(wanted.astype(jnp.float32)))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("spec", SPECS)
def test_gradients_are_those_of_einsum_and_what_is_read_stands_on_the_left_of_its_weights(spec, dtype):
    x, weights = pair(spec, dtype)
    pull = rows.normal(2, *jnp.einsum(spec, x, weights[...]).shape)

    def gradients(multiply):
        return jax.jit(jax.grad(lambda x, w: jnp.sum(multiply(x, w) * pull), (0, 1)))

    ours = gradients(lambda x, w: products.product(spec, x, nnx.Param(w), "full"))
    plain = gradients(lambda x, w: jnp.einsum(spec, x, w.astype(x.dtype)))
    for found, wanted in zip(ours(x, weights[...]), plain(x, weights[...]), strict=True):
        assert found.dtype == wanted.dtype
        np.testing.assert_allclose(found.astype(jnp.float32), wanted.astype(jnp.float32), rtol=1e-6, atol=1e-6)
    # Turned around by XLA, a gradient would be so together with all that makes it.
    sums = [line for line in ours.lower(x, weights[...]).as_text().splitlines() if "dot_general %arg0" in line]
    assert len(sums) == 1


@pytest.mark.parametrize("numbers", ERRORS)
@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_rounded_product_is_near_the_exact_one(spec, numbers, dtype):
    x, weights = pair(spec, dtype)
    found, wanted = (products.product(spec, x, weights, kind) for kind in (numbers, "full"))
    assert found.dtype == x.dtype
    assert ERRORS[numbers] / 4 < error(found, wanted) < ERRORS[numbers]


@pytest.mark.parametrize("numbers", ERRORS)
def test_every_vector_has_a_scale_of_its_own(numbers):
    x, weights = pair("BSD,DF->BSF")
    x = x.at[0, 0].multiply(1e3)
    weights[...] = weights[...].at[:, 0].multiply(1e3)
    found, wanted = (products.product("BSD,DF->BSF", x, weights, kind) for kind in (numbers, "full"))
    for part in (np.s_[0, 1:, 1:], np.s_[1:, :, 1:], np.s_[1:, :, 0]):
        assert error(found[part], wanted[part]) < 1.5 * ERRORS[numbers]


@pytest.mark.parametrize("numbers", ERRORS)
def test_numbers_of_eight_bits_are_multiplied_and_the_gradient_is_exact(numbers):
    spec = "BSD,DF->BSF"
    x, weights = pair(spec)
    pull = rows.normal(2, 2, 7, 48)

    def gradients(kind):
        return jax.jit(jax.grad(lambda x, w: jnp.sum(products.product(spec, x, nnx.Param(w), kind) * pull), (0, 1)))

    given = (x, weights[...])
    shown = jax.jit(lambda x, w: products.product(spec, x, nnx.Param(w), numbers)).lower(*given).as_text()
    (line,) = [line for line in shown.splitlines() if "dot_general" in line]
    assert line.count(SHOWN[numbers]) == 2
    for found, wanted in zip(gradients(numbers)(*given), gradients("full")(*given), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)


def test_a_model_of_rounded_products_loses_little_and_its_blocks_have_no_others():
    row = batches.Row(audio_seconds=2.0, inputs=12, targets=20, segments=4)
    batch = rows.batch(row, [rows.example(0, seconds=0.83, prompt=2, targets=7), rows.example(1, inputs=9, targets=6)])
    graph, params = rows.model()

    def logits(graph):
        return rows.compiled(lambda params: nnx.merge(graph, params)(batch).targets)

    exact = logits(graph)(params)
    rounded = logits(rows.model(products="int8")[0])
    there = np.asarray(batch.targets.segment_ids) > 0
    assert 0 < error(rounded(params)[there], exact[there]) < 0.02
    dots = [line for line in rounded.lower(params).as_text().splitlines() if "dot_general" in line]
    # Two feed-forward layers, attention and a convolution; attention twice and a feed-forward layer.
    assert sum("xi8>" in line for line in dots) == (2 * 3 + 4 + 3) + (2 * 4 + 3)


def test_rounded_products_compile_for_tpus_cut_over_chips():
    mesh = sharding.make_mesh(layout.Layout(slices=1, data=1, fsdp=2, tensor=2), topology.devices("v5e:2x2"))

    def shape(spec, *size):
        return jax.ShapeDtypeStruct(size, jnp.bfloat16, sharding=NamedSharding(mesh, spec))

    x = shape(PartitionSpec(sharding.ROWS, None, sharding.TENSOR), 4, 256, 512)
    weights = shape(PartitionSpec(sharding.TENSOR), 512, 256)
    lowered = jax.jit(lambda x, w: products.product("BSF,FD->BSD", x, nnx.Param(w), "int8")).lower(x, weights)
    with report.compiled_anew():
        text = lowered.compile().as_text()
    assert "s8[" in text and "s32[" in text
    assert "all-gather" not in text
