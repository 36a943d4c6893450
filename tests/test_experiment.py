"""An experiment: a recipe trained from nothing, scored, and its summary beside simple guesses."""

import json

import pytest
import small_run

from speechlm_jax import cli, experiment


@pytest.mark.slow
def test_a_recipe_becomes_a_summary_of_every_task_beside_a_guess(tmp_path, capsys):
    small_run.write(tmp_path)
    words = ["experiment", f"--gin_file={tmp_path}/recipe.gin", "--gin.experiment.run.pieces=460"]
    words += ["--gin.Recipe.evaluation=None", "--gin.Recipe.steps=2", "--max_examples=5"]
    assert cli.main(words) == 0
    table = capsys.readouterr().out
    found = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (found["step"], found["split"]) == (2, "test") and found["cpu_seconds"] > 0
    assert set(found["tasks"]) == {
        f"manifest_{name}" for name in ("recognition", "span_corruption", "masked_language_model")
    }
    heard, masked = found["tasks"]["manifest_recognition"], found["tasks"]["manifest_masked_language_model"]
    assert heard["metric"] == "ctc/wer" and heard["examples"] == 5 and 0 < heard["baseline"] <= 1
    assert heard["interval"][0] <= heard["score"] <= heard["interval"][1]
    assert masked["metric"] == "hits/masked_tokens" and 0 <= masked["baseline"] < 1
    assert all(name in table for name in found["tasks"])


def test_a_chinese_task_is_judged_by_its_characters():
    guesses = {"constant": {"wer": 0.9, "cer": 0.8}, "shallow": {}}
    scores = {"loss/ctc": 1.0, "wer": 0.5, "ctc/wer": 0.4, "ctc/cer": 0.1, "ctc/cer_low": 0.0, "guesses": guesses}
    english, chinese = (experiment._judged(f"recognition_{code}", scores) for code in ("en", "zh"))
    assert (english["metric"], english["score"], english["baseline"]) == ("ctc/wer", 0.4, 0.9)
    assert (chinese["metric"], chinese["score"], chinese["baseline"]) == ("ctc/cer", 0.1, 0.8)


def test_the_better_of_two_simple_methods_is_the_baseline():
    guesses = {"constant": {"accuracy": 0.5}, "shallow": {"accuracy": 0.7}}
    found = experiment._judged("mood", {"accuracy": 0.6, "guesses": guesses})
    assert found["baseline"] == 0.7 and found["baselines"] == {"constant": 0.5, "shallow": 0.7}


def test_without_a_vocabulary_and_its_size_nothing_begins(tmp_path, capsys):
    small_run.write(tmp_path)
    assert cli.main(["experiment", f"--gin_file={tmp_path}/recipe.gin"]) == 2
    assert "vocabulary" in capsys.readouterr().err and not (tmp_path / "run").exists()
