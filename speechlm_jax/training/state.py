"""What a step of training carries to the next, built where it lies: no array is ever whole on one device."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh

from speechlm_jax import parameters, sharding
from speechlm_jax.training import optimizers


class TrainState(NamedTuple):
    """A pytree of arrays, or of their shapes or shardings. Random keys and data order follow from `step`."""

    step: Any
    """int32: steps done."""
    params: nnx.State
    """All parameters, with the words of their axes; those of low-rank updates under 'lora'."""
    opt_state: Any
    """Moments of the parameters that are trained."""
    ema: nnx.State | None
    """Moving average of the parameters that are trained."""


def describe_model(make_model: Callable[[], nnx.Module]) -> tuple[nnx.GraphDef, nnx.State]:
    """The module's structure, and its parameters as ShapeDtypeStructs; nothing is computed.

    Raises:
        ValueError: the module holds an array that is no nnx.Param: it would not be trained, cut or saved as one.
    """
    graphdef, params = nnx.split(nnx.eval_shape(make_model))
    others = [path for path, leaf in parameters.by_path(params).items() if not isinstance(leaf, nnx.Param)]
    if others:
        raise ValueError(f"every array of a model is an nnx.Param, and constants are made in the call: found {others}.")
    return graphdef, params


def initialiser(make_model: Callable[[], nnx.Module]) -> Callable[[], nnx.State]:
    """The function that makes the first parameters, for `build`."""
    return lambda: nnx.split(make_model())[1]


def _first(params: nnx.State, optimizer: optimizers.Optimizer) -> TrainState:
    trained, _ = optimizer.split(params)
    ema = None if optimizer.ema_decay is None else trained
    return TrainState(jnp.zeros((), jnp.int32), params, optimizer.transform.init(trained), ema)


def abstract(params: nnx.State, optimizer: optimizers.Optimizer, mesh: Mesh) -> TrainState:
    """The state as ShapeDtypeStructs, each with where it lies on the mesh; what `checkpoints` restores into.

    Args:
        params: arrays or ShapeDtypeStructs.
    """
    shapes = jax.eval_shape(lambda params: _first(params, optimizer), params)
    places = TrainState(
        step=sharding.replicated(mesh),
        params=sharding.param_shardings(mesh, shapes.params),
        opt_state=sharding.param_shardings(mesh, shapes.opt_state, statistics=True),
        ema=sharding.param_shardings(mesh, shapes.ema),
    )
    return jax.tree.map(
        lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), shapes, places
    )


def shardings(state: Any) -> Any:
    """The sharding of every array of a state, or of a part of one."""
    return jax.tree.map(lambda leaf: leaf.sharding, state)


def build(
    init: Callable[[], nnx.State],
    optimizer: optimizers.Optimizer,
    mesh: Mesh,
    taken: Mapping[str, jax.Array] | None = None,
) -> TrainState:
    """The state before the first step, each array made where it lies.

    Args:
        init: makes the parameters; run inside jit.
        taken: path -> array instead of what `init` would make there (finetune.take). The arrays are consumed.
    """
    plan = abstract(jax.eval_shape(init), optimizer, mesh)

    def make(taken: dict[str, Any]) -> TrainState:
        params = parameters.map_named(lambda path, leaf: taken.get(path, parameters.array(leaf)), init())
        return _first(params, optimizer)

    # Run once: on a CPU, optimizing the random numbers of each parameter takes longer than drawing them.
    options = {"xla_backend_optimization_level": 0} if mesh.devices.flat[0].platform == "cpu" else None
    build_in_place = jax.jit(make, out_shardings=shardings(plan), donate_argnums=0, compiler_options=options)
    return build_in_place(dict(taken or {}))


def evaluation_params(state: TrainState) -> nnx.State:
    """The parameters to measure and export: their moving average where one is kept."""
    return state.params if state.ema is None else nnx.merge_state(state.params, state.ema)
