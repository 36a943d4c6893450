"""Rotary positions say how far apart two places are, sinusoids where one is."""

import jax
import jax.numpy as jnp
import numpy as np

from speechlm_jax.layers import positions


def test_rotated_scores_depend_on_the_distance_alone():
    queries, keys = jax.random.normal(jax.random.key(0), (2, 1, 1, 1, 8))

    def score(query_at, key_at):
        rotations = [positions.rotation(jnp.array([[at]]), 8) for at in (query_at, key_at)]
        return jnp.sum(positions.rotate(queries, rotations[0]) * positions.rotate(keys, rotations[1]))

    np.testing.assert_allclose(score(3, 1), score(50, 48), rtol=1e-5)
    assert abs(score(3, 1) - score(3, 2)) > 1e-3


def test_sinusoids_are_those_of_the_formula():
    found = positions.sinusoids(jnp.array([[0, 7]]), 6)
    rates = [10_000 ** (-2 * i / 6) for i in range(3)]
    wanted = [[*np.sin([at * rate for rate in rates]), *np.cos([at * rate for rate in rates])] for at in (0, 7)]
    np.testing.assert_allclose(found[0], wanted, atol=1e-6)
