"""What the layers of a model are made of: Model.parts."""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from speechlm_jax import axes
from speechlm_jax.layers import attention, feed_forward, norms, positions, weights
from speechlm_jax.models import config


def norm(choice: config.Model) -> norms.RmsNorm | norms.LayerNorm:
    """A norm over the width of the trunk."""
    return norms.LayerNorm(choice.width) if choice.is_whisper else norms.RmsNorm(choice.width)


def feed_forwards(choice: config.Model, **shared: Any) -> feed_forward.FeedForward | feed_forward.Plain:
    """A feed-forward layer."""
    kind = feed_forward.Plain if choice.is_whisper else feed_forward.FeedForward
    return kind(choice.width, choice.mlp_width, **shared)


def attends(choice: config.Model, **shared: Any) -> attention.Attention:
    """A layer of attention."""
    return attention.Attention(
        choice.width, choice.num_heads, kernel=choice.attention_kernel, biases=choice.is_whisper, **shared
    )


def rotation(choice: config.Model, places: Int[Array, "B S"]) -> positions.Rotation | None:
    """By what queries and keys of a stack's own are turned; None where positions are added alone."""
    return None if choice.is_whisper else positions.rotation(places, choice.head_width)


class Places(nnx.Module):
    """What tells a stack where each place stands in its segment, added to what enters it: a table of Whisper's, as long
    as it says, or sinusoids, or nothing."""

    def __init__(self, choice: config.Model, longest: int, *, rngs: nnx.Rngs):
        self.choice = choice
        if choice.is_whisper:
            self.table_SD = weights.matrix(rngs, (longest, choice.width), (None, axes.EMBED), fan_in=choice.width)

    def __call__(self, x: Float[Array, "B S D"], places: Int[Array, "B S"]) -> Float[Array, "B S D"]:
        """Places beyond the table's last count as its last."""
        if self.choice.is_whisper:
            return x + jnp.take(self.table_SD[...].astype(x.dtype), places, axis=0, mode="clip")
        if self.choice.sinusoids:
            return x + positions.sinusoids(places, self.choice.width).astype(x.dtype)
        return x
