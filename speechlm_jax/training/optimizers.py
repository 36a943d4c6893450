"""How gradients become updates: schedules, optax chains, and what is decayed, slowed or frozen by path and words."""

import dataclasses
import re
from collections.abc import Callable, Collection
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Bool, Float

from speechlm_jax import axes, parameters
from speechlm_jax.training import config

FRONT = re.compile(r"^(lora/)?(speech|text)/|^encoder/(audio|inputs)_D$|^(encoder|decoder)/places/")
"""Outside the stacks, parameters on such paths lie below the first layer (front ends, embeddings, what marks a
modality); the others lie above the last."""


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """An optax transformation over the parameters that are trained, and how their moving average is kept.

    `transform.update(gradients, state, params, step=step)` gives what is added to the parameters; the learning rate
    is a function of the step, so a skipped update does not delay it.
    """

    transform: optax.GradientTransformationExtraArgs
    schedule: Callable[[Any], Float[Array, ""]]
    """Step, from 0 -> learning rate."""
    frozen: frozenset[str] = frozenset()
    """Paths of parameters without gradient, moments or moving average."""
    ema_decay: float | None = None
    skip_above: float | None = None
    """See config.Optimizer."""

    def accepts(self, opt_state: Any, norm: Float[Array, ""]) -> Bool[Array, ""]:
        """Whether a gradient of this norm is an update's: it is finite, and not far above those before it."""
        finite = jnp.isfinite(norm)
        if self.skip_above is None:
            return finite
        norms = opt_state[_NORMS]
        # NaN, above which nothing is, where there was no step yet.
        known = jnp.sum(~jnp.isnan(norms)) >= _NORMS_NEEDED
        return finite & ~(known & (norm > self.skip_above * jnp.nanmedian(norms)))

    def split(self, params: nnx.State) -> tuple[nnx.State, nnx.State]:
        """(the parameters that are trained, those that stand still)."""
        return parameters.select(params, lambda path: path not in self.frozen)

    def moving_average(self, ema: nnx.State, params: nnx.State, step: Any) -> nnx.State:
        """The average after `step`: its decay is min(ema_decay, (1 + step) / (10 + step)), so that it soon forgets
        the start of a run (the rule of tf.train.ExponentialMovingAverage)."""
        assert self.ema_decay is not None, "a state without ema_decay keeps no average"
        decay = jnp.minimum(self.ema_decay, (1.0 + step) / (10.0 + step))
        return jax.tree.map(lambda old, new: old + (1.0 - decay) * (new - old), ema, params)


def make(choices: config.Optimizer, *, steps: int, frozen: Collection[str] = ()) -> Optimizer:
    """The optimizer of a run of `steps` steps.

    adamw (arXiv 1711.05101) uses b1, b2 and eps. adafactor (arXiv 1804.04235, without momentum) keeps factored second
    moments, clips each update's root mean square to 1 and scales it by that of its parameter, so that the learning
    rate is relative; a stack of layers counts as one parameter there.
    """
    if choices.name == "adamw":
        scalers = [("adam", optax.scale_by_adam(choices.b1, choices.b2, choices.eps))]
    elif choices.name == "adafactor":
        scalers = [
            ("factored", optax.scale_by_factored_rms()),
            ("rms_clip", optax.clip_by_block_rms(1.0)),
            ("parameter_scale", optax.scale_by_param_block_rms()),
        ]
    else:
        raise ValueError(f"no optimizer is named {choices.name!r}: wanted adamw or adafactor. Set Optimizer.name.")
    rate = schedule(choices.schedule, steps)
    clip = [] if choices.clip_norm is None else [("clip", optax.clip_by_global_norm(choices.clip_norm))]
    norms = [] if choices.skip_above is None else [(_NORMS, _keep_norms())]
    chain = optax.named_chain(
        *norms,
        *clip,
        *scalers,
        ("weight_decay", _weight_decay(choices.weight_decay)),
        ("layer_decay", _layer_decay(choices.layer_decay)),
        ("rate", _scale_by_step(rate)),
    )
    return Optimizer(chain, rate, frozenset(frozen), choices.ema_decay, choices.skip_above)


