"""A stack is its layers, scanned or not, computed again or not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rows
from flax import nnx

from speechlm_jax.layers import dropout, feed_forward, norms, stack

WIDTH = 8


class Layer(nnx.Module):
    def __init__(self, rngs):
        self.norm = norms.RmsNorm(WIDTH)
        self.feed_forward = feed_forward.FeedForward(WIDTH, 16, rngs=rngs)

    def __call__(self, x, key):
        return x + dropout.dropout(self.feed_forward(self.norm(x)), 0.5, key)


X = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, WIDTH)), jnp.float32)


def run(layers, x, keys=None, remat="none"):
    return stack.run(layers, lambda layer, x, key: (layer(x, key), None), x, keys, remat=remat)[0]


def test_a_stack_is_its_layers_one_after_another():
    layers = stack.build(Layer, 3, rngs=nnx.Rngs(0))
    graph, params = nnx.split(layers)
    wanted = X
    for layer in range(3):
        wanted = nnx.merge(graph, jax.tree.map(lambda leaf, layer=layer: leaf[layer], params))(wanted, None)
    np.testing.assert_allclose(run(layers, X), wanted, atol=1e-6)


def test_layers_start_apart_and_bear_the_word_layers():
    params = dict(nnx.to_flat_state(nnx.state(stack.build(Layer, 3, rngs=nnx.Rngs(0)))))
    gate = params["feed_forward", "gate_DF"]
    assert gate.get_metadata()["axes"] == ("layers", "embed", "mlp")
    assert gate.shape == (3, WIDTH, 16)
    assert np.abs(np.asarray(gate[0] - gate[1])).max() > 0.1
    assert params["norm", "scale_D"].get_metadata()["axes"] == ("layers", "embed")


@pytest.mark.slow
def test_the_program_does_not_grow_with_layers():
    def text(num_layers):
        graph, params = nnx.split(stack.build(Layer, num_layers, rngs=nnx.Rngs(0)))
        step = jax.grad(lambda params, x: run(nnx.merge(graph, params), x).sum())
        return rows.compiled(step).lower(params, X).compile().as_text()

    # Numbers may take a digit more.
    assert abs(len(text(2)) - len(text(8))) < 0.01 * len(text(2))


@pytest.mark.parametrize("remat", ["minimal", "full"])
def test_what_is_computed_again_changes_no_gradient(remat):
    graph, params = nnx.split(stack.build(Layer, 3, rngs=nnx.Rngs(0)))
    keys = jax.random.split(jax.random.key(1), 3)

    def gradient(remat):
        def loss(params):
            return jnp.square(run(nnx.merge(graph, params), X, keys, remat)).sum()

        return jax.tree.leaves(rows.compiled(jax.grad(loss))(params))

    for one, other in zip(gradient(remat), gradient("none"), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_every_layer_drops_by_its_own_key():
    layers = stack.build(Layer, 2, rngs=nnx.Rngs(0))
    one, other = jax.random.split(jax.random.key(0))
    runs = [run(layers, X, jnp.stack(keys)) for keys in ((one, other), (other, one), (one, one))]
    assert np.abs(np.asarray(runs[0] - runs[1])).max() > 1e-3
    assert np.abs(np.asarray(runs[0] - runs[2])).max() > 1e-3
