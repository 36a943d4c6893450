import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rows
from flax import nnx

from speechlm_jax.layers import attention, positions
from speechlm_jax.models import decoder, encoder

IDS = jnp.asarray([[1, 1, 2, 2, 2, 0]], jnp.int32)
PLACES = jnp.asarray([[0, 1, 0, 1, 2, 0]], jnp.int32)
X = jnp.asarray(np.random.default_rng(0).normal(size=(1, 6, rows.MODEL.width)), jnp.float32)
MASK = attention.segment_mask(IDS, IDS)
ROTATION = positions.rotation(PLACES, rows.MODEL.head_width)


def encoder_block(choice, key):
    block = encoder.Block(choice, rngs=nnx.Rngs(0))
    return block(X, encoder.Surroundings(MASK, ROTATION, IDS[:, :4]), key)


def decoder_block(choice, key):
    return decoder.Block(choice, rngs=nnx.Rngs(0))(X, MASK, ROTATION, X, MASK, key)


@pytest.mark.parametrize("run", [encoder_block, decoder_block])
def test_every_part_of_a_block_is_dropped_by_the_key(run):
    """When next to everything is dropped, what comes in is what comes out."""
    choice = dataclasses.replace(rows.MODEL, dropout=1 - 1e-6)
    np.testing.assert_array_equal(rows.compiled(lambda key: run(choice, key))(jax.random.key(0)), X)
    assert np.abs(np.asarray(rows.compiled(lambda: run(choice, None))() - X)).max() > 0.1


def test_text_positions_pass_the_convolution_by():
    """A place beside audio positions sees them through attention alone: cut that, and nothing comes over."""
    apart = jnp.asarray([[1, 1, 1, 1, 2, 2]], jnp.int32)
    mask = attention.segment_mask(apart, apart)

    @rows.compiled
    def run(x):
        block = encoder.Block(rows.MODEL, rngs=nnx.Rngs(0))
        return block(x, encoder.Surroundings(mask, ROTATION, jnp.ones((1, 4), jnp.int32)), None)

    np.testing.assert_allclose(run(X)[:, 4:], run(X.at[:, :4].add(1.0))[:, 4:], atol=1e-6)
