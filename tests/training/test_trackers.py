"""What is told of a run besides its own files."""

import math
import shutil
import sys
import time

import numpy as np
import pytest

from speechlm_jax.inference import shown
from speechlm_jax.training import config, monitor, trackers


def example(**changes):
    look = shown.Look(np.eye(3, 9, dtype=np.float32), ["a", "b", "</s>"], [], 0.04, 0, 1)
    noise = np.random.default_rng(0).normal(0, 3000, 8000).astype(np.int16)
    one = shown.Shown("heard", "clip", "likeliest", "a b", "a", "b", -0.5, noise, [("a", 0.0, 0.1)], look)
    return one._replace(**changes)


def test_settings_are_named_as_gin_files_name_them():
    found = trackers.settings_of(config.Recipe(steps=7, evaluation=None))
    assert found["Recipe.steps"] == 7 and found["Optimizer.name"] == "adamw" and found["Row.targets"] > 0
    assert found["Recipe.evaluation"] == "None" and "targets" in found["Losses.coefficients"]
    assert all(isinstance(value, bool | int | float | str) for value in found.values())


@pytest.mark.slow
def test_tensorboard_gets_numbers_examples_and_settings(tmp_path):
    from tensorboard.backend.event_processing import event_accumulator

    def opened(folder):
        return trackers.open_all(["tensorboard"], folder, {"Recipe.steps": 10, "Optimizer.name": "adamw"})

    watcher = monitor.Monitor(tmp_path, start=0, steps=10, open_trackers=opened)
    watcher.write(5, {"loss": 1.5, "wer": math.nan})
    watcher.examples(4, [example()])
    watcher.examples(5, [example(), example(heard=None, look=None, spoken=np.ones(4000, np.int16))])
    watcher.close()
    limits = {"scalars": 0, "images": 0, "audio": 0, "tensors": 0}
    events = event_accumulator.EventAccumulator(str(tmp_path / trackers.TENSORBOARD), limits)
    events.Reload()
    tags = events.Tags()
    assert tags["scalars"] == ["train/loss"]
    (event,) = events.Scalars("train/loss")
    assert (event.step, event.value) == (5, 1.5)
    assert tags["audio"] == ["heard/0/heard", "heard/1/spoken"]
    assert tags["images"] == ["heard/0/heard_mel", "heard/0/looks", "heard/1/spoken_mel"]
    # What is heard again is told once; where the decoder looks, each time.
    assert len(events.Audio("heard/0/heard")) == 1 == len(events.Images("heard/0/heard_mel"))
    assert len(events.Images("heard/0/looks")) == 2
    assert events.Images("heard/0/looks")[0].height == 18 and events.Audio("heard/1/spoken")[0].sample_rate == 16_000
    text = events.Tensors("heard/0/text/text_summary")[-1]
    assert b"**wanted** a b" in text.tensor_proto.string_val[0]
    plugins = events.PluginTagToContent("hparams")
    assert plugins and b"Recipe.steps" in b"".join(plugins.values())
    assert shown.read(tmp_path / shown.FILE)[0] == 5


class Failing:
    """A tracker that fails in whatever it is told, in a way of its own."""

    def numbers(self, step, numbers):
        raise RuntimeError("the service has gone")

    def close(self):
        raise KeyError("nothing to close")


def test_a_tracker_that_fails_is_told_no_more_and_the_run_goes_on(tmp_path, caplog):
    watcher = monitor.Monitor(tmp_path, start=0, steps=10, open_trackers=lambda folder: [Failing()])
    for step in (1, 2):
        watcher.write(step, {"loss": 1.5})
    watcher.close()
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2
    assert [record.getMessage() for record in caplog.records] == [
        "telling Failing of the run: the service has gone. It is told no more in this life"
    ]
    monitor.Monitor(tmp_path, start=2, steps=10, open_trackers=lambda folder: [Failing()]).close()


def test_a_tracker_that_cannot_be_opened_is_told_and_left_out(tmp_path, caplog, monkeypatch):
    def refuses(folder, settings, done):
        raise RuntimeError("no network")

    monkeypatch.setitem(trackers.KINDS, "wandb", refuses)
    assert trackers.open_all(["wandb"], tmp_path, {}) == []
    assert caplog.records[0].getMessage() == "telling wandb of the run: no network. The run goes on without"


@pytest.mark.slow
def test_steps_that_a_life_does_again_are_taken_back(tmp_path):
    from tensorboard.backend.event_processing import event_accumulator

    for done, losses in ((0, {1: 4.0, 2: 3.0, 3: 2.0}), (1, {2: 2.5})):
        (tracker,) = trackers.open_all(["tensorboard"], tmp_path, {}, done)
        for step, loss in losses.items():
            tracker.numbers(step, {"train/loss": loss})
        tracker.close()
        # Files of events are read in the order of their seconds.
        time.sleep(1.1)
    events = event_accumulator.EventAccumulator(str(tmp_path / trackers.TENSORBOARD))
    events.Reload()
    assert [(one.step, one.value) for one in events.Scalars("train/loss")] == [(1, 4.0), (2, 2.5)]


def test_a_disk_without_room_for_pictures_gets_numbers_alone(tmp_path, monkeypatch):
    told = []

    class Tracker(Failing):
        def numbers(self, step, numbers):
            told.append(step)

        def examples(self, step, found):
            told.append(found)

    room = shutil.disk_usage(tmp_path)._replace(free=monitor.ROOM_FOR_EXAMPLES - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: room)
    watcher = monitor.Monitor(tmp_path, start=0, steps=10, open_trackers=lambda folder: [Tracker()])
    watcher.write(1, {"loss": 1.0})
    watcher.examples(1, [example()])
    watcher.close()
    assert told == [1] and shown.read(tmp_path / shown.FILE)[0] == 1
    room = room._replace(free=monitor.ROOM_FOR_EVENTS - 1)
    watcher = monitor.Monitor(tmp_path, start=1, steps=10, open_trackers=lambda folder: told.append("opened"))
    watcher.close()
    assert told == [1]


def test_a_tracker_whose_package_is_not_there_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ValueError, match=r"wanted the package wandb, found none\. Install 'speechlm-jax\[wandb\]'"):
        trackers.open_all(["wandb"], tmp_path, {})


@pytest.mark.slow
def test_weights_and_biases_is_told_without_a_network(tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="wants the extra [wandb]")
    monkeypatch.setenv("WANDB_MODE", "offline")
    (tracker,) = trackers.open_all(["wandb"], tmp_path, {"Recipe.steps": 10})
    tracker.numbers(5, {"train/loss": 1.5})
    tracker.examples(5, [example()])
    tracker.close()
    (kept,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    assert b"train/loss" in kept.read_bytes()
    assert {path.suffix for path in tmp_path.glob("wandb/offline-run-*/files/media/**/*.*")} == {
        ".json",
        ".png",
        ".wav",
    }
