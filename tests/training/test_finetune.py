"""What is taken from a checkpoint, what starts anew, what stands still; and no rule fails in silence."""

import logging

import jax
import numpy as np
import pytest
import tiny_model

from speechlm_jax import checkpoints, layout, low_rank, parameters, sharding
from speechlm_jax.training import config, finetune, lora, optimizers, state

MESH = sharding.make_mesh(layout.Layout(2, 2, 2))
OPTIMIZER = optimizers.make(config.Optimizer(), steps=10)


def _params(**options):
    return state.describe_model(lambda: tiny_model.Tiny(**options))[1]


def _save(folder, params, ema=None, vocabulary="abc123"):
    keeper = checkpoints.Folder(folder)
    keeper.save(5, {"params": params, "ema": ema}, stream={}, meta={"vocabulary": vocabulary})
    keeper.close()
    return str(folder)


def _filled(params, seed):
    random = np.random.default_rng(seed)
    filled = parameters.map_named(
        lambda _, leaf: random.normal(size=parameters.array(leaf).shape).astype(np.float32), params
    )
    return jax.device_put(filled, sharding.param_shardings(MESH, filled))


def _taken(params, choices, vocabulary=None):
    return finetune.take(finetune.find(params, choices, vocabulary=vocabulary), mesh=MESH)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """The folder of a pretrained run, its parameters, and their moving average."""
    params, ema = _filled(_params(), 1), _filled(_params(), 2)
    folder = _save(tmp_path_factory.mktemp("pretrained"), params, ema)
    return folder, tiny_model.values(params), tiny_model.values(ema)


def test_everything_is_taken_onto_the_mesh(checkpoint):
    folder, params, ema = checkpoint
    plan = state.abstract(_params(), OPTIMIZER, MESH).params
    for use_ema, wanted in ((True, ema), (False, params)):
        choices = config.Finetune(checkpoint=folder, use_ema=use_ema)
        taken = _taken(_params(), choices, vocabulary="abc123")
        tiny_model.assert_close(tiny_model.values(taken), wanted, 0)
        for path, leaf in parameters.by_path(plan).items():
            assert taken[path].sharding.is_equivalent_to(parameters.array(leaf).sharding, taken[path].ndim), path


def test_fresh_parameters_start_anew_and_the_others_are_taken(checkpoint):
    folder, _, ema = checkpoint
    wider = _params(vocabulary=128)
    choices = config.Finetune(checkpoint=folder, fresh=(r"^ctc/",))
    taken = _taken(wider, choices)
    assert taken.keys() == ema.keys() - {"ctc/kernel_DV", "ctc/bias_V"}
    init = state.initialiser(lambda: tiny_model.Tiny(vocabulary=128))
    built = tiny_model.values(state.build(init, OPTIMIZER, MESH, taken).params)
    np.testing.assert_array_equal(built["text/table_VD"], ema["text/table_VD"])
    assert built["ctc/kernel_DV"].shape == (tiny_model.WIDTH, 128)
    assert built["ctc/kernel_DV"].std() > 0.1


def test_a_parameter_that_does_not_fit_is_an_error_that_names_it(checkpoint):
    folder, _, _ = checkpoint
    with pytest.raises(ValueError, match=r"2 arrays are not as wanted") as caught:
        _taken(_params(vocabulary=128), config.Finetune(checkpoint=folder))
    assert "differs: ctc/kernel_DV wanted float32[16,128], found float32[16,64]" in str(caught.value)
    assert "differs: ctc/bias_V" in str(caught.value)
    assert "Finetune.fresh" in str(caught.value)


def test_a_parameter_that_the_checkpoint_lacks_is_named_with_the_nearest(tmp_path):
    leaves = parameters.by_path(_filled(_params(), 1))
    leaves["text/tables_VD"] = leaves.pop("text/table_VD")
    folder = _save(tmp_path, parameters.from_paths(leaves))
    with pytest.raises(ValueError, match=r"missing: text/table_VD float32\[64,16\] \(nearest there: text/tables_VD\)"):
        _taken(_params(), config.Finetune(checkpoint=folder))


