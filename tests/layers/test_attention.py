"""An attention layer: what it sees of places, and how it may start as a lookup."""

import jax.numpy as jnp
import numpy as np
import pytest
import rows
from flax import nnx

from speechlm_jax.layers import attention, dot_products, masks, positions


def test_an_attention_layer_sees_distances_and_not_places():
    layer = attention.Attention(8, 2, rngs=nnx.Rngs(0))
    x, ones = rows.normal(0, 1, 5, 8), jnp.ones((1, 5), jnp.int32)

    @rows.compiled
    def run(places):
        rotation = positions.rotation(places, 4)
        return layer(x, layer.memory(x, rotation), masks.SegmentMask(ones, ones), rotation)

    places = jnp.arange(5, dtype=jnp.int32)[None, :]
    np.testing.assert_allclose(run(places), run(places + 700), atol=1e-4)
    assert np.abs(np.asarray(run(places) - run(2 * places))).max() > 1e-3


@pytest.mark.parametrize("likeness", [0.0, 0.9])
def test_a_place_starts_looking_for_its_like_as_far_as_asked(likeness):
    """The same four vectors on both sides: how much of its look each gives to its own."""
    module = attention.Attention(128, 2, likeness=likeness, rngs=nnx.Rngs(0))
    x = 3 * rows.normal(0, 1, 4, 128)
    looks = dot_products.probabilities(module.queries(x), module.memory(x).keys, jnp.ones((1, 4, 4), bool))
    own = float(jnp.mean(jnp.diagonal(looks, axis1=2, axis2=3)))
    assert own > 0.95 if likeness else own < 0.5
