"""What may end a run, or must not: the notice to stop, an evaluation that fails, steps that change nothing any more."""

import json
import pathlib
import re
import signal
import subprocess
import time

import process_group
import pytest
import small_run
import warm

from speechlm_jax import checkpoint_meta, checkpoint_steps, checkpoints, cli, endings, limits, whole_files
from speechlm_jax.data import config
from speechlm_jax.inference import evaluation

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    made = tmp_path_factory.mktemp("stopping")
    small_run.write(made)
    assert cli.main(["data", f"--gin_file={made}/recipe.gin", "--train_vocabulary=460"]) == 0
    return made


def words(folder: pathlib.Path, run: str, *bindings: str) -> list[str]:
    return ["train", f"--gin_file={folder}/recipe.gin", f"--gin.Recipe.run_dir={folder}/{run}", *bindings]


def batches(folder: pathlib.Path, run: str) -> str:
    """The chain of what a run has read."""
    return checkpoint_meta.read(checkpoint_steps.find(folder / run))["batches"]


LONG = ("--gin.Recipe.steps=30", "--gin.Recipe.evaluation=None", "--gin.Checkpoints.every=1000")


def wait_for_steps(run: pathlib.Path, processes: list[warm.Process]) -> None:
    """Returns when some steps are done."""
    metrics = run / "metrics.jsonl"
    while not metrics.exists() or metrics.read_text().count("\n") < 3:
        assert all(process.poll() is None for process in processes), [p.communicate()[0] for p in processes]
        time.sleep(0.02)


def stopped(run: pathlib.Path, processes: list[warm.Process], notice: signal.Signals = signal.SIGTERM) -> list[str]:
    """What processes said that were told to stop, the last of them alone, after some steps."""
    wait_for_steps(run, processes)
    processes[-1].send_signal(notice)
    said = [process.communicate(timeout=200)[0] for process in processes]
    assert [process.returncode for process in processes] == [endings.PREEMPTED] * len(processes), said
    return said


def test_a_run_that_is_stopped_from_the_keyboard_saves_too(folder):
    (said,) = stopped(folder / "keyboard", [warm.Process(words(folder, "keyboard", *LONG))], signal.SIGINT)
    saved = checkpoints.Folder(folder / "keyboard")
    assert saved.latest() and "Traceback" not in said
    saved.close()


@pytest.mark.parametrize(("notice", "code"), [(signal.SIGTERM, 42), (signal.SIGINT, 130)])
def test_a_run_that_is_stopped_while_it_compiles_ends_at_once_and_can_be_started_again(folder, notice, code):
    run = f"compiling{code}"
    process = warm.Process(words(folder, run, *LONG))
    process.wait_until_said("compiling the step")
    process.send_signal(notice)
    told = time.monotonic()
    said = process.communicate(timeout=60)[0]
    assert (process.returncode, time.monotonic() - told < 5) == (code, True)
    assert "told to stop before its first step" in said
    assert checkpoint_steps.latest(folder / run / "checkpoints") is None
    assert cli.main(words(folder, run, "--gin.Recipe.steps=2", *LONG[1:])) == 0


def test_a_run_that_is_told_to_stop_saves_ends_with_42_and_goes_on_bit_for_bit(folder):
    assert cli.main(words(folder, "whole", *LONG)) == 0
    (said,) = stopped(folder / "parts", [warm.Process(words(folder, "parts", *LONG))])
    step = checkpoint_steps.latest(folder / "parts" / "checkpoints")
    assert step is not None and 3 <= step < 30
    assert re.search(rf"stands at step {step} of 30, \d+\.\d s after it was told", said)
    assert list(small_run.losses(folder / "parts"))[-1] == step
    assert cli.main(words(folder, "parts", *LONG)) == 0
    assert small_run.losses(folder / "parts") == small_run.losses(folder / "whole")
    assert batches(folder, "parts") == batches(folder, "whole")


def test_processes_of_a_group_train_one_run_and_stop_at_one_step(folder):
    group = [warm.Process(words(folder, "group", *LONG), **told) for told in process_group.environments(2)]
    said = stopped(folder / "group", group, signal.SIGINT)
    step = checkpoint_steps.latest(folder / "group" / "checkpoints")
    assert step is not None and all(f"stands at step {step} of 30" in text for text in said)
    # One that goes on, and is told while it compiles.
    group = [warm.Process(words(folder, "group", *LONG), **told) for told in process_group.environments(2)]
    group[0].wait_until_said("compiling the step")
    group[1].send_signal(signal.SIGTERM)
    said = [process.communicate(timeout=200)[0] for process in group]
    assert [process.returncode for process in group] == [endings.PREEMPTED] * 2, said
    assert all(f"stands at step {step} of 30" in text for text in said), said
    assert cli.main(words(folder, "group", *LONG)) == 0
    alone = small_run.losses(folder / "whole")
    assert small_run.losses(folder / "group") == pytest.approx(alone, rel=1e-3)
    assert batches(folder, "group") == batches(folder, "whole")


