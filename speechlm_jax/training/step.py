"""One step: gradients of the weighted loss heads over a batch, an update, and what is to be known about them."""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, cast

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int, PRNGKeyArray

from speechlm_jax import batch, losses, low_rank, sharding
from speechlm_jax.training import config, optimizers, state

TASK_SLOTS = 64
"""Room for per-task sums: the program does not change with the number of tasks."""


class Head(Protocol):
    """A file of speechlm_jax/losses/."""

    def weights(self, batch: batch.Batch) -> Float[Array, "B E"]:
        """The weight of each segment, from the batch alone."""
        ...

    def totals(self, outputs: Any, batch: batch.Batch) -> Float[Array, "B E"]:
        """The weighted sum of each segment's losses."""
        ...


class Sums(NamedTuple):
    """Totals and counts of a batch: they add up over steps, and are divided once, on the host."""

    totals: Any
    """float32 "heads slots": weighted losses of each task's segments."""
    weights: Any
    """float32 "heads slots"."""
    examples: Any
    """int32 "slots"."""
    audio_frames: Any
    """int32: speech frames (10 ms) that belong to an example."""
    tokens: Any
    """int32: text tokens that belong to an example."""


class Metrics(NamedTuple):
    """What a step of training tells. Sums and norms are 0 in a step that was skipped."""

    sums: Sums
    gradient_norm: Any
    """float32: before clipping, of the parameters that are trained."""
    parameter_norm: Any
    """float32: of all parameters, after the update."""
    learning_rate: Any
    skipped: Any
    """int32: 1 where the loss or a gradient was not finite, and the step changed nothing but its number."""


def load_heads(choices: config.Losses) -> dict[str, Head]:
    """Name -> module of each loss head whose coefficient is not 0. Raises ValueError where one does not exist."""
    there = sorted(module.name for module in pkgutil.iter_modules(losses.__path__))
    for name, _ in choices.coefficients:
        if name not in there:
            raise ValueError(f"no loss head is named {name!r}; there are {there}. Set Losses.coefficients.")
    wanted = [name for name, coefficient in choices.coefficients if coefficient]
    return {name: cast(Head, importlib.import_module(f"{losses.__name__}.{name}")) for name in wanted}


def make_train_step(
    graphdef: nnx.GraphDef,
    optimizer: optimizers.Optimizer,
    heads: Mapping[str, Head],
    coefficients: Mapping[str, float],
    *,
    plan: state.TrainState,
    mesh: Mesh,
    seed: int,
    accumulate: int = 1,
    task_slots: int = TASK_SLOTS,
) -> Callable[[state.TrainState, batch.Batch], tuple[state.TrainState, Metrics]]:
    """The jitted function (state, batch) -> (state, Metrics); the state it is given is consumed.

    The loss is the sum over heads of coefficient * totals / weights of the whole batch, so cutting the batch into
    `accumulate` microbatches changes nothing but the order of sums. Dropout's keys come from (seed, step, microbatch)
    and do not depend on the devices.

    Args:
        plan: `state.abstract`: the shapes of the state and where they lie.
    """
    if accumulate < 1:
        raise ValueError(f"a batch is cut into 1 microbatch or more, found {accumulate}. Set Optimizer.accumulate.")
    places = state.shardings(plan)
    trained_places, _ = optimizer.split(places.params)

    def microbatch_loss(
        trained: nnx.State, frozen: nnx.State, part: batch.Batch, key: PRNGKeyArray, scales: Mapping[str, Any]
    ) -> tuple[Float[Array, ""], Float[Array, "heads slots"]]:
        with sharding.tracing_on(mesh):
            params = sharding.gather_outside_stacks(mesh, low_rank.merge(nnx.merge_state(trained, frozen)))
            model = nnx.merge(graphdef, params)
            totals = _totals(heads, model(part, key=key), part)
        loss = sum((scales[name] * total.sum() for name, total in totals.items()), start=jnp.zeros(()))
        return loss, _by_task(totals, part, task_slots)

    def train_step(old: state.TrainState, rows: batch.Batch) -> tuple[state.TrainState, Metrics]:
        sharding.check_rows(mesh, rows.segments.weights.shape[0], accumulate)
        trained, frozen = optimizer.split(old.params)
        weights = {name: head.weights(rows) for name, head in heads.items()}
        scales = {name: _share(coefficients[name], weight.sum()) for name, weight in weights.items()}
        step_key = jax.random.fold_in(jax.random.key(seed), old.step)

        def add(carry: Any, numbered: tuple[Any, batch.Batch]) -> tuple[Any, None]:
            number, part = numbered
            key = jax.random.fold_in(step_key, number)
            got, gradients = jax.value_and_grad(microbatch_loss, has_aux=True)(trained, frozen, part, key, scales)
            gradients = jax.lax.with_sharding_constraint(gradients, trained_places)
            return jax.tree.map(jnp.add, carry, (got, gradients)), None

        nothing = ((jnp.zeros(()), jnp.zeros((len(heads), task_slots))), jax.tree.map(jnp.zeros_like, trained))
        if accumulate == 1:
            ((loss, totals), gradients), _ = add(nothing, (0, rows))
        else:
            parts = (jnp.arange(accumulate), _microbatches(rows, accumulate, mesh))
            ((loss, totals), gradients), _ = jax.lax.scan(add, nothing, parts)

        gradient_norm = optax.tree.norm(gradients)
        finite = jnp.isfinite(loss) & jnp.isfinite(gradient_norm)
        new = _updated(old, gradients, optimizer)
        new = jax.tree.map(lambda after, before: jnp.where(finite, after, before), new, old)

        task_weights = _by_task(weights, rows, task_slots)
        sums = Sums(totals, task_weights, *_counts(rows, task_slots))
        metrics = Metrics(
            sums=jax.tree.map(lambda value: jnp.where(finite, value, 0), sums),
            gradient_norm=jnp.where(finite, gradient_norm, 0.0),
            parameter_norm=jnp.where(finite, optax.tree.norm(new.params), 0.0),
            learning_rate=optimizer.schedule(old.step),
            skipped=1 - finite.astype(jnp.int32),
        )
        return new._replace(step=old.step + 1), metrics

    return jax.jit(
        train_step,
        in_shardings=(places, sharding.batch_sharding(mesh)),
        out_shardings=(places, sharding.replicated(mesh)),
        donate_argnums=0,
    )


