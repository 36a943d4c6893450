"""Products of what a layer reads with its weights, exact or of small numbers."""

import functools
from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

from speechlm_jax import sharding

Numbers = Literal["full", "int8", "fp8"]
"""Model.products: what is multiplied."""

ROUNDED = "rounded product"
"""The name of one to policies of rematerialisation, which know an exact one when they see it."""

_TYPES: Mapping[Numbers, Any] = {"int8": jnp.int8, "fp8": jnp.float8_e4m3fn}


def product(spec: str, x: Float[Array, "..."], weights: nnx.Param, numbers: Numbers) -> Float[Array, "..."]:
    """jnp.einsum of two, in the type of `x`.

    Of int8 and fp8, each vector of `x` that is summed over, and each of the weights, is scaled by its largest and
    rounded (qwix); a kernel of such numbers multiplies. The gradient is that of the exact product, which is known to
    train (straight through, arXiv 1308.3432).
    """
    weights_x = weights[...].astype(x.dtype)
    if numbers == "full":
        einsum = _with_gradients_for_cpus if sharding.platform() == "cpu" else jnp.einsum
        return einsum(spec, x, weights_x)
    return checkpoint_name(_rounded(spec, _TYPES[numbers], x, weights_x), ROUNDED)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _with_gradients_for_cpus(spec: str, x: Array, weights: Array) -> Array:
    return jnp.einsum(spec, x, weights)


def _forward_on_cpus(spec: str, x: Array, weights: Array) -> tuple[Array, tuple[Array, Array]]:
    return _with_gradients_for_cpus(spec, x, weights), (x, weights)


def _backward_on_cpus(spec: str, kept: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    x, weights = kept
    (to_x,) = jax.vjp(lambda x: jnp.einsum(spec, x, weights), x)[1](gradient)
    # XLA turns the left of the two around to sum over positions. Of what jax derives that is the gradient, in one
    # loop with all that makes it, across the grain: a tenth of a step.
    names_x, names_weights, names_out = spec.replace("->", ",").split(",")
    summed = [name for name in names_x if name in names_out]
    axes = ([names_x.index(name) for name in summed], [names_out.index(name) for name in summed])
    to_weights = jax.lax.dot_general(x, gradient, (axes, ([], [])))
    found = [name for name in names_x + names_out if name not in summed]
    return to_x, jnp.transpose(to_weights, [found.index(name) for name in names_weights])


_with_gradients_for_cpus.defvjp(_forward_on_cpus, _backward_on_cpus)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _rounded(spec: str, kind: Any, x: Array, weights: Array) -> Array:
    # Whoever multiplies exactly does without it.
    import qwix

    reads, gives = spec.split("->")
    scaled = [
        qwix.quantize(
            array,
            kind,
            channelwise_axes=[axis for axis, name in enumerate(names) if name in gives],
            scale_dtype=jnp.float32,
        )
        for names, array in zip(reads.split(","), (x, weights), strict=True)
    ]
    return qwix.einsum(spec, *scaled, preferred_element_type=jnp.float32).astype(x.dtype)


def _forward(spec: str, kind: Any, x: Array, weights: Array) -> tuple[Array, tuple[Array, Array]]:
    return _rounded(spec, kind, x, weights), (x, weights)


def _backward(spec: str, kind: Any, kept: tuple[Array, Array], gradient: Array) -> tuple[Array, ...]:
    return jax.vjp(functools.partial(jnp.einsum, spec), *kept)[1](gradient)


_rounded.defvjp(_forward, _backward)
