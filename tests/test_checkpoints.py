"""What was saved is what is restored, on any mesh; anything else is refused by name."""

import functools
import logging
import os
import re
import shutil

import corruption
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_model
from etils import epath
from flax import nnx

from speechlm_jax import (
    checkpoint_meta,
    checkpoint_steps,
    checkpoints,
    checksums,
    layout,
    parameters,
    sharding,
    whole_files,
)
from speechlm_jax.training import config, optimizers, state

META = {"vocabulary": "abc123", "recipe": "Recipe.steps = 10", "model": {"width": 16}}
CHOICES = config.Optimizer(ema_decay=0.9)


@pytest.fixture(scope="module")
def run():
    return tiny_model.Run((2, 2, 2), choices=CHOICES)


@pytest.fixture(scope="module")
def saved(run, tmp_path_factory):
    """A run's folder with steps 1 and 2, and the states that were saved."""
    folder = tmp_path_factory.mktemp("run")
    keeper = checkpoints.Folder(folder)
    states = {}
    for number in (1, 2):
        run.go()
        states[number] = tiny_model.values(run.state)
        # No wait: the next step consumes the state while it is written.
        keeper.save(number, run.state, stream={"0": {"draws": number}}, meta=META)
    run.go()
    keeper.close()
    return folder, states


def _plan(mesh, choices=CHOICES, make_model=tiny_model.Tiny):
    _, params = state.describe_model(make_model)
    return state.abstract(params, optimizers.make(choices, steps=10), sharding.make_mesh(layout.Layout(*mesh)))


def test_the_latest_step_comes_back_bit_for_bit(run, saved):
    folder, states = saved
    keeper = checkpoints.Folder(folder)
    restored = keeper.restore(run.plan, vocabulary="abc123")
    assert restored.step == keeper.latest() == 2
    tiny_model.assert_close(tiny_model.values(restored.state), states[2], 0)
    assert restored.stream == {"0": {"draws": 2}}
    assert restored.meta["recipe"] == META["recipe"]
    assert jax.tree.structure(restored.state) == jax.tree.structure(run.plan)
    keeper.close()


def test_a_restored_run_goes_on_as_it_would_have(run, saved):
    folder, _ = saved
    keeper = checkpoints.Folder(folder)
    gone_on = []
    for _ in range(2):
        run.state = keeper.restore(run.plan, step=1).state
        told = run.go(tiny_model.batch(3))
        gone_on.append(tiny_model.values(run.state) | tiny_model.values(told))
    tiny_model.assert_close(gone_on[0], gone_on[1], 0)
    keeper.close()


@pytest.mark.parametrize("mesh", [(8, 1, 1), (1, 8, 1), (1, 2, 4)])
def test_a_state_is_restored_onto_another_mesh(saved, mesh):
    folder, states = saved
    keeper = checkpoints.Folder(folder)
    plan = _plan(mesh)
    restored = keeper.restore(plan, step=1).state
    tiny_model.assert_close(tiny_model.values(restored), states[1], 0)
    for path, leaf in parameters.by_path(restored).items():
        assert parameters.array(leaf).sharding == parameters.array(parameters.by_path(plan)[path]).sharding
    keeper.close()


def test_meta_tells_every_array_and_what_wrote_it(saved):
    folder, states = saved
    meta = checkpoint_meta.read(checkpoint_steps.find(folder))
    assert meta["leaves"].keys() == states[2].keys()
    assert meta["leaves"]["params/text/table_VD"] == {"array": "float32[64,16]", "axes": ["vocabulary", "embed"]}
    assert meta["leaves"]["step"] == {"array": "int32[]", "axes": []}
    assert meta["mesh"] == {"slice": 1, "data": 2, "fsdp": 2, "tensor": 2}
    assert meta["versions"]["jax"] == jax.__version__


def test_every_array_that_does_not_fit_is_named(saved):
    folder, _ = saved
    keeper = checkpoints.Folder(folder)
    wider = functools.partial(tiny_model.Tiny, vocabulary=128)
    with pytest.raises(ValueError, match="arrays are not as wanted") as caught:
        keeper.restore(_plan((2, 2, 2), config.Optimizer(name="adafactor"), wider))
    message = str(caught.value)
    assert "differs: params/ctc/kernel_DV wanted float32[16,128], found float32[16,64]" in message
    assert "missing: opt_state/factored/" in message and "missing: and " in message
    assert "not wanted: " in message
    assert "Finetune.checkpoint" in message
    keeper.close()


