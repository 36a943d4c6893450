"""The state is built where it lies."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_model
from flax import nnx

from speechlm_jax import layout, parameters, sharding
from speechlm_jax.training import config, optimizers, state

CHOICES = config.Optimizer(ema_decay=0.99)


@functools.cache
def _built(mesh, name="adamw"):
    mesh = sharding.make_mesh(layout.Layout(*mesh))
    optimizer = optimizers.make(config.Optimizer(name=name, ema_decay=0.99), steps=10)
    return state.build(state.initialiser(tiny_model.Tiny), optimizer, mesh)


def test_no_array_is_whole_on_a_device_that_should_be_cut():
    sizes = {"embed": 2, "mlp": 2, "heads": 2, "vocabulary": 2}
    leaves = parameters.by_path(_built((2, 2, 2)))
    assert {path.split("/")[0] for path in leaves} == {"step", "params", "opt_state", "ema"}
    for path, leaf in leaves.items():
        if not parameters.is_variable(leaf):
            continue
        array = parameters.array(leaf)
        wanted = [size // sizes.get(word, 1) for size, word in zip(array.shape, parameters.words(leaf), strict=True)]
        assert {shard.data.shape for shard in array.addressable_shards} == {tuple(wanted)}, path
        assert len(array.addressable_shards) == 8


def test_the_first_parameters_do_not_depend_on_the_mesh():
    there, here = tiny_model.values(_built((1, 8, 1))), tiny_model.values(_built((2, 2, 2)))
    tiny_model.assert_close(there, here, 1e-6)
    tiny_model.assert_close({p: v for p, v in here.items() if p.startswith("params/")}, _first_values(), 1e-6)


def _first_values():
    return {f"params/{path}": value for path, value in tiny_model.initial_values().items()}


def test_the_moving_average_starts_as_the_parameters_and_steps_at_zero():
    built = tiny_model.values(_built((2, 2, 2)))
    assert built["step"] == 0
    assert built["step"].dtype == np.int32
    for path, value in tiny_model.initial_values().items():
        np.testing.assert_array_equal(built[f"ema/{path}"], built[f"params/{path}"])
        np.testing.assert_array_equal(built[f"opt_state/adam/mu/{path}"], np.zeros_like(value))


def test_names_are_plain_and_words_survive():
    leaves = parameters.by_path(_built((2, 2, 2)))
    kernel = "encoder/stack/attention/query_DHK"
    for path in (f"params/{kernel}", f"opt_state/adam/mu/{kernel}", f"opt_state/adam/nu/{kernel}", f"ema/{kernel}"):
        assert parameters.words(leaves[path]) == ("layers", "embed", "heads", "head_width")
    assert "params/halves/0/kernel_DV" in leaves
    params = _built((2, 2, 2)).params
    again = parameters.from_paths(parameters.by_path(params))
    assert jax.tree.structure(again) == jax.tree.structure(params)


def test_what_is_taken_replaces_what_would_be_made():
    mesh = sharding.make_mesh(layout.Layout(2, 2, 2))
    place = sharding.NamedSharding(mesh, sharding.PartitionSpec("tensor", "fsdp"))
    table = jax.device_put(np.full((tiny_model.VOCABULARY, tiny_model.WIDTH), 7.0, np.float32), place)
    built = state.build(
        state.initialiser(tiny_model.Tiny), optimizers.make(CHOICES, steps=10), mesh, {"text/table_VD": table}
    )
    values = tiny_model.values(built)
    assert (values["params/text/table_VD"] == 7).all()
    assert (values["ema/text/table_VD"] == 7).all()
    np.testing.assert_allclose(
        values["params/ctc/kernel_DV"], tiny_model.initial_values()["ctc/kernel_DV"], rtol=1e-6, atol=1e-6
    )


def test_factored_moments_are_laid_out_too():
    mesh = sharding.make_mesh(layout.Layout(2, 2, 2))
    kernel = nnx.Param(jax.ShapeDtypeStruct((3, 256, 512), jnp.float32), axes=("layers", "embed", "mlp"))
    params = nnx.State({"kernel": kernel})
    plan = state.abstract(params, optimizers.make(config.Optimizer(name="adafactor"), steps=10), mesh)
    leaves = {path: parameters.array(leaf) for path, leaf in parameters.by_path(plan).items()}
    assert leaves["opt_state/factored/v_row/kernel"].shape == (3, 256)
    assert leaves["opt_state/factored/v_row/kernel"].sharding.shard_shape((3, 256)) == (3, 128)
    assert leaves["opt_state/factored/v_col/kernel"].sharding.shard_shape((3, 512)) == (3, 256)
    assert leaves["opt_state/factored/v/kernel"].shape == (1,)


def test_a_model_with_an_array_that_is_no_parameter_is_refused():
    class Constant(nnx.Module):
        def __init__(self):
            self.filters = nnx.Variable(jnp.ones(3), axes=(None,))

    with pytest.raises(ValueError, match=r"found \['filters'\]"):
        state.describe_model(Constant)
