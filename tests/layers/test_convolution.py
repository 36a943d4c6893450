"""Convolutions within segments: no tap reaches a neighbour, gradients are JAX's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rows
from flax import nnx

from speechlm_jax import axes
from speechlm_jax.layers import convolution

TAPS, CHANNELS = 5, 3
IDS = jnp.asarray([[1, 1, 1, 2, 2, 0, 3, 3, 3, 3, 3, 3], [7, 0, 0, 1, 1, 1, 1, 2, 3, 3, 0, 0]], jnp.int32)


def normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


AHEAD = [0, 2, TAPS - 1]


def alone(x, kernel, ahead):
    """numpy's convolution of one segment, channel by channel; a convolution turns its kernel round, a network's not."""
    whole = np.stack([np.convolve(x[:, d], kernel[::-1, d]) for d in range(x.shape[1])], axis=1)
    return whole[ahead : ahead + len(x)]


def check_depthwise(depthwise, ahead=2):
    x, kernel = normal(0, *IDS.shape, CHANNELS), normal(1, TAPS, CHANNELS)
    found = rows.places(depthwise(x, kernel, IDS, ahead), IDS)
    for place, values in rows.places(x, IDS).items():
        np.testing.assert_allclose(found[place], alone(values, np.asarray(kernel), ahead), atol=1e-5)


@pytest.mark.parametrize("ahead", AHEAD)
def test_a_segment_is_convolved_by_itself(ahead):
    check_depthwise(convolution.depthwise, ahead)


def test_the_check_sees_taps_that_reach_a_neighbour(monkeypatch):
    monkeypatch.setattr(convolution, "same_segment", lambda ids, other_ids: jnp.ones(ids.shape, bool))
    with pytest.raises(AssertionError):
        check_depthwise(convolution.depthwise)


@pytest.mark.parametrize("ahead", AHEAD)
def test_gradients_are_those_that_jax_derives(ahead):
    def plain(x, kernel):
        reach = (TAPS - 1 - ahead, ahead)
        x_padded = jnp.pad(x, ((0, 0), reach, (0, 0)))
        ids_padded = jnp.pad(IDS, ((0, 0), reach), constant_values=-1)
        taps = [
            jnp.where((ids_padded[:, k : k + IDS.shape[1]] == IDS)[..., None], x_padded[:, k : k + IDS.shape[1]], 0)
            for k in range(TAPS)
        ]
        return jnp.einsum("KBPD,KD->BPD", jnp.stack(taps), kernel)

    def ours(x, kernel):
        return convolution.depthwise(x, kernel, IDS, ahead)

    x, kernel, weights = normal(0, *IDS.shape, CHANNELS), normal(1, TAPS, CHANNELS), normal(2, *IDS.shape, CHANNELS)
    found, wanted = (
        jax.grad(lambda x, k, run=run: (run(x, k) * weights).sum(), argnums=(0, 1))(x, kernel) for run in (ours, plain)
    )
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_halving_is_a_strided_convolution():
    halve = convolution.ShortConvolution(4, 6, axes.MELS, rngs=nnx.Rngs(0))
    x = normal(0, 2, 10, 4)
    kernel = halve.kernel_3IC[...]
    wanted = jax.lax.conv_general_dilated(x, kernel, (2,), [(1, 0)], dimension_numbers=("NHC", "HIO", "NHC"))
    found = halve(x)
    assert found.shape == (2, 5, 6)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_the_conformer_convolution_mixes_no_segments():
    module = convolution.ConformerConvolution(8, TAPS, rngs=nnx.Rngs(0))
    x = normal(0, *IDS.shape, 8)
    run = rows.compiled(module.__call__)
    found = rows.places(run(x, IDS), IDS)
    for place, values in rows.places(x, IDS).items():
        ids = np.zeros(IDS.shape, np.int32)
        ids[0, 2 : 2 + len(values)] = 1
        alone = np.ones(x.shape, np.float32)
        alone[ids == 1] = values
        np.testing.assert_allclose(found[place], run(alone, ids)[0, 2 : 2 + len(values)], atol=1e-5)


@pytest.mark.parametrize("causal", [True, False])
def test_a_convolution_that_gathers_starts_with_the_sum_of_what_stands_before(causal):
    x = normal(0, 1, 12, 256)
    ids = jnp.ones((1, 12), jnp.int32)

    def likeness(gathering):
        """Of what it makes of a place to the places around: offset -> mean cosine."""
        module = convolution.ConformerConvolution(256, TAPS, causal=causal, gathering=gathering, rngs=nnx.Rngs(0))
        unit = [np.asarray(v)[0] / np.linalg.norm(v[0], axis=-1, keepdims=True) for v in (module(x, ids), x)]
        return {o: float(np.mean([unit[0][p] @ unit[1][p + o] for p in range(4, 8)])) for o in range(-4, 5)}

    back = TAPS if causal else TAPS // 2 + 1
    found = likeness(0.9)
    assert min(found[-offset] for offset in range(back)) > 0.15
    assert max(abs(value) for offset, value in found.items() if not -back < offset <= 0) < 0.15
    assert max(abs(value) for value in likeness(0.0).values()) < 0.15
