"""Numbers that are not finite, put into a real run: $FAULTS_INJECT is what:first:count, of the batches of a life.

loss: the weights of examples are infinite. gradient: the loss is finite, and its gradient is not. parameter: the
weights of the model are infinite after the step.
"""

import os

import jax
import jax.numpy as jnp

from speechlm_jax.losses import targets
from speechlm_jax.training import program

_KIND, _FIRST, _COUNT = os.environ.get("FAULTS_INJECT", "none:0:0").split(":")
_BATCHES = range(int(_FIRST), int(_FIRST) + int(_COUNT))
_MARK = 2.0**20
"""That weights of examples are multiplied by: the loss is a mean, and stays what it is."""


def _marked(rows, factor):
    weights = rows.segments.weights
    marked = jax.jit(jnp.multiply, out_shardings=weights.sharding)(weights, factor)
    return rows._replace(segments=rows.segments._replace(weights=marked))


def _compile(self, check=lambda: None, former=program.Program.compile):
    step, number = former(self, check), 0
    places = jax.tree.map(lambda leaf: leaf.sharding, self.plan.params)
    spoil = jax.jit(lambda params: jax.tree.map(lambda leaf: leaf * jnp.inf, params), out_shardings=places)

    def injected(state, rows):
        nonlocal number
        number += 1
        hit = number in _BATCHES
        if hit and _KIND in ("loss", "gradient"):
            rows = _marked(rows, jnp.inf if _KIND == "loss" else _MARK)
        state, metrics = step(state, rows)
        if hit and _KIND == "parameter":
            state = state._replace(params=spoil(state.params))
            metrics = metrics._replace(parameter_norm=metrics.parameter_norm * jnp.inf)
        return state, metrics

    return injected


def _totals(outputs, rows, former=targets.totals):
    found, marked = former(outputs, rows), rows.segments.weights >= _MARK
    # The square root of nothing has no gradient.
    nothing = jnp.where(marked, found - jax.lax.stop_gradient(found), 1.0)
    return found + jnp.where(marked, jnp.sqrt(nothing), 0.0)


if _KIND != "none":
    program.Program.compile = _compile
if _KIND == "gradient":
    targets.totals = _totals
