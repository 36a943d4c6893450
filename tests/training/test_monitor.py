"""What a run tells, and what is left of it after a restart."""

import json
import math

import jax.numpy as jnp
import numpy as np
import pytest

from speechlm_jax.training import metric_lines, monitor, step

NAMES = {"heads": ["targets", "ctc"], "tasks": ["asr", "mt"], "coefficients": {"targets": 1.0, "ctc": 0.5}}
NUMBERS = {
    "loss": 1.25,
    "audio_seconds_per_second": 12.0,
    "tokens_per_second": 340.0,
    "data_wait_share": 0.25,
    "skipped_steps": 0.0,
    "steps_per_second": 2.0,
}


def _metrics(totals, weights, *, examples=(1, 1, 0), skipped=0):
    return step.Metrics(
        sums=step.Sums(
            totals=jnp.asarray(totals, jnp.float32),
            weights=jnp.asarray(weights, jnp.float32),
            examples=jnp.asarray(examples, jnp.int32),
            audio_frames=jnp.array([2_000_000_000, 0, 0], jnp.int32),
            tokens=jnp.array([30, 20, 0], jnp.int32),
        ),
        gradient_norm=jnp.float32(0 if skipped else 3.0),
        parameter_norm=jnp.float32(0 if skipped else 7.0),
        learning_rate=jnp.float32(0.1),
        skipped=jnp.int32(skipped),
    )


def _lines(folder):
    return [json.loads(line) for line in (folder / metric_lines.FILE).read_text().splitlines()]


def test_means_over_steps_are_weighted_and_divided_once():
    steps = [
        _metrics([[4, 0, 0], [0, 0, 0]], [[2, 0, 0], [0, 0, 0]], examples=(3, 0, 0)),
        _metrics([[2, 9, 0], [6, 0, 0]], [[4, 3, 0], [2, 0, 0]], examples=(1, 4, 0)),
    ]
    told = monitor.summarise(steps, seconds=4.0, data_wait_seconds=1.0, **NAMES)
    wanted = {
        "loss/targets": 15 / 9,
        "loss/targets/asr": 1.0,
        "loss/targets/mt": 3.0,
        "loss/ctc": 3.0,
        "loss/ctc/asr": 3.0,
        "loss": 15 / 9 + 1.5,
        "share/asr": 0.5,
        "share/mt": 0.5,
        "seconds/asr": 4e7,
        "tokens/asr": 60.0,
        "tokens/mt": 40.0,
        "gradient_norm": 3.0,
        "parameter_norm": 7.0,
        "skipped_steps": 0.0,
        "steps_per_second": 0.5,
        "audio_seconds_per_second": 1e7,
        "tokens_per_second": 25.0,
        "examples_per_second": 2.0,
        "data_wait_share": 0.25,
    }
    assert "loss/ctc/mt" not in told
    np.testing.assert_allclose([told[name] for name in wanted], list(wanted.values()), rtol=1e-6)


def test_the_use_of_codes_is_told_of_each_codebook_and_of_the_least_used():
    one = _metrics(np.zeros((2, 3)), np.zeros((2, 3)))
    one = one._replace(sums=one.sums._replace(codes=jnp.array([[3, 3, 0], [6, 0, 0]], jnp.int32)))
    told = monitor.summarise([one, one], seconds=1.0, **NAMES)
    assert told["code_perplexity/0"] == pytest.approx(2.0)
    assert told["code_perplexity/1"] == told["code_perplexity"] == pytest.approx(1.0)


def test_skipped_steps_are_counted_and_weigh_nothing():
    nothing = np.zeros((2, 3))
    steps = [_metrics(nothing, nothing, examples=(0, 0, 0), skipped=1), _metrics([[4, 0, 0]] * 2, [[2, 0, 0]] * 2)]
    told = monitor.summarise(steps, seconds=1.0, **NAMES)
    assert (told["loss/targets"], told["skipped_steps"], told["gradient_norm"]) == (2.0, 1.0, 3.0)
    assert math.isnan(monitor.summarise(steps[:1], seconds=1.0, **NAMES)["loss"])


def test_small_losses_are_not_lost_beside_large_sums():
    large, small = (_metrics(np.full((2, 3), total), np.ones((2, 3))).sums for total in (2.0**24, 1.0))
    assert float(monitor.total([large, small]).totals[0, 0]) == 2**24 + 1
    assert monitor.total([large] * 2).audio_frames.sum() == 4_000_000_000


def test_more_tasks_than_slots_are_refused():
    with pytest.raises(ValueError, match=r"4 tasks do not fit in 3 slots\. Set Recipe\.task_slots"):
        monitor.summarise(
            [_metrics(np.ones((2, 3)), np.ones((2, 3)))], seconds=1.0, **NAMES | {"tasks": ["a", "b", "c", "d"]}
        )


def test_a_line_is_on_disk_as_soon_as_it_is_written(tmp_path):
    watcher = monitor.Monitor(tmp_path / "run", start=0, steps=10)
    watcher.write(5, {"loss": 1.5, "gradient_norm": math.inf})
    watcher.write(5, {"wer": 0.25}, kind="evaluation")
    assert _lines(tmp_path / "run") == [
        {"step": 5, "kind": "train", "loss": 1.5, "gradient_norm": None},
        {"step": 5, "kind": "evaluation", "wer": 0.25},
    ]
    watcher.close()
    watcher.close()


