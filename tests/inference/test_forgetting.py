"""What a finetuning has cost: two checkpoints scored alike, and a table that says which way is worse."""

import json
import pathlib

import pytest
import small_run
import warm

from speechlm_jax import cli
from speechlm_jax.inference import changes, scoring


def test_a_score_is_told_and_not_what_stands_beside_it():
    scores = {
        "loss/targets": 1.0,
        "loss/target_audio": 2.0,
        "hits/targets": 0.5,
        "skipped": 0,
        "examples": 9,
        "cut_off": 1,
        "wer": 0.2,
        "wer_errors": 2,
        "wer_words": 10,
        "wer_low": 0.1,
        "wer_high": 0.3,
        "wer_normalized": 0.1,
        "wer_normalized_low": 0.0,
        "wer_normalized_high": 0.2,
        "f1": 0.7,
        "f1_examples": 9,
        "ctc/wer": 0.4,
        "ctc/wer_words": 10,
        "samples": [{"id": "a"}],
        "wer_normalizer": "whisper",
    }
    wanted = ["loss/targets", "loss/target_audio", "hits/targets", "wer", "wer_normalized", "f1", "ctc/wer"]
    assert list(changes.of(scores, scores)) == wanted


@pytest.mark.parametrize(
    ("metric", "worse"),
    [
        *[(metric, "up") for metric in ("wer", "ctc/cer", "wer_normalized", "loss/targets", "perplexity")],
        *[(metric, "up") for metric in ("mel_cepstral_distortion", "two_step/wer")],
        *[(metric, "down") for metric in ("bleu", "accuracy", "hits/masked_tokens", "yes_no/exact_match", "f1")],
        ("duration_ratio", ""),
    ],
)
def test_every_metric_says_which_way_is_worse(metric, worse):
    assert changes.of({metric: 1.0}, {metric: 1.0})[metric]["worse"] == worse


@pytest.mark.parametrize(("low", "high", "apart"), [(0.0, 0.1, True), (0.1, 0.25, False), (0.5, 0.6, True)])
def test_intervals_that_do_not_overlap_are_marked(low, high, apart):
    before = {"wer": 0.3, "wer_low": 0.2, "wer_high": 0.4, "loss/ctc": 1.0}
    after = {"wer": (low + high) / 2, "wer_low": low, "wer_high": high, "loss/ctc": 1.5}
    change = changes.of(before, after)
    assert change["wer"]["apart"] is apart and change["loss/ctc"]["apart"] is None
    assert change["loss/ctc"]["change"] == pytest.approx(0.5)
    marked = [line for line in changes.table({"task": change}).splitlines() if line.startswith("task ")]
    assert [line.endswith("*") for line in marked] == [False, apart, False]


def test_no_records_are_no_scores():
    with pytest.raises(ValueError, match=r"wanted a record of each task or more, found --max_examples=-1"):
        scoring.Examples(names=[], split="test", limit=-1)


def test_nothing_to_compare_is_an_error():
    scoring.check_scored("run", {"one": {"not_scored": "no room"}, "other": {"wer": 0.5}})
    with pytest.raises(ValueError, match=r"scoring run: no task could be scored\. one: no room"):
        scoring.check_scored("run", {"one": {"not_scored": "no room"}})


def test_what_the_finetuned_model_cannot_do_has_no_change():
    change = changes.of({"mel_cepstral_distortion": 7.0}, {"not_scored": "no room"})
    (told,) = change.values()
    assert told["before"] == 7.0 and told["after"] is None and told["change"] is None
    (_, line, _) = changes.table({"text_to_speech": change}).splitlines()
    assert line.split() == ["text_to_speech", "mel_cepstral_distortion", "7.0000", "-", "-", "up"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    """A pretrained run, and one finetuned on recognition alone, without the pretraining's loss of masked tokens."""
    made = tmp_path_factory.mktemp("run")
    small_run.write(made)
    recipe = f"--gin_file={made}/recipe.gin"
    tuning = [
        *("--gin.Stream.mixture=manifest_recognition", "--gin.Recipe.run_dir=" + str(made / "tuned")),
        *("--gin.Recipe.finetune=@Finetune()", f"--gin.Finetune.checkpoint={made}/run"),
        "--gin.Losses.coefficients=(('targets', 1.0), ('ctc', 1.0))",
    ]
    short = ["--gin.Recipe.steps=2", "--gin.Recipe.evaluation=None"]
    assert cli.main(["data", recipe, "--train_vocabulary=460"]) == 0
    assert cli.main(["train", recipe, *short]) == 0
    assert cli.main(["train", recipe, *short, *tuning]) == 0
    return made


@pytest.mark.slow
def test_a_finetuned_model_is_scored_on_all_that_it_was_pretrained_on(folder, capsys):
    alone, both = folder / "alone.json", folder / "both.json"
    words = ["evaluate", "--split=test"]
    assert cli.main([*words, f"--checkpoint={folder}/run", "--task=manifest", f"--json={alone}"]) == 0
    capsys.readouterr()
    words = [*words, f"--checkpoint={folder}/tuned", f"--before={folder}/run", f"--json={both}"]
    assert cli.main(words) == 0
    out, found, plain = capsys.readouterr().out, json.loads(both.read_text()), json.loads(alone.read_text())
    assert list(plain) == ["checkpoint", "step", "split", "recipe", "decoding", "versions", "scores", "seconds"]
    # Before is what evaluating that checkpoint alone says; after has the same metrics of the same examples.
    assert found["before"] == {name: value for name, value in plain.items() if name != "seconds"}
    assert found["after"]["checkpoint"] == str(folder / "tuned" / "checkpoints" / "2")
    for task, scores in found["before"]["scores"].items():
        after = found["after"]["scores"][task]
        assert after.keys() == scores.keys() and after.get("examples") == scores.get("examples")
    masked = found["change"]["manifest_masked_language_model"]["loss/masked_tokens"]
    assert masked["change"] == pytest.approx(masked["after"] - masked["before"]) and masked["change"] != 0
    assert found["change"]["manifest_recognition"]["loss/ctc"]["change"] < 0
    rows = [line.split()[:2] for line in out.splitlines()]
    assert all([task, metric] in rows for task, metrics in found["change"].items() for metric in metrics)


@pytest.mark.slow
def test_tasks_that_are_named_are_those_that_are_compared(folder):
    out = folder / "named.json"
    words = ["evaluate", "--split=test", f"--checkpoint={folder}/tuned", f"--before={folder}/run", f"--json={out}"]
    assert cli.main([*words, "--task=manifest_span_corruption", "--max_examples=3"]) == 0
    assert list(json.loads(out.read_text())["change"]) == ["manifest_span_corruption"]


@pytest.mark.slow
def test_checkpoints_of_two_vocabularies_are_not_compared(folder, tmp_path, capsys):
    small_run.write(tmp_path)
    recipe = f"--gin_file={tmp_path}/recipe.gin"
    assert cli.main(["data", recipe, "--train_vocabulary=450"]) == 0
    # A process has one vocabulary, and this one has that of the folder.
    train = ["train", recipe, "--gin.Recipe.steps=1", "--gin.Recipe.evaluation=None"]
    warm.run(*train)
    capsys.readouterr()
    assert cli.main(["evaluate", f"--checkpoint={folder}/tuned", f"--before={tmp_path}/run"]) == 2
    told = capsys.readouterr().err
    assert "wanted two checkpoints of one vocabulary" in told and "--before" in told and "Traceback" not in told
