"""How likely the decoder holds it that speech and text match, for packed examples. Needs no TensorFlow."""

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from speechlm_jax import batch, sharding, vocabulary
from speechlm_jax.data import batches
from speechlm_jax.inference import generate


class Matcher:
    """Weighs <match> against <mismatch> behind the prompt of packed examples, whose target is one of the two."""

    def __init__(self, graphdef: nnx.GraphDef, words: vocabulary.Vocabulary, *, mesh: jax.sharding.Mesh):
        self._mesh = mesh
        tokens = words.token("<match>"), words.token("<mismatch>")
        self._margins = jax.jit(
            functools.partial(_margins, graphdef, mesh, *tokens), out_shardings=sharding.replicated(mesh)
        )

    def __call__(self, params: nnx.State, packed: batches.Packed) -> Iterator[tuple[Mapping[str, Any], float]]:
        """Each example of a packed batch, and P(match) / (P(match) + P(mismatch))."""
        margins_BU = jax.device_get(self._margins(params, generate.place(self._mesh, packed.batch)))
        for index, members in enumerate(packed.rows):
            start = 0
            for example in members:
                margin = margins_BU[index, start + len(example["prompt"])]
                start += len(example["prompt"]) + len(example["targets"])
                yield example, float(0.5 + 0.5 * np.tanh(0.5 * margin))  # The logistic function, without overflow.


def _margins(
    graphdef: nnx.GraphDef, mesh: jax.sharding.Mesh, match: int, mismatch: int, params: Any, rows: batch.Batch
) -> Float[Array, "B U"]:
    """log P(match) - log P(mismatch) at each place of the targets lane, after the tokens before it."""
    with sharding.model_on(mesh, graphdef, params) as model:
        logits_BUV, _ = model.decode(rows, model.encode(rows))
        assert logits_BUV is not None  # A row without a targets lane holds no such example.
        return logits_BUV[..., match] - logits_BUV[..., mismatch]
