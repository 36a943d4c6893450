"""What reads the encoder beside the decoder, and what reads the decoder's text."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from speechlm_jax import axes
from speechlm_jax import batch as batches
from speechlm_jax.layers import likelihoods, norms, segments, weights
from speechlm_jax.models import config, frontends


class Ctc(nnx.Module):
    """Logits over the vocabulary at encoder audio positions, from a kernel of its own or the embedding; the padding
    token is the blank."""

    def __init__(self, choice: config.Model, *, rngs: nnx.Rngs):
        self.tied = choice.ctc_tied
        if not self.tied:
            self.kernel_DV = weights.matrix(
                rngs, (choice.width, choice.vocabulary_size), (axes.EMBED, axes.VOCABULARY), fan_in=choice.width
            )
        self.bias_V = weights.constant(0.0, (choice.vocabulary_size,), (axes.VOCABULARY,))

    def __call__(self, hidden: Float[Array, "B P D"], text: frontends.Text) -> Float[Array, "B P V"]:
        if self.tied:
            logits_BPV = text.logits(hidden)
        else:
            kernel_DV = self.kernel_DV[...].astype(hidden.dtype)
            logits_BPV = jnp.einsum("BPD,DV->BPV", hidden, kernel_DV, preferred_element_type=jnp.float32)
        return logits_BPV + self.bias_V[...][None, None, :]


class MaskedTokens(nnx.Module):
    """What stood at each place of the inputs lane: BERT's head (arXiv 1810.04805), tied to the embedding."""

    def __init__(self, choice: config.Model, *, rngs: nnx.Rngs):
        self.transform_DC = weights.matrix(
            rngs, (choice.width, choice.width), (axes.EMBED, axes.CHANNELS), fan_in=choice.width
        )
        self.norm = norms.RmsNorm(choice.width)

    def __call__(self, hidden: Float[Array, "B S D"], text: frontends.Text) -> Float[Array, "B S V"]:
        transformed_BSD = jnp.einsum("BSD,DC->BSC", hidden, self.transform_DC[...].astype(hidden.dtype))
        return text.logits(self.norm(jax.nn.gelu(transformed_BSD)))


class Matching(nnx.Module):
    """Whether a target is what was spoken: a logistic regression on how much its tokens, the end token too, surprise
    the decoder, each after those before it: log(1 + nats) of the mean and of the greatest, in which one wrong word
    shows."""

    def __init__(self):
        # On speech of the embedded corpus means are about 0.3 nats for true texts and 1.8 for false ones, the greatest
        # 2 and 11: this start lies between them.
        self.weights_2 = weights.constant(-1.0, (2,), (None,))
        self.bias = weights.constant(2.0, (), ())

    def __call__(
        self, logits_BUV: Float[Array, "B U V"], lane: batches.TargetsLane, num_segments: int
    ) -> Float[Array, "B E"]:
        """The logit that the target of each segment matches; a prompt does not count."""
        surprise_BU = lane.weights * likelihoods.cross_entropy(logits_BUV, lane.tokens)
        ids_BU = lane.segment_ids
        tokens_BE = jnp.maximum(segments.total(lane.weights, ids_BU, num_segments), 1.0)
        mean_BE = segments.total(surprise_BU, ids_BU, num_segments) / tokens_BE
        most_BE = jnp.maximum(segments.maximum(surprise_BU, ids_BU, num_segments), 0.0)
        on_mean, on_most = self.weights_2[...]
        return self.bias[...] + on_mean * jnp.log1p(mean_BE) + on_most * jnp.log1p(most_BE)
