"""Softmax attention written out: what every kernel is held to."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def attend(
    queries: Float[Array, "B U H K"],
    keys: Float[Array, "B S H K"],
    values: Float[Array, "B S H K"],
    mask: Bool[Array, "B U S"],
) -> Float[Array, "B U H K"]:
    """Softmax attention, softmax in float32; a query that looks at nothing gets zeros."""
    exponents_BHUS, sums_BHU = _exponents(queries, keys, mask)
    attended_BUHK = jnp.einsum(
        "BHUS,BSHK->BUHK", exponents_BHUS.astype(values.dtype), values, preferred_element_type=jnp.float32
    )
    sums_BUH1 = jnp.swapaxes(sums_BHU, 1, 2)[:, :, :, None]
    return (attended_BUHK / sums_BUH1).astype(values.dtype)


def probabilities(
    queries: Float[Array, "B U H K"], keys: Float[Array, "B S H K"], mask: Bool[Array, "B U S"]
) -> Float[Array, "B H U S"]:
    """How much of its look each query gives to each place, float32; zeros for one that looks at nothing."""
    exponents_BHUS, sums_BHU = _exponents(queries, keys, mask)
    return exponents_BHUS / sums_BHU[:, :, :, None]


def _exponents(
    queries: Float[Array, "B U H K"], keys: Float[Array, "B S H K"], mask: Bool[Array, "B U S"]
) -> tuple[Float[Array, "B H U S"], Float[Array, "B H U"]]:
    """The numerators of a softmax over places, and its denominators, which are not 0."""
    scale = queries.shape[-1] ** -0.5
    scores_BHUS = jnp.einsum("BUHK,BSHK->BHUS", queries * scale, keys, preferred_element_type=jnp.float32)
    mask_B1US = mask[:, None, :, :]
    # The largest score stands outside the gradient, and one that is finite keeps empty rows finite.
    largest_BHU1 = jnp.max(scores_BHUS, axis=-1, keepdims=True, where=mask_B1US, initial=-1e30)
    shifted_BHUS = jnp.where(mask_B1US, scores_BHUS - jax.lax.stop_gradient(largest_BHU1), -jnp.inf)
    exponents_BHUS = jnp.exp(shifted_BHUS)
    return exponents_BHUS, jnp.maximum(jnp.sum(exponents_BHUS, axis=-1), 1e-30)
