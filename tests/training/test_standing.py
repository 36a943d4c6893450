"""Where a run stands, read from files that it may be writing."""

import json

import pytest
import run_folder

from speechlm_jax import cli
from speechlm_jax.training import standing


def test_a_run_that_goes_on_says_how_long_it_will_take(tmp_path):
    run_folder.write(tmp_path)
    found = standing.of(tmp_path, now=1005.0)
    assert (found.state, found.step, found.steps) == ("goes on", 20, 40)
    assert found.eta_seconds == pytest.approx(20 / 0.5) and found.silent_seconds == pytest.approx(5.0)
    assert found.losses == {"loss": 2.5, "loss/ctc": 1.5} and found.rates["data_wait_share"] == 0.25
    assert (found.skipped_steps, found.bad_records, found.checkpoints) == (2, 3, [10, 20])
    assert found.checkpoint_seconds == pytest.approx(85.0) and found.goodput == pytest.approx(0.8)
    assert found.evaluations == {"step": 20, "heard/wer": 0.25, "heard/wer_words": 8}


@pytest.mark.parametrize(
    ("told", "now", "state"),
    [
        ({}, 1000.0 + standing.QUIET_SECONDS + 1, "is silent"),
        ({"ended": True}, 9000.0, "stopped"),
        ({"step": 40, "ended": True}, 9000.0, "is done"),
        ({"step": 40}, 1001.0, "goes on"),
    ],
)
def test_what_a_run_does_is_seen_by_what_it_wrote(tmp_path, told, now, state):
    run_folder.write(tmp_path, **told)
    assert standing.of(tmp_path, now).state == state


def test_what_takes_long_without_a_step_is_no_silence(tmp_path, capsys):
    run_folder.write(tmp_path)
    book = tmp_path / "ledger.jsonl"
    line = {"life": 100.0, "from": 150.0, "to": 150.0, "step": 20, "phase": "evaluation", "seconds": {}}
    book.write_text(book.read_text() + json.dumps(line) + "\n")
    now = book.stat().st_mtime
    found = standing.of(tmp_path, now + 10 * standing.QUIET_SECONDS)
    assert (found.state, found.phase) == ("goes on", "evaluation")
    assert standing.of(tmp_path, now + 7300).state == "is silent"
    assert cli.main(["status", str(tmp_path)]) == 0
    assert "goes on (evaluation): step 20 of 40" in capsys.readouterr().out


def test_bad_records_of_all_lives_are_counted(tmp_path):
    run_folder.write(tmp_path)
    lines = [{"step": at, "kind": "train", "bad_records": float(bad)} for at, bad in ((1, 4), (2, 6), (3, 0), (4, 5))]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert standing.of(tmp_path, 1001.0).bad_records == 11


def test_a_run_that_was_stopped_before_its_last_scores_is_not_done(tmp_path):
    run_folder.write(tmp_path, step=40, ended=True)
    recipe = (tmp_path / "recipe.gin").read_text()
    (tmp_path / "recipe.gin").write_text(
        recipe.replace("  steps = 40\n", "  steps = 40\n  evaluation = @Evaluation()\n")
    )
    assert standing.of(tmp_path, 9000.0).state == "is done"
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "metrics.jsonl").write_text("".join(line for line in lines if '"evaluation"' not in line))
    assert standing.of(tmp_path, 9000.0).state == "stopped"


def test_a_run_that_has_just_begun_has_little_to_tell(tmp_path, capsys):
    (tmp_path / "recipe.gin").write_text(run_folder.RECIPE)
    found = standing.of(tmp_path, now=5.0)
    assert (found.state, found.step, found.steps, found.eta_seconds) == ("begins", 0, 40, None)
    assert cli.main(["status", str(tmp_path)]) == 0
    assert "begins: step 0 of 40" in capsys.readouterr().out


def test_people_and_programs_read_the_same(tmp_path, capsys):
    run_folder.write(tmp_path)
    assert cli.main(["status", str(tmp_path), "--json=-"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["state"], told["step"], told["losses"]["loss/ctc"]) == ("is silent", 20, 1.5)
    assert cli.main(["status", str(tmp_path), f"--json={tmp_path}/told.json"]) == 0
    out = capsys.readouterr().out
    for words in ("is silent: step 20 of 40", "loss 2.5000", "25% waiting for data", "last checkpoint: step 20"):
        assert words in out
    assert "40.0% of the devices' peak" in out
    assert "steps skipped: 2  bad records: 3" in out and "heard/wer 0.2500" in out and "wer_words" not in out
    assert json.loads((tmp_path / "told.json").read_text())["steps"] == 40


def test_where_there_is_no_run_it_is_said(tmp_path, capsys):
    assert cli.main(["status", str(tmp_path / "none")]) == 2
    error = capsys.readouterr().err
    assert "Name a run's folder" in error and len(error.splitlines()) == 1