def test_a_restart_keeps_lines_up_to_the_restored_step_and_drops_torn_ones(tmp_path):
    watcher = monitor.Monitor(tmp_path, start=0, steps=10)
    for number in (2, 4, 6):
        watcher.write(number, {"loss": number})
    watcher.close()
    with (tmp_path / metric_lines.FILE).open("a") as file:
        file.write('{"step": 3, "lo')
    watcher = monitor.Monitor(tmp_path, start=4, steps=10)
    watcher.write(6, {"loss": 60})
    watcher.close()
    assert [(line["step"], line["loss"]) for line in _lines(tmp_path)] == [(2, 2), (4, 4), (6, 60)]
    assert [entry.name for entry in tmp_path.iterdir()] == [metric_lines.FILE]


def test_away_from_a_terminal_progress_is_a_plain_line(tmp_path, capsys):
    watcher = monitor.Monitor(tmp_path, start=0, steps=7400)
    watcher.advance()
    watcher.show(20, NUMBERS, 15)
    watcher.close()
    line = "step 20/7400  loss 1.2500  audio s/s 12.0  tokens/s 340  waiting 25%  saved 15  left 1:01:30\n"
    assert capsys.readouterr().err == line


def test_where_the_peak_of_devices_is_known_the_line_has_their_utilisation(tmp_path, capsys):
    watcher = monitor.Monitor(tmp_path, start=0, steps=40)
    watcher.show(20, NUMBERS | {"mfu": 0.4321})
    watcher.close()
    assert "waiting 25%  mfu 43.2%  left" in capsys.readouterr().err


DRAWN = {"share/asr": 0.5, "share/mt": 0.5, "loss": 1.0, "loss/targets": 1.0, "loss/targets/asr": 1.0}


def test_a_task_that_no_head_reads_is_told_of():
    remarks = monitor.Remarks(NAMES["heads"])
    (remark,) = remarks.of(DRAWN)
    assert "mt" in remark and "targets, ctc" in remark and "asr" not in remark
    assert not remarks.of(DRAWN)
    # Neither a line in which that task stands alone, nor one of skipped steps, which has drawn nothing, ends the run.
    assert not remarks.of({"share/asr": 0.0, "share/mt": 1.0, "loss": math.nan})
    assert not remarks.of({"share/asr": 0.0, "share/mt": 0.0, "loss": math.nan})
    assert not monitor.Remarks(NAMES["heads"]).of(DRAWN | {"loss/ctc/mt": 2.0})


def test_a_run_that_learns_nothing_ends():
    remarks = monitor.Remarks(NAMES["heads"])
    assert len(remarks.of({"share/asr": 0.0, "share/mt": 1.0, "loss": math.nan})) == 1
    with pytest.raises(ValueError, match=r"training on asr, mt: .* found none for targets, ctc\. Name the head"):
        remarks.of({"share/asr": 1.0, "share/mt": 0.0, "loss": math.nan})


@pytest.mark.parametrize(("perplexity", "remarks"), [(1.5, 1), (200.0, 0)])
def test_codes_that_collapse_are_told_of(perplexity, remarks):
    assert len(monitor.Remarks(NAMES["heads"]).of({"code_perplexity": perplexity})) == remarks


def test_a_spike_stands_far_above_what_is_usual_and_is_not_learned_from():
    random = np.random.default_rng(0)
    spikes = monitor.Spikes()
    assert spikes.of([100.0, *random.normal(2, 0.1, 39)], last=40) == []  # Nothing is known yet.
    (told,) = spikes.of([2.1, 9.0, math.nan, 2.0], last=44)
    assert told.startswith("loss 9 at step 42, usually ")
    assert float(told.rpartition(" ")[2]) == pytest.approx(2, abs=0.05)
    assert len(spikes.of([9.0] * 3, last=47)) == 3
    assert spikes.of([*random.normal(2, 0.1, 100), 0.1], last=148) == []  # Below is no spike.


def test_the_loss_of_each_step_is_that_of_a_line_of_it_alone():
    steps = [
        _metrics([[4, 0, 0], [0, 0, 0]], [[2, 0, 0], [0, 0, 0]]),
        _metrics([[2, 9, 0], [6, 0, 0]], [[4, 3, 0], [2, 0, 0]]),
        _metrics([[0] * 3] * 2, [[0] * 3] * 2, skipped=1),
    ]
    alone = [monitor.summarise([one], seconds=1.0, **NAMES)["loss"] for one in steps]
    found = monitor.step_losses(steps, coefficients=NAMES["coefficients"], heads=NAMES["heads"])
    assert found == pytest.approx(alone, nan_ok=True)


def test_scores_are_those_of_evaluations(tmp_path):
    writer = monitor.Monitor(tmp_path, start=0, steps=10)
    writer.write(1, {"a/wer": 9.0})
    for number, wer in ((2, 0.5), (4, 0.25), (6, math.nan)):
        writer.write(number, {"a/wer": wer}, kind="evaluation")
    writer.close()
    assert metric_lines.scores(tmp_path, "a/wer") == {2: 0.5, 4: 0.25}
    assert metric_lines.scores(tmp_path / "none", "a/wer") == {}


def test_going_back_cuts_off_what_is_later(tmp_path):
    writer = monitor.Monitor(tmp_path, start=0, steps=10)
    for number in range(1, 6):
        writer.write(number, {"loss": float(number)})
    writer.go_back(2)
    writer.write(2, {"from": 5.0}, kind="rollback")
    writer.close()
    lines = _lines(tmp_path)
    assert [(line["step"], line["kind"]) for line in lines] == [(1, "train"), (2, "train"), (2, "rollback")]
