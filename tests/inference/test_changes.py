"""Two sets of scores side by side: what differs by more than the choice of examples would make it."""

import json

import numpy as np
import pytest

from speechlm_jax import cli, metrics
from speechlm_jax.inference import changes

VERSIONS = {"jiwer": "4"}


def scores(targets, predictions, examples="same"):
    return {**metrics.bootstrapped(metrics.wer)(targets, predictions), metrics.EXAMPLES: examples}


def told(folder, name, tasks, split="test", versions=VERSIONS):
    """The path of a file of scores."""
    path = folder / f"{name}.json"
    found = {"checkpoint": f"runs/{name}", "step": 3, "split": split, "versions": versions, "scores": tasks}
    path.write_text(json.dumps(found))
    return str(path)


def two_models(random, examples=200, better=0.0):
    """Texts of ten words, and what two models make of them: easy and hard ones alike for both."""
    targets = [" ".join(["word"] * 10)] * examples
    hard = random.beta(1, 2, examples)
    both = []
    for share in (hard, hard * (1 - better)):
        wrong = random.random((examples, 10)) < share[:, None]
        both.append([" ".join("no" if one else "word" for one in row) for row in wrong])
    return targets, *both


def test_the_interval_of_a_change_is_that_of_differences_of_the_same_examples():
    targets, first, second = two_models(np.random.default_rng(0), better=0.1)
    before, after = scores(targets, first), scores(targets, second)
    found = changes.of(before, after)["wer"]
    errors = [np.array([text.split().count("no") for text in texts]) for texts in (first, second)]
    random, drawn = np.random.default_rng(0), []
    for _ in range(1000):
        places = random.integers(200, size=200)
        drawn.append((errors[1][places].sum() - errors[0][places].sum()) / 2000)
    np.testing.assert_allclose([found["low"], found["high"]], np.quantile(drawn, [0.025, 0.975]), atol=1e-6)
    # The intervals of both overlap: what makes an example hard, makes it so for both.
    assert before["wer_low"] < after["wer_high"] and found["high"] < 0 and found["apart"]
    assert changes.of(before, {**after, metrics.EXAMPLES: "other"})["wer"]["low"] is None
    assert not changes.of(before, {**after, metrics.EXAMPLES: "other"})["wer"]["apart"]


def test_models_that_are_as_good_are_told_apart_in_one_of_twenty_cases():
    random, apart = np.random.default_rng(1), []
    metric = metrics.bootstrapped(metrics.wer, resamples=200)
    for _ in range(120):
        targets, *both = two_models(random, examples=60)
        before, after = ({**metric(targets, texts), metrics.EXAMPLES: "same"} for texts in both)
        apart.append(changes.of(before, after)["wer"]["apart"])
    assert 0 < np.mean(apart) < 0.12


def test_two_files_are_compared(tmp_path, capsys):
    targets, first, second = two_models(np.random.default_rng(2), better=0.3)
    before = told(tmp_path, "old", {"heard": scores(targets, first), "gone": {"not_scored": "no room"}})
    after = told(
        tmp_path,
        "new",
        {"heard": scores(targets, second), "gone": {"wer": 0.5}, "more": {"wer": 0.1}},
        versions={"jiwer": "5"},
    )
    assert cli.main(["compare", before, after, f"--json={tmp_path}/found.json"]) == 0
    out = capsys.readouterr().out
    found = json.loads((tmp_path / "found.json").read_text())["change"]
    assert found["heard"]["wer"]["apart"] and found["heard"]["wer"]["high"] < 0
    assert found["gone"]["wer"] == {"before": None, "after": 0.5, "change": None, "low": None, "high": None} | {
        "worse": "up",
        "apart": None,
    }
    (line,) = (line for line in out.splitlines() if line.startswith("heard "))
    assert line.endswith("*") and f"{found['heard']['wer']['low']:+.4f}" in line
    for words in (
        "step 3 of runs/old, test",
        "only after scores more",
        "not scored before: gone: no room",
        "jiwer was 4",
    ):
        assert words in out


def test_other_examples_are_no_pairs(tmp_path, capsys):
    targets, first, second = two_models(np.random.default_rng(2))
    before = told(tmp_path, "old", {"heard": scores(targets, first)})
    after = told(tmp_path, "new", {"heard": scores(targets, second, examples="other")})
    assert cli.main(["compare", before, after]) == 0
    assert "heard: other examples were scored" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (None, "No such file"),
        ("{", "Name a file that `speechlm evaluate --json` has written"),
        ("[1]", "found something else"),
        ('{"before": {}, "after": {}}', "without --before, found something else (no split)"),
        ('{"split": "test", "step": 1, "checkpoint": "run", "versions": {}, "scores": {"heard": 1}}', "something else"),
        (
            '{"split": "dev", "step": 1, "checkpoint": "run", "versions": {}, "scores": {"heard": {}}}',
            "the split 'dev'",
        ),
        ('{"split": "test", "step": 1, "checkpoint": "run", "versions": {}, "scores": {"read": {}}}', "share no task"),
    ],
)
def test_what_holds_no_scores_is_refused_in_a_line(tmp_path, capsys, text, wrong):
    other = told(tmp_path, "other", {"heard": {"wer": 0.5}})
    if text is not None:
        (tmp_path / "one.json").write_text(text)
    assert cli.main(["compare", f"{tmp_path}/one.json", other]) == 2
    error = capsys.readouterr().err
    assert wrong in error and "Traceback" not in error and len(error.splitlines()) == 1
