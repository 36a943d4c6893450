"""The step: one answer for every mesh and every number of microbatches."""

import dataclasses
import functools
import re
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_model
from flax import nnx

from speechlm_jax import parameters, sharding
from speechlm_jax.inference import eval_step
from speechlm_jax.losses import heads
from speechlm_jax.training import config, state, step

FROZEN = ("text/table_VD", "encoder/stack/scale_D")


@pytest.fixture(scope="module")
def built():
    choices = config.Optimizer(schedule=config.Schedule(peak=1e-2, warmup_steps=2), ema_decay=0.9)
    return tiny_model.Run(choices=choices, frozen=FROZEN)


@pytest.fixture
def run(built):
    """The same program each time, from its first state."""
    first = jax.tree.map(jnp.copy, built.state)
    yield built
    built.state = first


@functools.cache
def _reference():
    """Gradients, totals and weights of the whole batch at once, on one device."""
    graphdef, params = state.describe_model(tiny_model.Tiny)
    rows = tiny_model.batch()
    weights = {name: np.asarray(head.weights(rows)) for name, head in tiny_model.HEADS_OF_LOSS.items()}

    def loss(params):
        outputs = nnx.merge(graphdef, params)(rows)
        totals = {name: head.totals(outputs, rows) for name, head in tiny_model.HEADS_OF_LOSS.items()}
        share = {name: tiny_model.COEFFICIENTS[name] / weights[name].sum() for name in totals}
        return sum(share[name] * totals[name].sum() for name in totals), totals

    params = parameters.rebuild(params, tiny_model.initial_values())
    gradients, totals = jax.jit(jax.grad(loss, has_aux=True), compiler_options=tiny_model.FAST)(params)
    return tiny_model.values(gradients), jax.device_get(totals), weights


@functools.cache
def _quiet_metrics():
    """The first step of a model without dropout."""
    return tiny_model.Run((1, 1, 1)).go()


@pytest.mark.parametrize("accumulate", [1, 2, 4])
def test_gradients_are_those_of_the_whole_batch_however_it_is_cut(accumulate):
    run = tiny_model.Run((2, 2, 1), accumulate=accumulate)
    wanted, _, _ = _reference()
    metrics = run.go()
    # After one step the first moment is (1 - b1) times the gradient.
    got = jax.tree.map(lambda moment: moment / (1 - tiny_model.PLAIN.b1), run.state.opt_state["adam"].mu)
    tiny_model.assert_close(tiny_model.values(got), wanted, 1e-6)
    assert max(abs(gradient).max() for gradient in wanted.values()) > 1e-2
    norm = np.sqrt(sum(np.square(gradient).sum() for gradient in wanted.values()))
    np.testing.assert_allclose(metrics.gradient_norm, norm, rtol=1e-5)


@pytest.mark.slow
def test_losses_and_parameters_are_the_same_on_every_mesh():
    first = None
    for mesh in [(8, 1, 1), (2, 4, 1), (1, 2, 4), (1, 1, 1)]:
        run = tiny_model.Run(mesh, dropout=0.2)
        told = run.go(steps=3)
        first = first or (told, tiny_model.values(run.state))
        tiny_model.assert_close(tiny_model.values(told), tiny_model.values(first[0]), 1e-5)
        tiny_model.assert_close(tiny_model.values(run.state), first[1], 1e-5)


def test_every_step_and_every_microbatch_has_its_own_dropout():
    seen = []

    def spy(outputs, rows):
        jax.debug.callback(lambda logits: seen.append(np.asarray(logits)), outputs.targets)
        return tiny_model.HEADS_OF_LOSS["targets"].totals(outputs, rows) * 0

    heads = {"targets": types.SimpleNamespace(weights=tiny_model.HEADS_OF_LOSS["targets"].weights, totals=spy)}
    run = tiny_model.Run((1, 1, 1), dropout=0.5, accumulate=2, heads=heads)
    alike = jax.tree.map(lambda lane: np.repeat(lane[:1], len(lane), axis=0), tiny_model.batch())
    for _ in range(2):
        run.go(alike)
    again = run.state._replace(step=jnp.zeros((), jnp.int32))
    run.step(jax.device_put(again, state.shardings(run.plan)), sharding.global_batch(run.mesh, alike))
    jax.effects_barrier()
    assert len(seen) == 6
    different = [(0, 1), (0, 2), (1, 2), (2, 3)]
    assert not any(np.allclose(seen[i], seen[j], rtol=1e-2) for i, j in different)
    np.testing.assert_array_equal(sorted(map(float, map(np.sum, seen[4:]))), sorted(map(float, map(np.sum, seen[:2]))))


