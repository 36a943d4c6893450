"""What logits say of a token."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def cross_entropy(logits: Float[Array, "*places V"], tokens: Int[Array, "*places"]) -> Float[Array, "*places"]:
    """-log softmax(logits)[token] in nats."""
    # By comparison, not by gather: so the vocabulary may be cut over devices, and the gradient is no scatter.
    entries_V = jnp.arange(logits.shape[-1], dtype=tokens.dtype)
    chosen = jnp.expand_dims(entries_V, tuple(range(tokens.ndim))) == tokens[..., None]
    own = jnp.sum(jnp.where(chosen, logits, 0.0), axis=-1)
    return jax.nn.logsumexp(logits, axis=-1) - own