def _updated(old: state.TrainState, gradients: nnx.State, optimizer: optimizers.Optimizer) -> state.TrainState:
    """The state after an update; its step is not counted yet."""
    trained, frozen = optimizer.split(old.params)
    updates, opt_state = optimizer.transform.update(gradients, old.opt_state, trained, step=old.step)
    updated: Any = optax.apply_updates(trained, updates)
    ema = None if old.ema is None else optimizer.moving_average(old.ema, updated, old.step)
    return state.TrainState(old.step, nnx.merge_state(frozen, updated), opt_state, ema)


def make_eval_step(
    graphdef: nnx.GraphDef, heads: Mapping[str, Head], *, mesh: Mesh, task_slots: int = TASK_SLOTS
) -> Callable[[nnx.State, batch.Batch], Sums]:
    """The jitted function (params, batch) -> Sums, without dropout. Parameters lie where they are given."""

    def eval_step(params: nnx.State, rows: batch.Batch) -> Sums:
        sharding.check_rows(mesh, rows.segments.weights.shape[0])
        with sharding.tracing_on(mesh):
            model = nnx.merge(graphdef, sharding.gather_outside_stacks(mesh, low_rank.merge(params)))
            totals = _totals(heads, model(rows, key=None), rows)
        weights = {name: head.weights(rows) for name, head in heads.items()}
        return Sums(_by_task(totals, rows, task_slots), _by_task(weights, rows, task_slots), *_counts(rows, task_slots))

    return jax.jit(
        eval_step, in_shardings=(None, sharding.batch_sharding(mesh)), out_shardings=sharding.replicated(mesh)
    )


def _totals(heads: Mapping[str, Head], outputs: Any, rows: batch.Batch) -> dict[str, Float[Array, "B E"]]:
    return {name: head.totals(outputs, rows) for name, head in heads.items()}


def _share(coefficient: float, weight: Float[Array, ""]) -> Float[Array, ""]:
    """coefficient / weight, or 0 where nothing weighs."""
    return jnp.where(weight > 0, coefficient / jnp.where(weight > 0, weight, 1.0), 0.0)


def _by_task(values: Mapping[str, Any], rows: batch.Batch, task_slots: int) -> Float[Array, "heads slots"]:
    """Sums of "B E" arrays over the segments of each task."""
    ids = rows.segments.task_ids.reshape(-1)
    sums = [jax.ops.segment_sum(value.reshape(-1), ids, task_slots) for value in values.values()]
    return jnp.stack(sums) if sums else jnp.zeros((0, task_slots))


def _counts(rows: batch.Batch, task_slots: int) -> tuple[Int[Array, " slots"], Int[Array, ""], Int[Array, ""]]:
    """(examples of each task, useful speech frames, useful tokens)."""
    is_example = (rows.segments.weights > 0).astype(jnp.int32).reshape(-1)
    examples = jax.ops.segment_sum(is_example, rows.segments.task_ids.reshape(-1), task_slots)

    def useful(*lanes: Any) -> Int[Array, ""]:
        return sum(
            ((lane.segment_ids > 0).sum(dtype=jnp.int32) for lane in lanes if lane is not None),
            start=jnp.zeros((), jnp.int32),
        )

    return examples, useful(rows.audio, rows.target_audio), useful(rows.inputs, rows.targets)


def _microbatches(rows: batch.Batch, accumulate: int, mesh: Mesh) -> batch.Batch:
    """Rows i * accumulate + m as microbatch m: a device keeps the rows it has, and every microbatch uses them all."""
    cut = NamedSharding(mesh, PartitionSpec(None, sharding.ROWS))

    def interleave(array: Array) -> Array:
        parts = array.reshape(array.shape[0] // accumulate, accumulate, *array.shape[1:]).swapaxes(0, 1)
        return jax.lax.with_sharding_constraint(parts, cut)

    return jax.tree.map(interleave, rows)
