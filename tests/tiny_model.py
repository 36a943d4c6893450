"""A model small enough to train in a test: the same interface, words and stacked layers as the real one. And a run."""

import functools
import types
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from speechlm_jax import batch as batches
from speechlm_jax import layout, parameters, sharding
from speechlm_jax.layers import stack
from speechlm_jax.training import config, optimizers, state, step

WIDTH, HEADS, MLP, VOCABULARY, LAYERS = 16, 4, 32, 64, 2
ROWS, STEPS, SEGMENTS, TASKS = 16, 12, 4, 3


class Outputs(NamedTuple):
    targets: jax.Array


def _matrix(rngs, shape, axes, fan_in):
    return nnx.Param(jax.random.normal(rngs.params(), shape) * fan_in**-0.5, axes=axes)


class Layer(nnx.Module):
    def __init__(self, rngs):
        self.scale_D = nnx.Param(jnp.ones(WIDTH), axes=("embed",))
        self.attention = Mix(rngs)
        self.feed_forward = FeedForward(rngs)

    def __call__(self, x, key, dropout):
        x = x + self.feed_forward(self.attention(x * self.scale_D[...][None, None, :]))
        return x if key is None else x * jax.random.bernoulli(key, 1 - dropout, x.shape) / (1 - dropout)


class Mix(nnx.Module):
    def __init__(self, rngs):
        width = WIDTH // HEADS
        self.query_DHK = _matrix(rngs, (WIDTH, HEADS, width), ("embed", "heads", "head_width"), WIDTH)
        self.out_HKD = _matrix(rngs, (HEADS, width, WIDTH), ("heads", "head_width", "embed"), WIDTH)
        self.bias_HK = nnx.Param(jnp.zeros((HEADS, width)), axes=("heads", "head_width"))

    def __call__(self, x):
        heads = jnp.tanh(jnp.einsum("BUD,DHK->BUHK", x, self.query_DHK[...]) + self.bias_HK[...][None, None])
        return jnp.einsum("BUHK,HKD->BUD", heads, self.out_HKD[...])


class FeedForward(nnx.Module):
    def __init__(self, rngs):
        self.in_DF = _matrix(rngs, (WIDTH, MLP), ("embed", "mlp"), WIDTH)
        self.out_FD = _matrix(rngs, (MLP, WIDTH), ("mlp", "embed"), MLP)

    def __call__(self, x):
        return jax.nn.gelu(x @ self.in_DF[...]) @ self.out_FD[...]


class Text(nnx.Module):
    def __init__(self, rngs):
        self.table_VD = _matrix(rngs, (VOCABULARY, WIDTH), ("vocabulary", "embed"), WIDTH)


class Encoder(nnx.Module):
    def __init__(self, rngs):
        self.stack = stack.build(Layer, LAYERS, rngs=rngs)


class Head(nnx.Module):
    def __init__(self, rngs, vocabulary):
        self.kernel_DV = _matrix(rngs, (WIDTH, vocabulary), ("embed", "vocabulary"), WIDTH)
        self.bias_V = nnx.Param(jnp.zeros(vocabulary), axes=("vocabulary",))


class Tiny(nnx.Module):
    def __init__(self, seed=0, *, vocabulary=VOCABULARY, dropout=0.0):
        rngs = nnx.Rngs(seed)
        self.dropout = dropout
        self.text = Text(rngs)
        self.encoder = Encoder(rngs)
        self.ctc = Head(rngs, vocabulary)
        self.halves = nnx.List([Head(rngs, 8)])

    def __call__(self, batch, *, key=None):
        x = self.text.table_VD[...][batch.targets.tokens]
        keys = None if key is None else jax.random.split(key, LAYERS)

        def body(layer, x, key):
            return layer(sharding.cut_rows(x), key, self.dropout), None

        x, _ = stack.run(self.encoder.stack, body, x, keys)
        return Outputs(x @ self.ctc.kernel_DV[...] + self.ctc.bias_V[...][None, None, :])


def _by_segment(values, lane, num_segments):
    one_hot = jax.nn.one_hot(lane.segment_ids - 1, num_segments)
    return jnp.einsum("BU,BUE->BE", values, one_hot)


def _weights(batch):
    lane, lines = batch.targets, batch.segments
    return _by_segment(lane.weights, lane, lines.weights.shape[1]) * lines.weights


def _totals(outputs, batch):
    lane, lines = batch.targets, batch.segments
    logs = jax.nn.log_softmax(outputs.targets)
    nats = -jnp.take_along_axis(logs, lane.tokens[..., None], axis=-1)[..., 0]
    return _by_segment(nats * lane.weights, lane, lines.weights.shape[1]) * lines.weights


