"""Tests of metrics of classification."""

import inspect

import numpy as np
import pytest
import scores_alike
import sklearn.metrics

from speechlm_jax import label_metrics, metrics

LABELS = ("negative", "neutral", "positive", "no opinion")


def guesses(examples: int = 300, labels: tuple[str, ...] = LABELS) -> tuple[list[str], list[str]]:
    """Targets of an uneven spread, and predictions that are right half of the time."""
    random = np.random.default_rng(1)
    targets = random.choice(labels, examples, p=np.arange(1, len(labels) + 1) / sum(range(1, len(labels) + 1)))
    predictions = np.where(random.random(examples) < 0.5, targets, random.choice(labels, examples))
    return targets.tolist(), predictions.tolist()


def test_accuracy_and_macro_f1_are_those_of_scikit_learn():
    targets, predictions = guesses()
    predictions[7] = "a label that no target has"
    assert label_metrics.accuracy(targets, predictions) == {
        "accuracy": pytest.approx(sklearn.metrics.accuracy_score(targets, predictions)),
        "accuracy_examples": 300,
    }
    assert label_metrics.macro_f1(targets, predictions) == {
        "macro_f1": pytest.approx(sklearn.metrics.f1_score(targets, predictions, average="macro", zero_division=0)),
        "macro_f1_labels": 5,
    }


def test_macro_f1_is_that_of_a_hand_worked_case():
    # yes: 1 hit, 2 wanted, 2 found; no: 0 hits, 1 wanted, 1 found; perhaps: never found.
    found = label_metrics.macro_f1(["yes", "yes", "no", "perhaps"], ["yes", "no", "yes", ""])
    assert found == {"macro_f1": pytest.approx((1 / 2 + 0 + 0) / 3), "macro_f1_labels": 3}


def test_unweighted_average_recall_is_the_balanced_accuracy_of_scikit_learn():
    targets, predictions = guesses()
    predictions[3:9] = ["", "nonsense", *predictions[5:9]]
    coded = [label if label in LABELS else "no label" for label in predictions]
    wanted = sklearn.metrics.recall_score(targets, coded, labels=LABELS, average="macro")
    for metric in (
        label_metrics.unweighted_average_recall,
        label_metrics.in_label_set(label_metrics.unweighted_average_recall, *LABELS),
    ):
        found = metric(targets, predictions)
        assert found["unweighted_average_recall"] == pytest.approx(wanted)
        assert found["unweighted_average_recall_labels"] == 4


def test_each_label_weighs_the_same_in_unweighted_average_recall():
    # yes: 1 of 3 found, no: all of 1.
    found = label_metrics.unweighted_average_recall(["yes", "yes", "yes", "no"], ["yes", "no", "", "no"])
    assert found["unweighted_average_recall"] == pytest.approx((1 / 3 + 1) / 2)


def test_stray_white_space_is_not_of_the_label_and_case_is():
    assert label_metrics.accuracy(["no opinion", "yes"], [" no  opinion\n", "Yes"])["accuracy"] == 0.5
    assert label_metrics.macro_f1(["no opinion"], ["no opinion "]) == {"macro_f1": 1.0, "macro_f1_labels": 1}


def test_predictions_outside_a_label_set_are_wrong_and_no_labels():
    targets, predictions = guesses()
    predictions[3:9] = [f"nonsense {i}" for i in range(6)]
    within = label_metrics.in_label_set(label_metrics.macro_f1, *LABELS)(targets, predictions)
    wanted = sklearn.metrics.f1_score(targets, predictions, labels=LABELS, average="macro")
    assert within == {"macro_f1": pytest.approx(wanted), "macro_f1_labels": 4, "macro_f1_outside": 6}
    assert label_metrics.macro_f1(targets, predictions)["macro_f1_labels"] == 10
    within = label_metrics.in_label_set(label_metrics.accuracy, *LABELS)(targets, predictions)
    assert within == {**label_metrics.accuracy(targets, predictions), "accuracy_outside": 6}


def test_a_target_outside_its_label_set_is_an_error():
    metric = label_metrics.in_label_set(label_metrics.accuracy, "yes", "no")
    with pytest.raises(ValueError, match=r"label set \['no', 'yes'\], found \['maybe'\]"):
        metric(["yes", "maybe"], ["yes", "no"])
    for names in ((), ("yes", " ")):
        with pytest.raises(ValueError, match="at least one label"):
            label_metrics.in_label_set(label_metrics.accuracy, *names)


