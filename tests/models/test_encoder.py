"""Encoder blocks: what is dropped and convolved, and numbers that are refused."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rows
from flax import nnx

from speechlm_jax.layers import masks, positions
from speechlm_jax.models import decoder, encoder

IDS = jnp.asarray([[1, 1, 2, 2, 2, 0]], jnp.int32)
PLACES = jnp.asarray([[0, 1, 0, 1, 2, 0]], jnp.int32)
X = jnp.asarray(np.random.default_rng(0).normal(size=(1, 6, rows.MODEL.width)), jnp.float32)
MASK = masks.SegmentMask(IDS, IDS)
ROTATION = positions.rotation(PLACES, rows.MODEL.head_width)


def encoder_block(choice, key):
    block = encoder.Block(choice, rngs=nnx.Rngs(0))
    return block(X, encoder.Surroundings(MASK, ROTATION, IDS[:, :4], IDS[:, 4:]), key)


def decoder_block(choice, key):
    return decoder.Block(choice, rngs=nnx.Rngs(0))(X, IDS, MASK, ROTATION, X, MASK, None, key)[0]


@pytest.mark.parametrize("run", [encoder_block, decoder_block])
def test_every_part_of_a_block_is_dropped_by_the_key(run):
    """When next to everything is dropped, what comes in is what comes out."""
    choice = dataclasses.replace(rows.MODEL, dropout=1 - 1e-6, text_kernel=3, decoder_kernel=3)
    np.testing.assert_array_equal(rows.compiled(lambda key: run(choice, key))(jax.random.key(0)), X)
    assert np.abs(np.asarray(rows.compiled(lambda: run(choice, None))() - X)).max() > 0.1


@pytest.mark.parametrize("changes", [{}, {"text_kernel": 3}, {"text_kernel": 3, "encoder_block": "transformer"}])
def test_speech_and_text_are_convolved_apart_from_each_other(changes):
    """Each sees the other through attention alone: cut that, and nothing comes over."""
    apart = jnp.asarray([[1, 1, 1, 1, 2, 2]], jnp.int32)
    mask = masks.SegmentMask(apart, apart)

    @rows.compiled
    def run(x):
        block = encoder.Block(dataclasses.replace(rows.MODEL, **changes), rngs=nnx.Rngs(0))
        ids = jnp.ones((1, 6), jnp.int32)
        return block(x, encoder.Surroundings(mask, ROTATION, ids[:, :4], ids[:, 4:]), None)

    np.testing.assert_allclose(run(X)[:, 4:], run(X.at[:, :4].add(1.0))[:, 4:], atol=1e-6)
    np.testing.assert_allclose(run(X)[:, :4], run(X.at[:, 4:].add(1.0))[:, :4], atol=1e-6)


def test_the_convolution_of_text_brings_its_neighbours_in():
    """Where no place sees another by attention, a token changes those within the kernel and no more."""
    block = encoder.Block(dataclasses.replace(rows.MODEL, text_kernel=3), rngs=nnx.Rngs(0))
    ids = jnp.ones((1, 6), jnp.int32)
    each = jnp.arange(1, 7, dtype=jnp.int32)[None]
    alone = masks.SegmentMask(each, each)

    @rows.compiled
    def run(x):
        return block(x, encoder.Surroundings(alone, ROTATION, None, ids), None)

    changed = np.abs(np.asarray(run(X) - run(X.at[:, 2].add(1.0)))).max(axis=(0, 2)) > 1e-6
    assert changed.tolist() == [False, True, True, True, False, False]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"decoder_kernel": 0}, "Model.decoder_kernel"),
        ({"lookup_start": 1.0}, r"0 or more and below 1, found 1\.0"),
        ({"lookup_start": -0.1}, r"0 or more and below 1, found -0\.1"),
    ],
)
def test_a_convolution_without_taps_and_a_start_beyond_a_lookup_are_refused(change, told):
    with pytest.raises(ValueError, match=told):
        dataclasses.replace(rows.MODEL, **change)


@pytest.mark.parametrize("name", ["conv_kernel", "text_kernel"])
@pytest.mark.parametrize("taps", [4, 0, -1])
def test_a_kernel_without_a_middle_is_refused(name, taps):
    with pytest.raises(ValueError, match=rf"so odd: found Model\.{name} = {taps}\."):
        dataclasses.replace(rows.MODEL, **{name: taps})
