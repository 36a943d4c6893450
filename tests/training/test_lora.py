"""Low-rank updates: nothing at the start, only they move, and merging them changes no output."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_model
from flax import nnx

from speechlm_jax import layout, low_rank, parameters, sharding
from speechlm_jax.inference import eval_step
from speechlm_jax.training import config, finetune, lora, optimizers, state, step

CHOICES = config.Lora(rank=2, alpha=6.0)
TARGETS = {
    f"encoder/stack/{name}"
    for name in ("attention/query_DHK", "attention/out_HKD", "feed_forward/in_DF", "feed_forward/out_FD")
}


def _init():
    return lora.attach(state.initialiser(tiny_model.Tiny)(), CHOICES, jax.random.key(1))


@pytest.fixture(scope="module")
def trained():
    """Values before and after three steps, and the metrics of the first."""
    mesh = sharding.make_mesh(layout.Layout(2, 2, 2))
    graphdef, _ = state.describe_model(tiny_model.Tiny)
    params = jax.eval_shape(_init)
    frozen = finetune.frozen(params, config.Finetune(checkpoint="there", lora=CHOICES))
    choices = config.Optimizer(schedule=config.Schedule(peak=1e-2, warmup_steps=1))
    optimizer = optimizers.make(choices, steps=10, frozen=frozen)
    plan = state.abstract(params, optimizer, mesh)
    jitted = step.make_train_step(
        graphdef, optimizer, tiny_model.HEADS_OF_LOSS, tiny_model.COEFFICIENTS, plan=plan, mesh=mesh, seed=0,
        task_slots=tiny_model.SLOTS,
    )  # fmt: skip
    now = state.build(_init, optimizer, mesh)
    rows = sharding.global_batch(mesh, tiny_model.batch())
    compiled = jitted.lower(plan, rows).compile(compiler_options=tiny_model.FAST)
    before = tiny_model.values(now)
    told = []
    for _ in range(3):
        now, metrics = compiled(now, rows)
        told.append(jax.device_get(metrics))
    return before, now, told


def test_at_the_start_the_model_is_the_base(trained):
    _, _, told = trained
    base = tiny_model.Run((1, 1, 1)).go()
    np.testing.assert_allclose(told[0].sums.totals, base.sums.totals, rtol=1e-5)


def test_only_the_updates_of_the_chosen_matrices_move(trained):
    before, now, told = trained
    after = tiny_model.values(now)
    moved = {path for path in before if path.startswith("params/") and not np.array_equal(before[path], after[path])}
    assert moved == {f"params/lora/{path}/{side}" for path in TARGETS for side in ("down", "up")}
    assert {path for path in before if path.startswith("opt_state/adam/mu/")} == {
        path.replace("params/", "opt_state/adam/mu/") for path in moved
    }
    assert told[-1].sums.totals[0].sum() < told[0].sums.totals[0].sum()


def test_merging_is_the_sum_of_a_matrix_and_its_scaled_product(trained):
    _, now, _ = trained
    values = {path: array.astype(np.float64) for path, array in tiny_model.values(now.params).items()}
    merged = tiny_model.values(low_rank.merge(now.params))
    shapes = {
        "attention/query_DHK": (16, 2, 16),
        "attention/out_HKD": (16, 2, 16),
        "feed_forward/in_DF": (16, 2, 32),
        "feed_forward/out_FD": (32, 2, 16),
    }
    for name, (inputs, rank, outputs) in shapes.items():
        path = f"encoder/stack/{name}"
        down = values[f"lora/{path}/down"].reshape(-1, inputs, rank)
        up = values[f"lora/{path}/up"].reshape(-1, rank, outputs)
        wanted = values[path] + 3.0 * (down @ up).reshape(values[path].shape)
        np.testing.assert_allclose(merged[path], wanted, rtol=1e-5, atol=1e-6)
        assert np.abs(merged[path] - values[path]).max() > 1e-3
    assert merged.keys() == {path for path in values if not path.startswith("lora/")}


def test_merged_parameters_give_the_outputs_of_the_updates(trained):
    _, now, _ = trained
    graphdef, _ = state.describe_model(tiny_model.Tiny)
    mesh = sharding.make_mesh(layout.Layout(2, 2, 2))
    rows = sharding.global_batch(mesh, tiny_model.batch())
    evaluate = eval_step.make(graphdef, tiny_model.HEADS_OF_LOSS, mesh=mesh)
    merged = low_rank.merge(now.params)
    assert low_rank.merge(merged) is merged
    ours, theirs = ({name: head.totals for name, head in evaluate(p, rows).items()} for p in (now.params, merged))
    tiny_model.assert_close(ours, theirs, 1e-6)


def test_updates_lie_where_their_matrix_lies():
    mesh = sharding.make_mesh(layout.Layout(2, 2, 2))
    places = parameters.by_path(sharding.param_shardings(mesh, jax.eval_shape(_init)))
    spec = {path: tuple(parameters.array(place).spec) for path, place in places.items()}
    path = "lora/encoder/stack/attention/query_DHK"
    assert spec[f"{path}/down"] == (None, "fsdp", None)
    assert spec[f"{path}/up"] == (None, None, "tensor", None)


def test_a_pattern_without_a_matrix_and_a_rank_without_sense_are_refused():
    params = jax.eval_shape(state.initialiser(tiny_model.Tiny))
    with pytest.raises(ValueError, match=r"'atention' matches no matrix.*attention/"):
        lora.attach(params, config.Lora(pattern="atention"), jax.random.key(0))
    with pytest.raises(ValueError, match=r"from 1 to 15, found 16\. Set Lora\.rank"):
        jax.eval_shape(lambda: lora.attach(_base(), config.Lora(rank=16), jax.random.key(0)))


def _base():
    return nnx.split(tiny_model.Tiny())[1]


def test_unstacked_matrices_are_updated_too():
    params = nnx.State({"feed_forward": nnx.Param(jnp.zeros((8, 4)), axes=("embed", "mlp"))})
    attached = lora.attach(params, config.Lora(rank=2, alpha=2.0), jax.random.key(0))
    leaves = parameters.by_path(attached)
    up = jnp.ones((2, 4))
    leaves["lora/feed_forward/up"] = leaves["lora/feed_forward/up"].replace(up)
    merged = low_rank.merge(parameters.from_paths(leaves))
    np.testing.assert_allclose(merged["feed_forward"][...], leaves["lora/feed_forward/down"][...] @ up, rtol=1e-6)
