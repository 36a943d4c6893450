"""How likely the model holds it that targets are what was spoken, for packed examples. Needs no TensorFlow."""

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from speechlm_jax import batch, sharding
from speechlm_jax.data import batches
from speechlm_jax.inference import generate


class Matcher:
    """Weighs the targets of packed examples, claims of what their speech says, by a model with Model.matching."""

    def __init__(self, graphdef: nnx.GraphDef, *, mesh: jax.sharding.Mesh):
        self._mesh = mesh
        self._margins = jax.jit(functools.partial(_margins, graphdef, mesh), out_shardings=sharding.replicated(mesh))

    def __call__(self, params: nnx.State, packed: batches.Packed) -> Iterator[tuple[Mapping[str, Any], float]]:
        """Each example of a packed batch, and the probability that its target matches."""
        margins_BE = jax.device_get(self._margins(params, generate.place(self._mesh, packed.batch)))
        for index, members in enumerate(packed.rows):
            for line, example in enumerate(members):
                # The logistic function, without overflow and exact for what is very unlikely.
                yield example, float(np.exp(-np.logaddexp(0.0, -float(margins_BE[index, line]))))


def _margins(graphdef: nnx.GraphDef, mesh: jax.sharding.Mesh, params: Any, rows: batch.Batch) -> Float[Array, "B E"]:
    """log P(match) - log P(mismatch) of the target of each segment."""
    with sharding.model_on(mesh, graphdef, params) as model:
        margins_BE = model(rows).matching
    assert margins_BE is not None  # A matching head, and a targets lane with the claims.
    return margins_BE
