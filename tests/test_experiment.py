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
    # What is done is scored as the recipe now has its test.
    lines = [json.loads(line) for line in (tmp_path / "manifest.jsonl").read_text().splitlines()]
    test = "".join(json.dumps(line) + "\n" for line in lines if line["split"] == "validation")
    (tmp_path / "test.jsonl").write_text(test.replace("validation", "test"))
    assert cli.main([*words, f"--gin.Manifest.test_path={tmp_path}/test.jsonl"]) == 0
    assert "has done its 2 steps" in capsys.readouterr().err
    again = json.loads((tmp_path / "run" / "summary.json").read_text())
    before, after = (found["tasks"]["manifest_recognition"]["scores"]["loss/ctc"] for found in (found, again))
    assert before != after
    anew = [*words, f"--gin.Recipe.run_dir={tmp_path}/anew", "--gin.Recipe.steps=1", "--max_examples=1"]
    assert cli.main(anew) == 0
    assert "vocabulary.model is there and is taken as it is" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--gin.Recipe.finetune=@Finetune()", "--gin.Finetune.checkpoint=nowhere"], "'nowhere' does not exist"),
        (["--recogniser=nowhere"], "'nowhere' does not exist"),
        (["--split=autumn"], "has no split 'autumn'"),
        (["--gin.Recipe.run_dir=''"], "wanted a folder for it, found none"),
        (["--gin.Evaluation.split='autumn'"], "choosing what is scored while training"),
    ],
)
def test_what_would_end_it_after_the_training_ends_it_before(tmp_path, capsys, words, told):
    small_run.write(tmp_path)
    words = ["experiment", f"--gin_file={tmp_path}/recipe.gin", "--gin.experiment.run.pieces=460", *words]
    assert cli.main(words) == 2
    assert told in capsys.readouterr().err
    assert not list(tmp_path.glob("run/checkpoints/*"))
    assert not (tmp_path / "vocabulary.model").exists()


@pytest.mark.parametrize(("text", "metric"), [("你好", "cer"), ("こんにちは", "cer"), ("hello there", "wer")])
def test_a_recording_in_east_asian_letters_is_judged_by_them(text, metric):
    scores = {"wer": 0.5, "cer": 0.1, "samples": [{"target": text}], "guesses": {"constant": {}, "shallow": {}}}
    assert experiment._judged(scores)["metric"] == metric


def test_what_is_heard_in_chinese_speech_is_judged_by_its_characters():
    guesses = {"constant": {"wer": 0.9, "cer": 0.8}, "shallow": {}}
    scores = {"loss/ctc": 1.0, "wer": 0.5, "ctc/wer": 0.4, "ctc/cer": 0.1, "ctc/cer_low": 0.0, "guesses": guesses}
    english, chinese = (experiment._judged({**scores, "samples": [{"target": text}]}) for text in ("hello", "你好"))
    assert (english["metric"], english["score"], english["baseline"]) == ("ctc/wer", 0.4, 0.9)
    assert (chinese["metric"], chinese["score"], chinese["baseline"]) == ("ctc/cer", 0.1, 0.8)


def test_the_better_of_two_simple_methods_is_the_baseline():
    guesses = {"constant": {"accuracy": 0.5}, "shallow": {"accuracy": 0.7}}
    found = experiment._judged({"accuracy": 0.6, "guesses": guesses})
    assert found["baseline"] == 0.7 and found["baselines"] == {"constant": 0.5, "shallow": 0.7}


def test_a_task_that_is_not_scored_says_why_and_leaves_the_others_their_lines():
    guesses = {"constant": {"accuracy": 0.5}, "shallow": {}}
    scores = {"mood": {"accuracy": 0.6, "guesses": guesses}, "speech": {"not_scored": "3 of 3 were skipped"}}
    judged = {name: experiment._judged(own) for name, own in scores.items()}
    _, mood, speech = experiment.table(judged).splitlines()
    assert "0.600" in mood and speech.split(maxsplit=1) == ["speech", "not scored: 3 of 3 were skipped"]


def test_numbers_that_only_count_are_no_score():
    assert "not_scored" in experiment._judged({"skipped": 0, "examples": 9, "cut_off": 2, "guesses": {}})


def test_without_a_vocabulary_and_its_size_nothing_begins(tmp_path, capsys):
    small_run.write(tmp_path)
    assert cli.main(["experiment", f"--gin_file={tmp_path}/recipe.gin"]) == 2
    assert "vocabulary" in capsys.readouterr().err and not (tmp_path / "run").exists()
