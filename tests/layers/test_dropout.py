"""Dropout keeps the mean, and needs a key to do anything."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from speechlm_jax.layers import dropout


def test_dropout_zeroes_the_rate_and_keeps_the_mean():
    dropped = np.asarray(dropout.dropout(jnp.ones((100, 100)), 0.2, jax.random.key(0)))
    assert abs((dropped == 0).mean() - 0.2) < 0.02
    assert np.unique(dropped) == pytest.approx([0, 1.25])


def test_without_a_key_or_a_rate_nothing_happens():
    ones = jnp.ones((2, 2))
    assert dropout.dropout(ones, 0.2, None) is ones
    assert dropout.dropout(ones, 0.0, jax.random.key(0)) is ones
