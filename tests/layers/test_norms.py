"""The norm is flax's, and zeros have finite gradients."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from speechlm_jax.layers import norms


def test_the_norm_is_that_of_flax():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 8)), jnp.float32)
    reference = nnx.RMSNorm(8, epsilon=norms.EPSILON, rngs=nnx.Rngs(0))
    np.testing.assert_allclose(norms.RmsNorm(8)(x), reference(x), atol=1e-6)


def test_zeros_stay_zeros_with_finite_gradients():
    zeros = jnp.zeros((1, 2, 8))
    assert np.all(norms.RmsNorm(8)(zeros) == 0)
    assert np.isfinite(jax.grad(lambda x: norms.RmsNorm(8)(x).sum())(zeros)).all()