def test_the_area_under_the_curve_is_that_of_scikit_learn():
    random = np.random.default_rng(2)
    targets = random.random(400) < 0.3
    for scores in (random.normal(targets, 1.0), random.integers(0, 5, 400) + targets, np.zeros(400)):
        found = label_metrics.auc(targets, scores)
        assert found == {
            "auc": pytest.approx(sklearn.metrics.roc_auc_score(targets, scores)),
            "auc_positives": int(targets.sum()),
            "auc_negatives": int((~targets).sum()),
        }


def test_the_area_is_the_share_of_pairs_in_order():
    # Of the six pairs of a 1 and a 0, four stand in order and one ties.
    assert label_metrics.auc([1, 1, 0, 0, 0], [0.9, 0.4, 0.4, 0.6, 0.1])["auc"] == 4.5 / 6
    assert label_metrics.auc([0, 1], [-np.inf, np.inf])["auc"] == 1.0


def test_one_class_has_no_area():
    assert np.isnan(label_metrics.auc([1, 1], [0.1, 0.2])["auc"])
    found = metrics.bootstrapped(label_metrics.auc)([1, 0], [0.1, 0.2])
    assert (found["auc"], found["auc_low"], found["auc_high"]) == (0.0, 0.0, 0.0)


def test_targets_that_are_not_binary_and_scores_that_are_none_are_errors():
    with pytest.raises(ValueError, match=r"targets \[1, 2\]"):
        label_metrics.auc([1, 2], [0.1, 0.2])
    with pytest.raises(ValueError, match="1 scores that are NaN"):
        label_metrics.auc([1, 0], [0.1, np.nan])
    with pytest.raises(ValueError, match="found 1 predictions and 2 targets"):
        label_metrics.auc([1, 0], [0.1])


def test_the_area_of_a_label_takes_scores_or_texts():
    metric = label_metrics.auc_for("keyword")
    targets = ["keyword", "other", "keyword", "nothing"]
    assert metric(targets, [0.9, 0.2, 0.1, 0.0])["auc"] == label_metrics.auc([1, 0, 1, 0], [0.9, 0.2, 0.1, 0.0])["auc"]
    assert metric(targets, ["keyword", "keyword", "keyword ", "other"])["auc"] == 3 / 4


@pytest.mark.parametrize(
    "metric",
    [
        label_metrics.accuracy,
        label_metrics.macro_f1,
        label_metrics.in_label_set(label_metrics.macro_f1, *LABELS),
        label_metrics.unweighted_average_recall,
        label_metrics.auc_for("positive"),
    ],
)
def test_a_bootstrap_by_counts_is_the_bootstrap_that_measures_each_resample(metric):
    targets, predictions = guesses(40)
    predictions[2] = ""
    quick = metrics.bootstrapped(metric, resamples=40)(targets, predictions)
    slow = metrics.bootstrapped(lambda *both: metric(*both), resamples=40)(targets, predictions)
    scores_alike.check(quick, slow)
    name, score = metrics.first(quick)
    assert quick[f"{name}_low"] < score < quick[f"{name}_high"]


def test_metrics_have_the_signature_that_seqio_asks_for():
    within = label_metrics.in_label_set(label_metrics.accuracy, "yes")
    for metric in (label_metrics.accuracy, label_metrics.macro_f1, within, label_metrics.auc_for("yes")):
        assert list(inspect.signature(metric).parameters) == ["targets", "predictions"]
    with pytest.raises(ValueError, match="found 1 predictions and 2 targets"):
        label_metrics.macro_f1(["a", "b"], ["a"])


def test_likelihoods_of_the_target_rank_like_probabilities_of_one_label():
    probabilities, truth = [0.9, 0.2, 0.6, 0.4], ["match", "mismatch", "mismatch", "match"]
    own = [p if t == "match" else 1 - p for p, t in zip(probabilities, truth, strict=True)]
    found = label_metrics.auc_by_likelihood("match")(targets=truth, scores=np.log(own).tolist())
    assert found["auc"] == label_metrics.auc([t == "match" for t in truth], probabilities)["auc"]