def schedule(choices: config.Schedule, steps: int) -> Callable[[Any], Float[Array, ""]]:
    """Step (from 0) -> learning rate: step s is the (s + 1)-th, so that the first is not lost to a rate of 0."""
    if choices.decay not in ("cosine", "rsqrt", "constant"):
        raise ValueError(f"no decay is named {choices.decay!r}: wanted cosine, rsqrt, constant. Set Schedule.decay.")
    warmup = max(choices.warmup_steps, 1)

    def rate(step: Any) -> Float[Array, ""]:
        done = jnp.asarray(step, jnp.float32) + 1.0
        share = jnp.minimum(done / warmup, 1.0)
        if choices.decay == "cosine":
            progress = jnp.clip((done - warmup) / max(steps - warmup, 1), 0.0, 1.0)
            final = choices.final_share
            share = share * (final + (1.0 - final) * 0.5 * (1.0 + jnp.cos(jnp.pi * progress)))
        elif choices.decay == "rsqrt":
            share = share * jnp.sqrt(warmup / jnp.maximum(done, warmup))
        return choices.peak * share

    return rate


def is_matrix(words: parameters.Words) -> bool:
    """True for weights that map one axis to another; False for scales, biases and embeddings.

    Axes of layers, axes without a word, and the width of a head beside its heads do not count; a table whose first
    axis is the vocabulary is an embedding.
    """
    own = [word for word in words if word not in (None, axes.LAYERS, axes.HEAD_WIDTH)]
    return len(own) >= 2 and own[0] != axes.VOCABULARY


def layer_multiplier(
    path: str, words: parameters.Words, shape: tuple[int, ...], decay: float, depth: int
) -> float | Float[Array, "L ..."]:
    """What multiplies the learning rate of a parameter: decay ** (n - l) for layer l = 1..n of a stack; decay **
    `depth` before the stacks (front ends, embeddings); 1 after them (heads, last norms). `depth` is the longest n."""
    if words[:1] == (axes.LAYERS,):
        powers = decay ** jnp.arange(shape[0] - 1, -1, -1, dtype=jnp.float32)
        return powers.reshape(-1, *(1,) * (len(shape) - 1))
    return decay**depth if FRONT.search(path) else 1.0


def _weight_decay(rate: float) -> optax.GradientTransformation:
    def apply(updates: Any, params: Any) -> Any:
        named = parameters.by_path(params)

        def decayed(path: str, update: Any) -> Any:
            param = named[path]
            value = parameters.array(update)
            return value + rate * parameters.array(param) if is_matrix(parameters.words(param)) else value

        return parameters.map_named(decayed, updates)

    return optax.stateless(apply)


def _layer_decay(decay: float) -> optax.GradientTransformation:
    def apply(updates: Any, params: Any) -> Any:
        leaves = {p: (parameters.words(v), parameters.array(v).shape) for p, v in parameters.by_path(params).items()}
        depth = max((shape[0] for words, shape in leaves.values() if words[:1] == (axes.LAYERS,)), default=0)
        return parameters.map_named(
            lambda path, update: parameters.array(update) * layer_multiplier(path, *leaves[path], decay, depth), updates
        )

    return optax.identity() if decay == 1.0 else optax.stateless(apply)


_NORMS, _NORMS_KEPT, _NORMS_NEEDED = "norms", 64, 16


def _keep_norms() -> optax.GradientTransformationExtraArgs:
    """Keeps the gradient norms of the last updates, in the places of their steps; changes nothing."""

    def update(updates: Any, state: Any, params: Any = None, **told: Any) -> tuple[Any, Any]:
        return updates, state.at[told["step"] % _NORMS_KEPT].set(optax.tree.norm(updates))

    return optax.GradientTransformationExtraArgs(lambda params: jnp.full(_NORMS_KEPT, jnp.nan), update)


def _scale_by_step(rate: Callable[[Any], Any]) -> optax.GradientTransformationExtraArgs:
    def update(updates: Any, state: Any, params: Any = None, **told: Any) -> tuple[Any, Any]:
        scale = -rate(told["step"])
        return jax.tree.map(lambda u: scale * u, updates), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)
