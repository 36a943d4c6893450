"""One step: gradients of the weighted loss heads over a batch, an update, and what is to be known about them."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int, PRNGKeyArray

from speechlm_jax import batch, low_rank, sharding
from speechlm_jax.layers import segments
from speechlm_jax.losses import heads as loss_heads
from speechlm_jax.training import optimizers, state

TASK_SLOTS = 64
"""Room for per-task sums: the program does not change with the number of tasks."""


class Sums(NamedTuple):
    """Totals and counts of a batch: they add up over steps, and are divided once, on the host."""

    totals: Any
    """float32 "heads slots": weighted losses of each task's segments."""
    weights: Any
    """float32 "heads slots"."""
    examples: Any
    """int32 "slots"."""
    audio_frames: Any
    """int32 "slots": speech frames (10 ms) of each task's examples."""
    tokens: Any
    """int32 "slots": text tokens, likewise."""
    codes: Any = None
    """float32 "Q Z": how often each code of hidden speech was to be told; None without such a head."""


class Metrics(NamedTuple):
    """What a step of training tells. Sums and norms are 0 in a step that was skipped."""

    sums: Sums
    gradient_norm: Any
    """float32: before clipping, of the parameters that are trained."""
    parameter_norm: Any
    """float32: of all parameters, after the update."""
    learning_rate: Any
    skipped: Any
    """int32: 1 where the loss or a gradient was not finite, or far above those before it, and the step changed nothing
    but its number."""


def make_train_step(
    graphdef: nnx.GraphDef,
    optimizer: optimizers.Optimizer,
    heads: Mapping[str, loss_heads.Head],
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
    ) -> tuple[Float[Array, ""], tuple[Float[Array, "heads slots"], Float[Array, "Q Z"] | None]]:
        outputs = _outputs(graphdef, mesh, trained, frozen, part, key)
        totals = {name: head.totals(outputs, part) for name, head in heads.items()}
        counting: list[Any] = [head for head in heads.values() if hasattr(head, "code_counts")]
        codes = counting[0].code_counts(outputs, part) if counting and part.audio is not None else None
        loss = sum((scales[name] * total.sum() for name, total in totals.items()), start=jnp.zeros(()))
        return loss, (_by_task(totals, part, task_slots), codes)

    def train_step(old: state.TrainState, rows: batch.Batch) -> tuple[state.TrainState, Metrics]:
        sharding.check_rows(mesh, rows.segments.weights.shape[0], accumulate)
        trained, frozen = optimizer.split(old.params)
        weights = {name: head.weights(rows) for name, head in heads.items()}
        scales = {name: _share(coefficients[name], weight.sum()) for name, weight in weights.items()}
        step_key = jax.random.fold_in(jax.random.key(seed), old.step)

        def of_part(number: Any, part: batch.Batch) -> Any:
            key = jax.random.fold_in(step_key, number)
            got, gradients = jax.value_and_grad(microbatch_loss, has_aux=True)(trained, frozen, part, key, scales)
            return got, jax.lax.with_sharding_constraint(gradients, trained_places)

        (loss, (totals, codes)), gradients = _sum_of_parts(of_part, rows, accumulate, mesh)
        gradient_norm = optax.tree.norm(gradients)
        good = jnp.isfinite(loss) & optimizer.accepts(old.opt_state, gradient_norm)
        new = _updated(old, gradients, optimizer)
        new = jax.tree.map(lambda after, before: jnp.where(good, after, before), new, old)

        task_weights = _by_task(weights, rows, task_slots)
        sums = Sums(totals, task_weights, *_counts(rows, task_slots), codes)
        metrics = Metrics(
            sums=jax.tree.map(lambda value: jnp.where(good, value, 0), sums),
            gradient_norm=jnp.where(good, gradient_norm, 0.0),
            parameter_norm=jnp.where(good, optax.tree.norm(new.params), 0.0),
            learning_rate=optimizer.schedule(old.step),
            skipped=1 - good.astype(jnp.int32),
        )
        return new._replace(step=old.step + 1), metrics

    return jax.jit(
        train_step,
        in_shardings=(places, sharding.batch_sharding(mesh)),
        out_shardings=(places, sharding.replicated(mesh)),
        donate_argnums=0,
    )