def _logit_weights(batch):
    return batch.segments.ctc * batch.segments.weights


def _logit_totals(outputs, batch):
    squares = jnp.square(outputs.targets).mean(axis=-1)
    return _by_segment(squares, batch.targets, batch.segments.weights.shape[1]) * _logit_weights(batch)


HEADS_OF_LOSS = {
    "targets": types.SimpleNamespace(weights=_weights, totals=_totals),
    "logits": types.SimpleNamespace(weights=_logit_weights, totals=_logit_totals),
}
COEFFICIENTS = {"targets": 1.0, "logits": 0.3}


def batch(seed=0, rows=ROWS):
    """Rows whose segments differ in length, weight and task, so that a mean of means is not the mean."""
    random = np.random.default_rng(seed)
    made = batches.empty(batches.Row(targets=STEPS, segments=SEGMENTS), rows)
    for row in range(rows):
        start = 0
        for segment in range(int(random.integers(1, SEGMENTS + 1))):
            length = int(random.integers(1, 4))
            place = (row, slice(start, start + length))
            made.targets.tokens[place] = random.integers(5, VOCABULARY, length)
            made.targets.segment_ids[place] = segment + 1
            made.targets.positions[place] = np.arange(length)
            made.targets.weights[place] = random.integers(0, 2, length)
            made.segments.weights[row, segment] = random.choice([0.5, 1.0, 3.0])
            made.segments.ctc[row, segment] = random.integers(0, 2)
            made.segments.task_ids[row, segment] = random.integers(0, TASKS)
            start += length
    return made


PLAIN = config.Optimizer(
    schedule=config.Schedule(peak=1e-2, warmup_steps=2), eps=1e-6, clip_norm=None, weight_decay=0.0
)
SLOTS = 8
# Compiling takes longer than these tests run.
FAST = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}


class Run:
    """A tiny model on a mesh, ready to step."""

    def __init__(self, mesh=(2, 2, 2), *, choices=PLAIN, frozen=(), accumulate=1, dropout=0.0, heads=None):
        self.mesh = sharding.make_mesh(layout.Layout(*mesh), jax.devices()[: int(np.prod(mesh))])
        self.optimizer = optimizers.make(choices, steps=10, frozen=frozen)
        self.make_model = functools.partial(Tiny, dropout=dropout)
        self.graphdef, self.params = state.describe_model(self.make_model)
        self.heads = heads or HEADS_OF_LOSS
        self.plan = state.abstract(self.params, self.optimizer, self.mesh)
        self.jitted = step.make_train_step(
            self.graphdef,
            self.optimizer,
            self.heads,
            COEFFICIENTS,
            plan=self.plan,
            mesh=self.mesh,
            seed=5,
            accumulate=accumulate,
            task_slots=SLOTS,
        )
        places = sharding.param_shardings(self.mesh, self.params)
        first = parameters.by_path(jax.device_put(parameters.rebuild(self.params, initial_values()), places))
        taken = {path: parameters.array(leaf) for path, leaf in first.items()}
        self.state = state.build(state.initialiser(self.make_model), self.optimizer, self.mesh, taken)

    @functools.cached_property
    def step(self):
        shapes = jax.tree.map(lambda rows: jax.ShapeDtypeStruct(rows.shape, rows.dtype), batch())
        return self.jitted.lower(self.plan, shapes).compile(compiler_options=FAST)

    def go(self, rows=None, steps=1):
        """Steps on the batches of seeds 0, 1, ..., or on `rows`; the metrics of the last."""
        for seed in range(steps):
            given = batch(seed) if rows is None else rows
            self.state, metrics = self.step(self.state, sharding.global_batch(self.mesh, given))
        return jax.device_get(metrics)


@functools.cache
def initial_values():
    """Path -> numpy array of the first parameters: drawing them once spares each run a compilation."""
    make = jax.jit(state.initialiser(Tiny), compiler_options=FAST)
    return values(make())


def values(tree):
    """Path -> numpy array, copied: a view would keep a donated buffer alive."""
    return {path: np.array(parameters.array(leaf)) for path, leaf in parameters.by_path(tree).items()}


def assert_close(ours, theirs, tolerance):
    """Every array of two pytrees, or of two dicts of `values`."""
    ours, theirs = (tree if isinstance(tree, dict) else values(tree) for tree in (ours, theirs))
    assert ours.keys() == theirs.keys()
    for path in ours:
        np.testing.assert_allclose(ours[path], theirs[path], rtol=tolerance, atol=tolerance, err_msg=path)