def test_another_vocabulary_is_refused_and_both_are_named(run, saved):
    keeper = checkpoints.Folder(saved[0])
    with pytest.raises(ValueError, match="wanted a checkpoint of vocabulary def456, found abc123"):
        keeper.restore(run.plan, vocabulary="def456")
    keeper.close()


@pytest.mark.parametrize("part", ["", "checkpoints", "checkpoints/2"])
def test_parameters_are_read_on_one_device_without_the_program(saved, part):
    folder, states = saved
    weights = checkpoints.restore_params(checkpoint_steps.find(folder / part))
    assert weights.step == 2
    values = tiny_model.values(weights.params)
    wanted = {p.removeprefix("ema/"): v for p, v in states[2].items() if p.startswith("ema/")}
    tiny_model.assert_close(values, wanted, 0)
    assert all(len(leaf.devices()) == 1 for leaf in jax.tree.leaves(weights.params))
    graphdef, params = state.describe_model(tiny_model.Tiny)
    assert jax.tree.structure(weights.params) == jax.tree.structure(params)
    nnx.merge(graphdef, weights.params)


def test_parameters_are_read_onto_a_mesh_and_only_those_wanted(saved):
    folder, states = saved
    mesh = sharding.make_mesh(layout.Layout(1, 4, 2))
    weights = checkpoints.restore_params(
        checkpoint_steps.find(folder / "checkpoints" / "1"),
        mesh=mesh,
        use_ema=False,
        only=lambda path: path.startswith("text"),
    )
    assert weights.step == 1
    assert parameters.by_path(weights.params).keys() == {"text/table_VD"}
    table = weights.params["text"]["table_VD"][...]
    np.testing.assert_array_equal(table, states[1]["params/text/table_VD"])
    assert table.sharding.shard_shape(table.shape) == (32, 4)


def test_a_folder_without_checkpoints_is_refused(tmp_path, run):
    with pytest.raises(ValueError, match=r"found none, or none yet\. Wanted a run's folder"):
        checkpoints.restore_params(checkpoint_steps.find(tmp_path))
    keeper = checkpoints.Folder(tmp_path)
    assert keeper.latest() is None
    with pytest.raises(ValueError, match=r"there is no checkpoint\. Set Recipe\.run_dir"):
        keeper.restore(run.plan)
    keeper.close()


def test_the_last_steps_are_kept_and_a_broken_one_is_none_of_them(tmp_path, caplog):
    small = {"step": jnp.zeros((), jnp.int32)}
    keeper = checkpoints.Folder(tmp_path)
    for number in (1, 2, 3):
        keeper.save(number, small, stream={}, meta=META)
    keeper.save(3, small, stream={}, meta=META)
    keeper.close()
    (tmp_path / "checkpoints" / "9").mkdir()
    with caplog.at_level(logging.WARNING):
        assert checkpoint_steps.latest(tmp_path / "checkpoints") == 3
    assert "checkpoints/9 is not whole" in caplog.text
    keeper = checkpoints.Folder(tmp_path)
    assert keeper.latest() == 3
    assert checkpoint_steps.newest_good(keeper.path, 1.0, before=3) == 2
    assert checkpoint_steps.newest_good(keeper.path, 1.0, before=1) is None
    # The number of the broken step can be saved again, and the one before it is still kept.
    keeper.save(9, small, stream={}, meta=META)
    keeper.close()
    names = {entry.name for entry in (tmp_path / "checkpoints").iterdir()}
    assert names == {"2", "3", "9", "9.broken"}
    assert checkpoint_steps.latest(tmp_path / "checkpoints") == 9


@pytest.mark.parametrize("how", corruption.WAYS)
def test_whatever_is_altered_of_a_step_is_told_and_the_one_before_is_read(saved, tmp_path, how):
    folder = tmp_path / "run"
    shutil.copytree(saved[0], folder)
    good, bad = folder / "checkpoints" / "1", folder / "checkpoints" / "2"
    names = corruption.files(bad)
    assert {"CHECKSUMS.json", "_CHECKPOINT_METADATA", "commit_success.txt", "meta/metadata"} < {*names}
    random = np.random.default_rng(0)
    for name in names:
        kept = (bad / name).read_bytes()
        if corruption.corrupt(bad, name, how, random):
            assert checkpoint_steps.find(folder) == epath.Path(good), name
            with pytest.raises(ValueError, match="it is not as it was written"):
                checkpoint_steps.find(bad)
        (bad / name).write_bytes(kept)
    assert checkpoint_steps.find(folder) == epath.Path(bad)


