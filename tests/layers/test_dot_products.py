"""Attention written out: segments attend to themselves, and dead room to nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rows

from speechlm_jax.layers import dot_products, masks

IDS = jnp.asarray([[1, 1, 1, 2, 2, 0, 0, 0], [1, 2, 2, 2, 2, 0, 4, 4]], jnp.int32)
MEMORY_IDS = jnp.asarray([[2, 2, 2, 1, 1], [4, 4, 2, 0, 0]], jnp.int32)


def check_attention(causal, memory_ids):
    """Against a softmax of each segment alone, in float64."""
    queries, keys, values = (
        rows.normal(seed, 2, ids.shape[1], 2, 4) for seed, ids in enumerate((IDS, memory_ids, memory_ids))
    )
    mask = masks.SegmentMask(IDS, memory_ids, causal).pairs()
    found = rows.places(dot_products.attend(queries, keys, values, mask), IDS)
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
    monkeypatch.setattr(masks.SegmentMask, "pairs", lambda mask: jnp.ones((2, 8, mask.memory_ids.shape[1]), bool))
    with pytest.raises(AssertionError):
        check_attention(False, memory_ids)


def test_room_without_examples_gives_zeros_and_finite_gradients():
    x, ids = 1e3 * rows.normal(0, 1, 4, 2, 4), jnp.asarray([[1, 1, 0, 0]], jnp.int32)
    mask = masks.SegmentMask(ids, ids).pairs()
    attended, pull = jax.vjp(lambda x: dot_products.attend(x, x, x, mask), x)
    assert np.all(np.asarray(attended)[:, 2:] == 0)
    gradient = pull(jnp.ones_like(attended))[0]
    assert np.isfinite(gradient).all()
    assert np.all(np.asarray(gradient)[:, 2:] == 0)