def make_gradient_norms(
    graphdef: nnx.GraphDef,
    optimizer: optimizers.Optimizer,
    heads: Mapping[str, loss_heads.Head],
    coefficients: Mapping[str, float],
    *,
    plan: state.TrainState,
    mesh: Mesh,
) -> Callable[[state.TrainState, batch.Batch], dict[str, Float[Array, ""]]]:
    """The jitted function (state, batch) -> the norm of each head's own part of the gradient, without dropout.

    One backward pass after the other, so it takes as long as several steps: not for every one.
    """

    def loss(trained: nnx.State, frozen: nnx.State, rows: batch.Batch, scales: Float[Array, " heads"]) -> Array:
        outputs = _outputs(graphdef, mesh, trained, frozen, rows)
        totals = jnp.stack([head.totals(outputs, rows).sum() for head in heads.values()])
        return jnp.sum(scales * totals)

    def norms(now: state.TrainState, rows: batch.Batch) -> dict[str, Array]:
        trained, frozen = optimizer.split(now.params)
        scales = jnp.stack([_share(coefficients[name], head.weights(rows).sum()) for name, head in heads.items()])
        each = jax.lax.map(lambda own: optax.tree.norm(jax.grad(loss)(trained, frozen, rows, own)), jnp.diag(scales))
        return dict(zip(heads, each, strict=True))

    return jax.jit(
        norms,
        in_shardings=(state.shardings(plan), sharding.batch_sharding(mesh)),
        out_shardings=sharding.replicated(mesh),
    )


def _outputs(
    graphdef: nnx.GraphDef,
    mesh: Mesh,
    trained: nnx.State,
    frozen: nnx.State,
    rows: batch.Batch,
    key: PRNGKeyArray | None = None,
) -> Any:
    """What the model makes of a batch, with dropout where there is a key."""
    params = low_rank.merge(nnx.merge_state(trained, frozen))
    with sharding.model_on(mesh, graphdef, params) as model:
        return model(rows, key=key)


def _sum_of_parts(of_part: Callable[[Any, batch.Batch], Any], rows: batch.Batch, accumulate: int, mesh: Mesh) -> Any:
    """The sum of `of_part(number, microbatch)` over the microbatches of a batch."""
    if accumulate == 1:
        return of_part(0, rows)

    def add(carry: Any, numbered: tuple[Any, batch.Batch]) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, carry, of_part(*numbered)), None

    parts = (jnp.arange(accumulate), _microbatches(rows, accumulate, mesh))
    shapes = jax.eval_shape(of_part, 0, jax.tree.map(lambda array: array[0], parts[1]))
    nothing = jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), shapes)
    return jax.lax.scan(add, nothing, parts)[0]


def _updated(old: state.TrainState, gradients: nnx.State, optimizer: optimizers.Optimizer) -> state.TrainState:
    """The state after an update; its step is not counted yet."""
    trained, frozen = optimizer.split(old.params)
    updates, opt_state = optimizer.transform.update(gradients, old.opt_state, trained, step=old.step)
    updated: Any = optax.apply_updates(trained, updates)
    ema = None if old.ema is None else optimizer.moving_average(old.ema, updated, old.step)
    return state.TrainState(old.step, nnx.merge_state(frozen, updated), opt_state, ema)


def _share(coefficient: float, weight: Float[Array, ""]) -> Float[Array, ""]:
    """coefficient / weight, or 0 where nothing weighs."""
    return jnp.where(weight > 0, coefficient / jnp.where(weight > 0, weight, 1.0), 0.0)


def _by_task(values: Mapping[str, Any], rows: batch.Batch, task_slots: int) -> Float[Array, "heads slots"]:
    """Sums of "B E" arrays over the segments of each task."""
    ids = rows.segments.task_ids.reshape(-1)
    sums = [jax.ops.segment_sum(value.reshape(-1), ids, task_slots) for value in values.values()]
    return jnp.stack(sums) if sums else jnp.zeros((0, task_slots))


def _counts(
    rows: batch.Batch, task_slots: int
) -> tuple[Int[Array, " slots"], Int[Array, " slots"], Int[Array, " slots"]]:
    """(examples, speech frames, tokens) of each task."""
    ids = rows.segments.task_ids.reshape(-1)
    num_segments = rows.segments.weights.shape[1]

    def by_task(values_BE: Int[Array, "B E"]) -> Int[Array, " slots"]:
        return jax.ops.segment_sum(values_BE.reshape(-1), ids, task_slots)

    def places(*lanes: Any) -> Int[Array, "B E"]:
        start = jnp.zeros(rows.segments.weights.shape, jnp.int32)
        lengths = (segments.length(lane.segment_ids, num_segments) for lane in lanes if lane is not None)
        return sum(lengths, start=start)

    is_example = (rows.segments.weights > 0).astype(jnp.int32)
    return (
        by_task(is_example),
        by_task(places(rows.audio, rows.target_audio)),
        by_task(places(rows.inputs, rows.targets)),
    )


def _microbatches(rows: batch.Batch, accumulate: int, mesh: Mesh) -> batch.Batch:
    """Rows i * accumulate + m as microbatch m: a device keeps the rows it has, and every microbatch uses them all."""
    cut = NamedSharding(mesh, PartitionSpec(None, sharding.ROWS))

    def interleave(array: Array) -> Array:
        parts = array.reshape(array.shape[0] // accumulate, accumulate, *array.shape[1:]).swapaxes(0, 1)
        return jax.lax.with_sharding_constraint(parts, cut)

    return jax.tree.map(interleave, rows)
