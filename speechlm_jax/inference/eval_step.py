"""One step of evaluation: the losses of each example by head, without dropout and without gradients."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
from flax import nnx
from jaxtyping import Array, Float

from speechlm_jax import batch, low_rank, sharding
from speechlm_jax.losses import heads as loss_heads


class Measured(NamedTuple):
    """What a head tells of each segment."""

    totals: Float[Array, "B E"]
    weights: Float[Array, "B E"]
    hits: Float[Array, "B E"] | None
    """The weight of what the model tells rightly when it has one guess; None where a head does not count it."""
    codes: Float[Array, "Q Z"] | None
    """How often each code of each codebook is to be told; None of a head without codes."""


def make(
    graphdef: nnx.GraphDef, heads: Mapping[str, loss_heads.Head], *, mesh: jax.sharding.Mesh
) -> Callable[[nnx.State, batch.Batch], dict[str, Measured]]:
    """The jitted function (params, batch) -> what each head tells. Parameters lie where they are given."""

    def measured(head: Any, outputs: Any, rows: batch.Batch) -> Measured:
        hits = head.hits(outputs, rows) if hasattr(head, "hits") else None
        counts_codes = hasattr(head, "code_counts") and rows.audio is not None
        codes = head.code_counts(outputs, rows) if counts_codes else None
        return Measured(head.totals(outputs, rows), head.weights(rows), hits, codes)

    def eval_step(params: nnx.State, rows: batch.Batch) -> dict[str, Measured]:
        sharding.check_rows(mesh, rows.segments.weights.shape[0])
        with sharding.model_on(mesh, graphdef, low_rank.merge(params)) as model:
            outputs = model(rows)
            return {name: measured(head, outputs, rows) for name, head in heads.items()}

    return jax.jit(
        eval_step, in_shardings=(None, sharding.batch_sharding(mesh)), out_shardings=sharding.replicated(mesh)
    )
