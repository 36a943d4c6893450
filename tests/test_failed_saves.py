"""A save counts once it is whole; one that fails is told, leaves nothing behind, and the run goes on without it."""

import logging
import re
import time

import jax.numpy as jnp
import pytest

from speechlm_jax import checkpoint_steps, checkpoints, checksums

META = {"vocabulary": "abc123", "recipe": "Recipe.steps = 10", "model": {"width": 16}}


def full(*_, **__):
    raise OSError(28, "No space left on device")


def save(keeper, *steps):
    for step in steps:
        keeper.save(step, {"step": jnp.zeros((), jnp.int32)}, stream={}, meta=META)


def test_checksums_stand_before_a_step_has_its_name(tmp_path, monkeypatch):
    written = checksums.write

    def late(folder, **choices):
        assert not (tmp_path / "checkpoints" / "1").exists()
        time.sleep(0.3)
        written(folder, **choices)

    monkeypatch.setattr(checksums, "write", late)
    keeper = checkpoints.Folder(tmp_path)
    save(keeper, 1)
    keeper.tend()
    assert keeper.latest() is None
    keeper.wait()
    assert checksums.differences(tmp_path / "checkpoints" / "1") == []
    keeper.close()


def test_saves_that_fail_in_the_background_are_told_at_the_next_step_and_not_for_ever(tmp_path, monkeypatch, caplog):
    def end(step):
        save(keeper, step)
        deadline = time.monotonic() + 10
        while keeper._manager.is_saving_in_progress() and time.monotonic() < deadline:
            time.sleep(0.02)
        keeper.tend()

    keeper = checkpoints.Folder(tmp_path, max_failed=2)
    with monkeypatch.context() as broken, caplog.at_level(logging.ERROR):
        broken.setattr(checksums, "write", full)
        end(1)
    told = [record.message for record in caplog.records if record.name == "speechlm_jax.checkpoints"]
    assert len(told) == 1 and re.search(r"saving step 1 to .*No space left.*goes on without \(1 of 2\)", told[0])
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == []
    # One that goes well begins the count anew, and the step that failed may be saved again.
    end(1)
    monkeypatch.setattr(checksums, "write", full)
    end(2)
    with pytest.raises(ValueError, match=r"saving step 3 to .*number 2 in a row.*Checkpoints\.max_failed"):
        end(3)
    save(keeper, 4)
    with pytest.raises(ValueError, match=r"saving step 4 to .*No space left"):
        keeper.wait()
    keeper.close()
    assert checkpoint_steps.find(tmp_path).name == "1"


def test_the_last_save_is_not_lost_without_an_error(tmp_path, monkeypatch):
    keeper = checkpoints.Folder(tmp_path)
    with monkeypatch.context() as broken:
        broken.setattr(keeper._manager, "save", full)
        save(keeper, 1)
    with pytest.raises(ValueError, match=r"saving step 1 to .*No space left.*Make room there"):
        keeper.wait()
    save(keeper, 2)
    keeper.wait()
    keeper.close()
    assert checkpoint_steps.find(tmp_path).name == "2"


def test_what_a_save_that_failed_was_to_replace_does_not_stay_for_ever(tmp_path, monkeypatch):
    keeper = checkpoints.Folder(tmp_path)
    save(keeper, 1, 2, 3)
    keeper.wait()
    with monkeypatch.context() as broken:
        broken.setattr(checksums, "write", full)
        save(keeper, 4)
        with pytest.raises(ValueError, match="saving step 4"):
            keeper.wait()
    save(keeper, 6, 7, 8)
    keeper.close()
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["6", "7", "8"]


def test_a_step_whose_notes_find_no_place_in_its_checksums_is_whole(tmp_path, monkeypatch, caplog):
    keeper = checkpoints.Folder(tmp_path)
    monkeypatch.setattr(checksums, "add", full)
    save(keeper, 1)
    keeper.wait()
    keeper.close()
    assert "adding to the checksums of step 1" in caplog.text and "No space left" in caplog.text
    assert checkpoint_steps.find(tmp_path).name == "1"


def test_what_is_left_of_a_life_before_is_gone_when_the_folder_is_open(tmp_path):
    left = tmp_path / "checkpoints" / "9.orbax-checkpoint-tmp"
    left.mkdir(parents=True)
    keeper = checkpoints.Folder(tmp_path)
    assert not left.exists()
    keeper.close()


def test_a_save_that_failed_is_not_told_again_when_the_folder_is_closed(tmp_path, monkeypatch):
    keeper = checkpoints.Folder(tmp_path, max_failed=1)
    monkeypatch.setattr(checksums, "write", full)
    save(keeper, 1)
    with pytest.raises(ValueError, match="failure number 1 in a row"):
        save(keeper, 2)
    # As orbax does where what it wrote in the background has failed, too.
    monkeypatch.setattr(keeper._manager, "close", full)
    keeper.close()
    other = checkpoints.Folder(tmp_path)
    monkeypatch.setattr(other._manager, "close", full)
    with pytest.raises(ValueError, match=r"closing .*checkpoints: \[Errno 28\]"):
        other.close()


def test_remains_that_cannot_be_removed_do_not_end_a_run(tmp_path, monkeypatch, caplog):
    keeper = checkpoints.Folder(tmp_path)
    with monkeypatch.context() as broken:
        broken.setattr(checksums, "write", full)
        broken.setattr(type(keeper.path), "rmtree", full)
        save(keeper, 1)
        keeper._manager.wait_until_finished = full
        keeper.tend()
        with pytest.raises(ValueError, match="saving step 1"):
            keeper.wait()
