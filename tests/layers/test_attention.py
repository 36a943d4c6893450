import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rows
from flax import nnx

from speechlm_jax.layers import attention, positions

IDS = jnp.asarray([[1, 1, 1, 2, 2, 0, 0, 0], [1, 2, 2, 2, 2, 0, 4, 4]], jnp.int32)
MEMORY_IDS = jnp.asarray([[2, 2, 2, 1, 1], [4, 4, 2, 0, 0]], jnp.int32)


def normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def check_attention(causal, memory_ids):
    """Against a softmax of each segment alone, in float64."""
    queries, keys, values = (
        normal(seed, 2, ids.shape[1], 2, 4) for seed, ids in enumerate((IDS, memory_ids, memory_ids))
    )
    mask = attention.segment_mask(IDS, memory_ids, causal=causal)
    found = rows.places(attention.attend(queries, keys, values, mask), IDS)
    own_keys, own_values = rows.places(keys, memory_ids), rows.places(values, memory_ids)
    for place, query in rows.places(queries, IDS).items():
        if place not in own_keys:
            assert np.all(found[place] == 0)
            continue
        scores = np.einsum("uhk,shk->hus", query.astype(np.float64), own_keys[place]) / 2
        if causal:
            scores = np.where(np.tri(len(query), dtype=bool), scores, -np.inf)
        shares = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
        np.testing.assert_allclose(found[place], np.einsum("hus,shk->uhk", shares, own_values[place]), atol=1e-5)


@pytest.mark.parametrize(("causal", "memory_ids"), [(False, IDS), (True, IDS), (False, MEMORY_IDS)])
def test_a_segment_attends_to_itself(causal, memory_ids):
    check_attention(causal, memory_ids)


@pytest.mark.parametrize("memory_ids", [IDS, MEMORY_IDS])
def test_the_check_sees_a_mask_that_lets_neighbours_in(memory_ids, monkeypatch):
    monkeypatch.setattr(attention, "segment_mask", lambda q, m, causal=False: jnp.ones((*q.shape, m.shape[1]), bool))
    with pytest.raises(AssertionError):
        check_attention(False, memory_ids)


def test_room_without_examples_gives_zeros_and_finite_gradients():
    x, ids = 1e3 * normal(0, 1, 4, 2, 4), jnp.asarray([[1, 1, 0, 0]], jnp.int32)
    mask = attention.segment_mask(ids, ids)
    attended, pull = jax.vjp(lambda x: attention.attend(x, x, x, mask), x)
    assert np.all(np.asarray(attended)[:, 2:] == 0)
    gradient = pull(jnp.ones_like(attended))[0]
    assert np.isfinite(gradient).all()
    assert np.all(np.asarray(gradient)[:, 2:] == 0)


def test_an_attention_layer_sees_distances_and_not_places():
    layer = attention.Attention(8, 2, rngs=nnx.Rngs(0))
    x, ones = normal(0, 1, 5, 8), jnp.ones((1, 5), jnp.int32)

    @rows.compiled
    def run(places):
        rotation = positions.rotation(places, 4)
        return layer(x, layer.memory(x, rotation), attention.segment_mask(ones, ones), rotation)

    places = jnp.arange(5, dtype=jnp.int32)[None, :]
    np.testing.assert_allclose(run(places), run(places + 700), atol=1e-4)
    assert np.abs(np.asarray(run(places) - run(2 * places))).max() > 1e-3


@pytest.mark.parametrize("likeness", [0.0, 0.9])
def test_a_place_starts_looking_for_its_like_as_far_as_asked(likeness):
    """The same four vectors on both sides: how much of its look each gives to its own."""
    module = attention.Attention(128, 2, likeness=likeness, rngs=nnx.Rngs(0))
    x = 3 * normal(0, 1, 4, 128)
    looks = attention.probabilities(module.queries(x), module.memory(x).keys, jnp.ones((1, 4, 4), bool))
    own = float(jnp.mean(jnp.diagonal(looks, axis1=2, axis2=3)))
    assert own > 0.95 if likeness else own < 0.5
