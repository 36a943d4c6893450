"""Cross entropy is optax's, in value and gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from speechlm_jax.layers import likelihoods


def test_cross_entropy_and_its_gradient_are_optaxs():
    random = np.random.default_rng(0)
    logits = jnp.asarray(random.normal(size=(2, 5, 11)) * 9, jnp.float32)
    tokens = jnp.asarray(random.integers(0, 11, (2, 5)))
    (ours, our_slopes), (theirs, their_slopes) = (
        (function(logits, tokens), jax.grad(lambda values, of=function: of(values, tokens).sum())(logits))
        for function in (likelihoods.cross_entropy, optax.softmax_cross_entropy_with_integer_labels)
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    np.testing.assert_allclose(our_slopes, their_slopes, atol=1e-5)