def test_what_the_model_has_no_place_for_is_told(checkpoint, caplog):
    folder, _, _ = checkpoint
    leaves = parameters.by_path(_params())
    smaller = parameters.from_paths({path: leaf for path, leaf in leaves.items() if not path.startswith("ctc")})
    with caplog.at_level(logging.WARNING):
        _taken(smaller, config.Finetune(checkpoint=folder))
    assert "no place for ctc/bias_V, ctc/kernel_DV" in caplog.text


def test_another_vocabulary_is_refused_unless_all_that_reads_it_is_fresh(checkpoint):
    folder, _, _ = checkpoint
    with pytest.raises(ValueError, match="wanted a checkpoint of vocabulary def456, found abc123"):
        _taken(_params(), config.Finetune(checkpoint=folder), vocabulary="def456")
    fresh = ("^text/", "^ctc/", "^halves/")
    taken = _taken(_params(), config.Finetune(checkpoint=folder, fresh=fresh), vocabulary="def456")
    assert all(path.startswith("encoder/") for path in taken)


@pytest.mark.parametrize("field", ["fresh", "frozen"])
def test_a_rule_that_matches_nothing_is_an_error_with_the_nearest_names(field):
    choices = config.Finetune(checkpoint="there", **{field: ("encoder/stack/atention",)})
    with pytest.raises(ValueError, match=rf"Finetune\.{field} has 'encoder/stack/atention'.*encoder/stack/attention/"):
        finetune.frozen(_params(), choices)


def test_a_rule_that_is_no_regular_expression_is_an_error():
    with pytest.raises(ValueError, match=r"'\(' *, which is no regular expression"):
        finetune.frozen(_params(), config.Finetune(checkpoint="there", frozen=("(",)))


def test_rules_match_anywhere_in_a_path_and_something_must_be_left():
    frozen = finetune.frozen(_params(), config.Finetune(checkpoint="there", frozen=("^encoder/", "table")))
    assert frozen == {path for path in parameters.by_path(_params()) if path.startswith(("encoder/", "text/table"))}
    assert finetune.frozen(_params(), config.Finetune(checkpoint="there")) == frozenset()
    with pytest.raises(ValueError, match="leaves no parameter to train"):
        finetune.frozen(_params(), config.Finetune(checkpoint="there", frozen=("",)))


def _with_updates():
    return lora.attach(state.initialiser(tiny_model.Tiny)(), config.Lora(rank=2), jax.random.key(0))


def test_low_rank_updates_freeze_all_but_themselves_and_what_is_fresh():
    params = jax.eval_shape(_with_updates)
    choices = config.Finetune(checkpoint="there", fresh=("^ctc/",), lora=config.Lora(rank=2))
    trained = parameters.by_path(params).keys() - finetune.frozen(params, choices)
    assert {path for path in trained if not path.startswith("lora/")} == {"ctc/kernel_DV", "ctc/bias_V"}
    assert "lora/alpha" not in trained
    assert "lora/encoder/stack/attention/query_DHK/up" in trained


@pytest.mark.slow
def test_low_rank_updates_start_beside_what_is_taken_and_are_merged_when_taken_in_turn(checkpoint, tmp_path):
    folder, _, ema = checkpoint
    choices = config.Finetune(checkpoint=folder, lora=config.Lora(rank=2))
    abstract = jax.eval_shape(_with_updates)
    taken = _taken(abstract, choices)
    assert taken.keys() == ema.keys()
    filled = _filled(abstract, 3)
    second = _save(tmp_path, filled)
    again = _taken(_params(), config.Finetune(checkpoint=second))
    tiny_model.assert_close(tiny_model.values(again), tiny_model.values(low_rank.merge(filled)), 1e-5)
    path = "encoder/stack/feed_forward/in_DF"
    assert not np.allclose(again[path], tiny_model.values(filled)[path], atol=1e-2)