def ended_by(failing: int, why: str, group: list[warm.Process]) -> None:
    """Sees to it that a group ends with the code and the words of the process that fails."""
    said = [process.communicate(timeout=100)[0] for process in group]
    assert [process.returncode for process in group] == [endings.MISTAKE] * 2, said
    assert why in said[failing] and "has ended" not in said[failing], said
    assert re.search(f"process {failing} has ended: .*{why}", said[1 - failing]), said
    assert "Traceback" not in "".join(said), said


def test_a_process_of_a_group_that_fails_ends_the_others_with_its_code_and_its_words(folder):
    def group(run, *own):
        """The second process has bindings of its own."""
        environments = process_group.environments(2)
        return [
            warm.Process(words(folder, run, "--gin.Recipe.steps=30", *(own * number)), **told)
            for number, told in enumerate(environments)
        ]

    ended_by(1, "wanted tasks with the split 'nowhere'", group("second", "--gin.Evaluation.split='nowhere'"))
    lines = (folder / "manifest.jsonl").read_text().splitlines(keepends=True)
    (folder / "shorter.jsonl").write_text("".join(lines[1:]))
    why = "process 1 would draw other examples than the first one: sources.manifest_"
    ended_by(1, why, group("other", f"--gin.Manifest.path={folder}/shorter.jsonl"))
    (folder / "first").mkdir()
    with whole_files.alone(folder / "first", "testing"):
        ended_by(0, "another command is writing there", group("first"))


def test_a_process_of_a_group_that_is_told_again_ends_at_once(folder):
    heartbeat = {"SPEECHLM_HEARTBEAT_SECONDS": "10"}
    group = [warm.Process(words(folder, "again", *LONG), **told, **heartbeat) for told in process_group.environments(2)]
    wait_for_steps(folder / "again", group)
    # Nobody can agree with it.
    group[0].send_signal(signal.SIGSTOP)
    group[1].send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        group[1].wait(2)
    group[1].send_signal(signal.SIGTERM)
    said = group[1].communicate(timeout=5)[0]
    group[0].kill()
    group[0].communicate()
    assert group[1].returncode == endings.PREEMPTED and "told to stop again" in said, said


def test_a_fault_in_an_evaluation_does_not_cost_the_steps_before_it(folder, monkeypatch, capsys):
    def fail(*_, **__):
        limits.at_least(config.BadRecords(), 0, "no_such_field")

    with monkeypatch.context() as broken:
        broken.setattr(evaluation.Evaluator, "score", fail)
        assert cli.main(words(folder, "fault", "--gin.Evaluation.every=3")) == 1
    assert checkpoint_steps.latest(folder / "fault" / "checkpoints") == 2
    with monkeypatch.context() as broken:
        broken.setattr(evaluation.Evaluator, "score", fail)
        assert cli.main(words(folder, "fault", "--gin.Evaluation.every=4")) == 1
    assert checkpoint_steps.latest(folder / "fault" / "checkpoints") == 4
    capsys.readouterr()
    assert cli.main(words(folder, "fault")) == 0
    assert "Evaluation.every: 4 -> 6" in capsys.readouterr().err
    assert "every = 4" in (folder / "fault" / "recipe-4.gin").read_text()


def test_a_split_that_cannot_be_scored_is_told_and_the_run_goes_on(folder, capsys):
    lines = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    lost = [line | {"audio": "lost.wav"} if line["split"] == "validation" else line for line in lines]
    (folder / "lost.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lost))
    budget = ("--gin.BadRecords.grace=5", "--gin.BadRecords.max_share=0.5")
    assert cli.main(words(folder, "unscored", f"--gin.Manifest.path={folder}/lost.jsonl", *budget)) == 0
    told = capsys.readouterr().err
    assert "manifest_recognition is not scored" in told and "6 of 6 could not be used" in told
    assert "evaluation at step 6: manifest_masked_language_model/" in told


def test_weights_that_are_not_finite_are_never_saved(folder, capsys):
    broken = ("--gin.Schedule.peak=1e38", "--gin.Checkpoints.every=1", *LONG[:2])
    assert cli.main(words(folder, "overflow", *broken)) == 2
    told = capsys.readouterr().err
    step = int(re.search(r"the norm of the weights is not finite after step (\d+)", told)[1])
    assert checkpoints.Folder(folder / "overflow").latest() == (step - 1 or None)
    assert "there is no checkpoint before it" in told and "Lower Schedule.peak" in told


def test_a_run_whose_steps_are_all_skipped_goes_back_and_then_stops(folder, capsys):
    # Weights so large that their norm can still be told, and that of gradients cannot.
    broken = ("--gin.Schedule.peak=1e15", "--gin.Recipe.max_skipped_steps=3", "--gin.Checkpoints.every=1", *LONG[:2])
    assert cli.main(words(folder, "broken", *broken)) == 2
    told = capsys.readouterr().err
    assert "not finite in 3 steps in a row, from step 2 on. The run goes back to step 1, and on with other" in told
    assert "(2 of 2 times)" in told and "the run has gone back 2 times before. Lower Schedule.peak" in told
    saved = {path.name for path in (folder / "broken" / "checkpoints").iterdir()}
    assert saved == {"1", "2", "2.undone", "2.undone1"}
    told = [json.loads(line) for line in (folder / "broken" / "metrics.jsonl").read_text().splitlines()]
    assert [line["kind"] for line in told][:3] == ["train", "rollback", "rollback"]