def test_a_step_that_was_altered_is_set_aside_and_its_number_is_saved_again(run, saved, tmp_path, caplog):
    folder = tmp_path / "run"
    shutil.copytree(saved[0], folder)
    corruption.corrupt(folder / "checkpoints" / "2", "state/manifest.ocdbt", "flipped", np.random.default_rng(0))
    with caplog.at_level(logging.WARNING):
        keeper = checkpoints.Folder(folder)
    assert re.search(r"checkpoints/2 is set aside as 2\.broken: state/manifest\.ocdbt: its .* bytes", caplog.text)
    restored = keeper.restore(run.plan)
    assert restored.step == 1
    keeper.save(2, restored.state, stream={}, meta=META)
    keeper.close()
    assert checkpoint_steps.find(folder).name == "2"


def test_a_step_older_than_the_last_is_compared_before_it_is_read(run, saved, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(saved[0], folder)
    corruption.corrupt(folder / "checkpoints" / "1", "stream/metadata", "flipped", np.random.default_rng(0))
    keeper = checkpoints.Folder(folder)
    with pytest.raises(ValueError, match=r"checkpoints/1: it is not as it was written \(stream/metadata: its"):
        keeper.restore(run.plan, step=1)
    assert keeper.restore(run.plan).step == 2
    keeper.close()


def test_a_run_of_which_no_step_is_good_does_not_begin_anew(saved, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(saved[0], folder)
    for step in (1, 2):
        (folder / "checkpoints" / str(step) / checksums.NAME).unlink()
    with pytest.raises(
        ValueError, match=r"none of its steps is as it was written \(2: CHECKSUMS.*; 1: CHECK.*Recipe\.run"
    ):
        checkpoints.Folder(folder)
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == ["1", "2"]


def test_a_checkpoint_of_another_schema_is_refused(tmp_path, monkeypatch):
    keeper = checkpoints.Folder(tmp_path)
    monkeypatch.setattr(checkpoint_meta, "SCHEMA", checkpoint_meta.SCHEMA + 1)
    keeper.save(1, {"params": {"scale": nnx.Param(jnp.ones(3), axes=(None,))}}, stream={}, meta=META)
    keeper.close()
    monkeypatch.undo()
    with pytest.raises(ValueError, match="wanted schema 2, found 3"):
        checkpoints.restore_params(checkpoint_steps.find(tmp_path))


def test_a_meta_that_is_larger_than_any_of_ours_is_not_read(saved, tmp_path):
    folder = tmp_path / "2"
    shutil.copytree(saved[0] / "checkpoints" / "2", folder)
    os.truncate(folder / "meta" / "metadata", whole_files.MOST_BYTES + 1)
    with pytest.raises(ValueError, match="268,435,457 bytes, wanted"):
        checkpoint_meta.read(epath.Path(folder))


def test_a_run_goes_back_to_the_newest_good_step_before(run, saved, tmp_path, caplog):
    folder = tmp_path / "run"
    shutil.copytree(saved[0], folder)
    keeper = checkpoints.Folder(folder, keep=4)
    later = keeper.restore(run.plan, step=2).state
    for step in (3, 4):
        keeper.save(step, later, stream={}, meta=META)
    keeper.wait()
    corruption.corrupt(folder / "checkpoints" / "2", "stream/metadata", "flipped", np.random.default_rng(0))
    with caplog.at_level(logging.WARNING):
        restored = keeper.restore_before(run.plan, 3)
        keeper.undo(3)
    assert restored.step == 1
    tiny_model.assert_close(tiny_model.values(restored.state), saved[1][1], 0)
    assert "checkpoints/4 is set aside as 4.undone: the run goes back behind it" in caplog.text
    # The number of a step that was undone is free, and orbax counts from the one that was gone back to.
    keeper.save(3, restored.state, stream={}, meta=META)
    keeper.wait()
    assert keeper.latest() == 3 and not checkpoint_steps.faults(keeper.path / "3")
    with pytest.raises(ValueError, match="going back behind step 1: there is no checkpoint before it"):
        keeper.restore_before(run.plan, 1)
    assert keeper.latest() == 3
    keeper.close()