@pytest.mark.parametrize("head", ["targets", "logits"])
def test_the_gradient_norm_of_a_head_is_that_of_a_step_with_it_alone(head):
    alone = tiny_model.Run(heads={head: tiny_model.HEADS_OF_LOSS[head]})
    both = tiny_model.Run()
    norms = step.make_gradient_norms(
        both.graphdef, both.optimizer, both.heads, tiny_model.COEFFICIENTS, plan=both.plan, mesh=both.mesh
    )(both.state, sharding.global_batch(both.mesh, tiny_model.batch()))
    np.testing.assert_allclose(norms[head], alone.go(tiny_model.batch()).gradient_norm, rtol=1e-5)


def test_sums_by_task_are_those_of_the_batch(run):
    rows = tiny_model.batch()
    metrics = run.go(rows)
    _, totals, weights = _reference()
    for number, name in enumerate(tiny_model.HEADS_OF_LOSS):
        for task in range(tiny_model.SLOTS):
            chosen = rows.segments.task_ids == task
            np.testing.assert_allclose(metrics.sums.totals[number, task], totals[name][chosen].sum(), rtol=1e-5)
            np.testing.assert_allclose(metrics.sums.weights[number, task], weights[name][chosen].sum(), rtol=1e-6)
    wanted = np.bincount(rows.segments.task_ids[rows.segments.weights > 0], minlength=tiny_model.SLOTS)
    np.testing.assert_array_equal(metrics.sums.examples, wanted)
    assert metrics.sums.tokens.sum() == (rows.targets.segment_ids > 0).sum()
    assert not metrics.sums.audio_frames.any()
    assert metrics.skipped == 0
    np.testing.assert_allclose(metrics.learning_rate, run.optimizer.schedule(0))
    norm = np.sqrt(sum(np.square(values).sum() for values in tiny_model.values(run.state.params).values()))
    np.testing.assert_allclose(metrics.parameter_norm, norm, rtol=1e-5)


def test_a_step_that_is_not_finite_changes_nothing_but_its_number(run):
    run.go()
    before = tiny_model.values(run.state)
    rows = tiny_model.batch(1)
    rows.segments.weights[0, 0] = np.inf
    metrics = run.go(rows)
    after = tiny_model.values(run.state)
    assert metrics.skipped == 1
    assert after.pop("step") == before.pop("step") + 1
    tiny_model.assert_close(after, before, 0)
    assert all(np.isfinite(values).all() for values in tiny_model.values(metrics).values())
    run.go(tiny_model.batch(2))
    assert not np.array_equal(tiny_model.values(run.state)["params/ctc/kernel_DV"], before["params/ctc/kernel_DV"])


def test_a_step_whose_gradient_is_far_above_the_usual_changes_nothing_but_its_number():
    factor, norms = 1.2, []
    run = tiny_model.Run((2, 2, 2), choices=dataclasses.replace(tiny_model.PLAIN, skip_above=factor))
    free = tiny_model.Run((2, 2, 2))
    for seed in range(80):
        before, usual = tiny_model.values(run.state), np.median(norms[-64:]) if norms else np.inf
        metrics, norm = run.go(tiny_model.batch(seed)), float(free.go(tiny_model.batch(seed)).gradient_norm)
        assert metrics.skipped == (len(norms) >= 16 and norm > factor * usual)
        if metrics.skipped:
            break
        norms.append(norm)
        kept = tiny_model.values(run.state)["opt_state/norms"]
        np.testing.assert_allclose(np.sort(kept)[: len(norms)], np.sort(norms[-64:]), rtol=1e-4)
    after = tiny_model.values(run.state)
    assert metrics.skipped and after.pop("step") == before.pop("step") + 1
    assert all(np.array_equal(after[path], before[path], equal_nan=True) for path in before)


