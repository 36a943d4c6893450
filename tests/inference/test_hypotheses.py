"""What hypotheses are made of: the highest of many scores, and what is not to be written."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from speechlm_jax.inference import hypotheses


@pytest.mark.parametrize("size", [40, 2_000, 2_048])
@pytest.mark.parametrize("count", [1, 2, 10])
@pytest.mark.parametrize("levels", [3, 50, 10**6])
def test_the_highest_are_those_of_the_library_equal_ones_in_their_order(size, count, levels):
    values = np.random.default_rng(levels).integers(0, levels, (2, 3, size)).astype(np.float32)
    values[0, 0] = -np.inf
    found, wanted = hypotheses.highest(jnp.asarray(values), count), jax.lax.top_k(values, count)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_is_forbidden_is_left_out_always_or_as_the_first():
    scores = jnp.zeros((1, 2, 2, 6))
    found = hypotheses.Forbidden(always=(1, 4), first=(5,)).left_out(scores, jnp.asarray([[True, False]]))
    left = [np.flatnonzero(np.isfinite(lane)).tolist() for lane in np.asarray(found)[0, :, 0]]
    assert left == [[0, 2, 3], [0, 2, 3, 5]]
    assert np.array_equal(hypotheses.NOTHING.left_out(scores, jnp.ones((1, 2), bool)), scores)
