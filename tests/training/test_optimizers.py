"""Schedules and updates against optax's own, and which parameter gets what."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny_model
from flax import nnx

from speechlm_jax import parameters
from speechlm_jax.models import config as model_config
from speechlm_jax.models import speech_text
from speechlm_jax.training import config, optimizers, state

STEPS = 50


@functools.cache
def _real_params():
    _, params = state.describe_model(lambda: speech_text.SpeechText(model_config.Model(), rngs=nnx.Rngs(0)))
    return params


def _params():
    _, params = state.describe_model(tiny_model.Tiny)
    return parameters.rebuild(params, tiny_model.initial_values())


def _gradients(params, seed):
    random = np.random.default_rng(seed)
    return parameters.map_named(
        lambda _, leaf: random.normal(size=parameters.array(leaf).shape).astype(np.float32), params
    )


def _updates(transform, params, steps=3, **extra):
    """What `steps` updates of random gradients add up to, path by path."""

    @jax.jit
    def run(params):
        opt_state = transform.init(params)
        for number in range(steps):
            told = {"step": number} if extra.get("step") else {}
            updates, opt_state = transform.update(_gradients(params, number), opt_state, params, **told)
            params = optax.apply_updates(params, updates)
        return params

    return tiny_model.values(run(params))


def _ours(params, choices, frozen=()):
    return _updates(optimizers.make(choices, steps=STEPS, frozen=frozen).transform, params, step=True)


@pytest.mark.parametrize("clip_norm", [None, 1.0])
def test_adamw_is_optax_adamw(clip_norm):
    schedule = config.Schedule(peak=1e-2, warmup_steps=2)
    choices = config.Optimizer(schedule=schedule, weight_decay=0.1, clip_norm=clip_norm)
    decayed = parameters.map_named(
        lambda path, _: path.endswith(("_DHK", "_HKD", "_DF", "_FD", "kernel_DV")), _params()
    )
    rate = optimizers.schedule(schedule, STEPS)
    theirs = optax.adamw(rate, b1=0.9, b2=0.98, eps=1e-8, weight_decay=0.1, mask=decayed)
    if clip_norm is not None:
        theirs = optax.chain(optax.clip_by_global_norm(clip_norm), theirs)
    tiny_model.assert_close(_ours(_params(), choices), _updates(theirs, _params()), 1e-6)


def test_adafactor_is_optax_adafactor():
    random = np.random.default_rng(0)
    params = nnx.State(
        {
            "kernel": nnx.Param(jnp.asarray(random.normal(size=(128, 256)), jnp.float32), axes=("embed", "mlp")),
            "bias": nnx.Param(jnp.asarray(random.normal(size=256), jnp.float32), axes=("mlp",)),
        }
    )
    schedule = config.Schedule(peak=1e-2, warmup_steps=2, decay="rsqrt")
    choices = config.Optimizer(name="adafactor", schedule=schedule, weight_decay=0.0, clip_norm=None)
    theirs = optax.adafactor(optimizers.schedule(schedule, STEPS))
    tiny_model.assert_close(_ours(params, choices), _updates(theirs, params), 1e-6)


def test_a_name_that_does_not_exist_is_refused():
    choices, schedule = config.Optimizer(), config.Schedule()
    object.__setattr__(choices, "name", "sgd")  # Where no checker of types stands before it.
    object.__setattr__(schedule, "decay", "linear")
    with pytest.raises(ValueError, match=r"'sgd': wanted adamw or adafactor\. Set Optimizer\.name"):
        optimizers.make(choices, steps=STEPS)
    with pytest.raises(ValueError, match=r"'linear'.*Set Schedule\.decay"):
        optimizers.schedule(schedule, STEPS)


@pytest.mark.parametrize(
    ("decay", "reference"),
    [
        ("cosine", optax.warmup_cosine_decay_schedule(0.0, 0.3, 10, STEPS, end_value=0.03)),
        ("constant", optax.warmup_constant_schedule(0.0, 0.3, 10)),
        ("rsqrt", lambda step: 0.3 * np.minimum(step / 10, np.sqrt(10 / np.maximum(step, 1)))),
    ],
)
def test_schedules_are_optax_schedules_of_the_next_step(decay, reference):
    rate = optimizers.schedule(config.Schedule(peak=0.3, warmup_steps=10, decay=decay, final_share=0.1), STEPS)
    steps = np.arange(STEPS)
    np.testing.assert_allclose(jax.vmap(rate)(steps), [reference(step + 1) for step in steps], rtol=1e-5)


def test_a_run_shorter_than_its_warmup_only_warms_up():
    rate = optimizers.schedule(config.Schedule(peak=1.0, warmup_steps=100), 10)
    np.testing.assert_allclose([rate(0), rate(9)], [0.01, 0.1], rtol=1e-6)


def test_matrices_are_decayed_and_scales_biases_and_embeddings_are_not():
    matrices = {p for p, leaf in parameters.by_path(_real_params()).items() if optimizers.is_matrix(leaf.axes)}
    others = parameters.by_path(_real_params()).keys() - matrices
    names = {path.rsplit("/", 1)[-1] for path in others}
    assert names <= {"scale_D", "bias_V", "bias_C", "audio_D", "inputs_D", "table_VD"}
    assert "ctc/kernel_DV" in matrices
    assert "encoder/stack/attention/out_HKD" in matrices
    assert not optimizers.is_matrix(("layers", "heads", "head_width"))


def test_the_deeper_a_parameter_lies_the_slower_it_learns():
    multipliers = {
        path: np.ravel(optimizers.layer_multiplier(path, leaf.axes, leaf.get_value().shape, 0.5, 4))
        for path, leaf in parameters.by_path(_real_params()).items()
    }
    np.testing.assert_allclose(multipliers["encoder/stack/attention/query_DHK"], [0.125, 0.25, 0.5, 1.0])
    np.testing.assert_allclose(multipliers["decoder/stack/norm/scale_D"], [0.5, 1.0])
    front = {path for path, values in multipliers.items() if "/stack/" not in path and values == 0.5**4}
    after = {path for path, values in multipliers.items() if "/stack/" not in path and values == 1}
    assert {path.split("/")[0] for path in front} == {"speech", "text", "encoder"}
    assert after == {
        "ctc/kernel_DV",
        "ctc/bias_V",
        "masked_tokens/transform_DC",
        "masked_tokens/norm/scale_D",
        "encoder/norm/scale_D",
        "decoder/norm/scale_D",
    }
    assert front | after == {path for path in multipliers if "/stack/" not in path}


def test_layer_decay_scales_the_whole_update():
    choices = config.Optimizer(schedule=config.Schedule(warmup_steps=1), weight_decay=0.1, layer_decay=0.5)
    still = tiny_model.initial_values()
    slow = _ours(_params(), choices)
    fast = _ours(_params(), config.Optimizer(schedule=config.Schedule(warmup_steps=1), weight_decay=0.1))
    path, table = "encoder/stack/attention/bias_HK", "text/table_VD"
    shares = (slow[path] - still[path]) / (fast[path] - still[path])
    np.testing.assert_allclose(shares[0], 0.5, rtol=1e-3)
    np.testing.assert_allclose(shares[1], 1.0, rtol=1e-3)
    np.testing.assert_allclose(slow[table] - still[table], 0.25 * (fast[table] - still[table]), rtol=1e-2, atol=1e-6)


def test_the_learning_rate_follows_the_step_and_not_the_updates_made():
    optimizer = optimizers.make(config.Optimizer(schedule=config.Schedule(peak=1.0, warmup_steps=10)), steps=STEPS)
    params = nnx.State({"scale": nnx.Param(jnp.ones(4), axes=("embed",))})
    gradients = jax.tree.map(jnp.ones_like, params)
    for step in (0, 4):
        updates, _ = optimizer.transform.update(gradients, optimizer.transform.init(params), params, step=step)
        np.testing.assert_allclose(updates["scale"][...], -(step + 1) / 10, rtol=1e-4)
