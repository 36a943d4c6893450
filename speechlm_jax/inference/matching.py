"""How likely the model holds it that targets are what was spoken, for packed examples. Needs no TensorFlow."""

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from speechlm_jax import batch, label_metrics, sharding
from speechlm_jax.data import batches
from speechlm_jax.inference import generate


class Matcher:
    """Weighs the targets of packed examples: claims of what their speech says."""

    def __init__(self, graphdef: nnx.GraphDef, *, mesh: jax.sharding.Mesh):
        self._mesh = mesh
        self._margins = jax.jit(functools.partial(_margins, graphdef, mesh), out_shardings=sharding.replicated(mesh))

    def __call__(self, params: nnx.State, packed: batches.Packed) -> Iterator[tuple[Mapping[str, Any], float]]:
        """Each example of a packed batch, and the probability that its target matches.

        Raises ValueError for a model without a matching head.
        """
        margins_BE = jax.device_get(self._margins(params, generate.place(self._mesh, packed.batch)))
        for index, members in enumerate(packed.rows):
            for line, example in enumerate(members):
                margin = margins_BE[index, line]
                yield example, float(0.5 + 0.5 * np.tanh(0.5 * margin))  # The logistic function, without overflow.


def verdict(probability: float) -> str:
    """The label that is the likelier."""
    return label_metrics.MATCH if probability >= 0.5 else label_metrics.MISMATCH


def _margins(graphdef: nnx.GraphDef, mesh: jax.sharding.Mesh, params: Any, rows: batch.Batch) -> Float[Array, "B E"]:
    """log P(match) - log P(mismatch) of the target of each segment."""
    with sharding.model_on(mesh, graphdef, params) as model:
        margins_BE = model(rows).matching
    if margins_BE is None:
        raise ValueError(
            "matching text and speech: the model does not say whether they match. Name one that was trained with "
            "Model.matching = True."
        )
    return margins_BE