def test_frozen_parameters_stand_still_and_have_no_moments(run):
    before = tiny_model.values(run.state.params)
    run.go(steps=2)
    after = tiny_model.values(run.state.params)
    unused = {"halves/0/kernel_DV", "halves/0/bias_V"}
    moving = {path for path in before if not np.array_equal(before[path], after[path])}
    assert before.keys() - set(FROZEN) - unused <= moving <= before.keys() - set(FROZEN)
    for part in (run.state.opt_state["adam"].mu, run.state.opt_state["adam"].nu, run.state.ema):
        assert parameters.by_path(part).keys() == before.keys() - set(FROZEN)


def test_the_moving_average_follows_the_parameters(run):
    first, _ = run.optimizer.split(run.state.params)
    average = tiny_model.values(first)
    for number in range(3):
        run.go(tiny_model.batch(number))
        trained = tiny_model.values(run.optimizer.split(run.state.params)[0])
        decay = min(0.9, (1 + number) / (10 + number))
        average = {path: decay * old + (1 - decay) * trained[path] for path, old in average.items()}
    tiny_model.assert_close(tiny_model.values(run.state.ema), average, 1e-6)
    measured = tiny_model.values(state.evaluation_params(run.state))
    np.testing.assert_allclose(measured["ctc/kernel_DV"], average["ctc/kernel_DV"], atol=1e-6)
    np.testing.assert_array_equal(measured[FROZEN[0]], tiny_model.values(run.state.params)[FROZEN[0]])


def test_a_head_that_weighs_nothing_costs_nothing(run):
    rows = tiny_model.batch()
    rows.segments.ctc[:] = 0
    metrics = run.go(rows)
    assert metrics.skipped == 0
    np.testing.assert_array_equal(metrics.sums.totals[1], np.zeros(tiny_model.SLOTS))


def test_a_step_keeps_its_layout_and_consumes_its_state(run):
    before = run.state
    run.go()
    planned, found = parameters.by_path(run.plan), parameters.by_path(run.state)
    for path in planned:
        assert parameters.array(found[path]).sharding == parameters.array(planned[path]).sharding, path
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(before))


def test_along_fsdp_the_weights_of_a_layer_travel_and_no_rows():
    run = tiny_model.Run((1, 8, 1))
    moved = re.findall(r"= (.*?) (?:all-gather|all-reduce|all-to-all|reduce-scatter)\(", run.step.as_text())
    assert any(f"[{tiny_model.WIDTH},{tiny_model.MLP}]" in shape for shape in moved)
    rows = [shape for shape in moved if f"f32[{tiny_model.ROWS},{tiny_model.STEPS}" in shape]
    assert not rows


def test_evaluation_is_a_step_without_dropout():
    run = tiny_model.Run((1, 1, 1), dropout=0.5)
    evaluate = eval_step.make(run.graphdef, run.heads, mesh=run.mesh)
    told = evaluate(run.state.params, sharding.global_batch(run.mesh, tiny_model.batch()))
    sums = _quiet_metrics().sums
    wanted = np.stack([sums.totals.sum(axis=1), sums.weights.sum(axis=1)], axis=1)
    found = [[told[name].totals.sum(), told[name].weights.sum()] for name in run.heads]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_rows_that_do_not_divide_are_refused_when_the_step_is_traced():
    with pytest.raises(ValueError, match="16 rows do not divide into 3 microbatches"):
        tiny_model.Run((2, 2, 2), accumulate=3).go()
    with pytest.raises(ValueError, match=r"found 0. Set Optimizer\.accumulate"):
        tiny_model.Run(accumulate=0)


def test_a_loss_head_that_does_not_exist_is_named_beside_those_that_do():
    with pytest.raises(ValueError, match=r"no loss head is named 'tragets'; there are \["):
        heads.load(["tragets"])
