"""Tables of segments, and the way from a place to its segment's line."""

import jax.numpy as jnp
import numpy as np

from speechlm_jax.layers import segments

IDS = np.array([[1, 1, 3, 0, 3, 3], [2, 0, 2, 1, 0, 0]], np.int32)
VALUES = np.random.default_rng(0).normal(size=IDS.shape).astype(np.float32)


def test_tables_of_segments_are_numpys():
    total = segments.total(jnp.asarray(VALUES), jnp.asarray(IDS), 3)
    length = segments.length(jnp.asarray(IDS), 3)
    maximum = segments.maximum(jnp.asarray(VALUES), jnp.asarray(IDS), 3)
    for row in range(2):
        for line in range(3):
            own = VALUES[row, IDS[row] == line + 1]
            np.testing.assert_allclose(total[row, line], own.sum(), atol=1e-6)
            assert length[row, line] == len(own)
            assert maximum[row, line] == own.max(initial=-np.inf)


def test_each_place_finds_the_line_of_its_segment():
    table = np.array([[10, -np.inf, 30], [1, 2, 3]], np.float32)
    found = segments.look_up(jnp.asarray(table), jnp.asarray(IDS))
    np.testing.assert_array_equal(found, [[10, 10, 30, 0, 30, 30], [2, 0, 2, 1, 0, 0]])
