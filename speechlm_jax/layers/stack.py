"""Depth by scan: one layer is compiled, however many there are."""

from collections.abc import Callable, Iterator
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from speechlm_jax import axes, sharding
from speechlm_jax.layers import products

_PRODUCTS = jax.checkpoint_policies.dots_with_no_batch_dims_saveable
_ROUNDED = jax.checkpoint_policies.save_only_these_names(products.ROUNDED)
_OFFLOADED = jax.checkpoint_policies.offload_dot_with_no_batch_dims("device", "pinned_host")
_ROUNDED_OFFLOADED = jax.checkpoint_policies.save_and_offload_only_these_names(
    names_which_can_be_saved=[],
    names_which_can_be_offloaded=[products.ROUNDED],
    offload_src="device",
    offload_dst="pinned_host",
)


def _offloaded(primitive: Any, *given: Any, **params: Any) -> Any:
    """Products go to the host's memory, exact ones and rounded ones."""
    policy = _ROUNDED_OFFLOADED if "name" in params else _OFFLOADED
    return policy(primitive, *given, **params)


REMAT_POLICIES = {
    "minimal": jax.checkpoint_policies.save_from_both_policies(_PRODUCTS, _ROUNDED),
    "full": jax.checkpoint_policies.nothing_saveable,
    "offload": _offloaded,
}
"""Model.remat -> what of a layer is kept for the backward pass, and where."""


def build(make_layer: Callable[[nnx.Rngs], nnx.Module], num_layers: int, *, rngs: nnx.Rngs) -> nnx.Module:
    """`num_layers` layers as one module whose parameters have a first axis "layers"."""
    keys = jax.random.split(rngs.params(), num_layers)
    layers = nnx.vmap(lambda key: make_layer(nnx.Rngs(params=key)))(keys)
    for _, param in nnx.iter_graph(layers):
        if isinstance(param, nnx.Variable):
            param.set_metadata(axes=(axes.LAYERS, *param.get_metadata("axes")))
    return layers


def run(
    layers: nnx.Module,
    body: Callable[..., tuple[Any, Any]],
    carry: Any,
    per_layer: Any = None,
    *,
    remat: Literal["none", "minimal", "full", "offload"] = "none",
    scan: bool = True,
) -> tuple[Any, Any]:
    """Scans `body(layer, carry, slice of per_layer) -> (carry, result)` over the layers that `build` made.

    Returns the last carry and the results, stacked. `remat` and `scan` are those of Model.
    """
    graph, params = nnx.split(layers)

    def step(carry: Any, inputs: tuple[Any, Any]) -> tuple[Any, Any]:
        layer_params, layer_inputs = inputs
        return body(nnx.merge(graph, layer_params), sharding.cut_rows(carry), layer_inputs)

    if remat != "none":
        step = jax.checkpoint(step, policy=REMAT_POLICIES[remat], prevent_cse=not scan)
    if scan:
        return jax.lax.scan(step, carry, (params, per_layer))
    results = []
    for inputs in _slices((params, per_layer)):
        carry, result = step(carry, inputs)
        results.append(result)
    return carry, jax.tree.map(lambda *each: jnp.stack(each), *results)


def apart(layers: nnx.Module) -> list[Any]:
    """Each of the layers that `build` made by itself."""
    graph, params = nnx.split(layers)
    return [nnx.merge(graph, own) for own in _slices(params)]


def _slices(per_layer: Any) -> Iterator[Any]:
    """What belongs to each layer, of arrays whose first axis they are."""
    for layer in range(jax.tree.leaves(per_layer)[0].shape[0]):
        yield jax.tree.map(lambda values, layer=layer: values[layer], per_layer)
