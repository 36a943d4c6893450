"""Tests of metrics of question answering."""

import inspect

import pytest
import scores_alike

from speechlm_jax import answer_metrics, metrics


def exact(target, prediction) -> float:
    return answer_metrics.exact_match([target], [prediction])["exact_match"]


def f1(target, prediction) -> float:
    return answer_metrics.f1([target], [prediction])["f1"]


@pytest.mark.parametrize(
    ("target", "prediction", "is_exact", "share"),
    [
        ("Denver Broncos", "the Denver Broncos!", 1, 1),
        ("a golden salute to the Golden State", "golden", 0, 2 / 6),
        ("the 1990s", "in the 1990s", 0, 2 * (1 / 2) * 1 / (1 / 2 + 1)),
        ("New York City", "York New", 0, 4 / 5),
        ("gold gold silver", "gold gold gold", 0, 2 / 3),
        ("an anthem", "Anthem", 1, 1),
        ("co-operate", "cooperate", 1, 1),
        ("café", "cafe", 0, 0),
        ("Paris", "London", 0, 0),
        ("Paris", "", 0, 0),
        ("", "Paris", 0, 0),
        ("", "the", 1, 1),
    ],
)
def test_english_answers_are_compared_as_squad_does(target, prediction, is_exact, share):
    assert exact(target, prediction) == is_exact
    assert f1(target, prediction) == pytest.approx(share)


@pytest.mark.parametrize(
    ("target", "prediction", "is_exact", "share"),
    [
        ("北京大学", "北京大学。", 1, 1),
        ("《红楼梦》", "红楼梦", 1, 1),
        ("北京大学", "清华大学", 0, 2 * 2 / 8),
        ("1999年", "1999", 0, 2 * 1 / 3),
        ("使用 Java 语言", "使用java语言", 1, 1),
        ("Java语言", "Javascript语言", 0, 2 * 2 / 6),
        ("京都です", "京都でした", 0, 2 * 3 / 9),
        ("上海", "Shanghai", 0, 0),
        ("上海", "", 0, 0),
    ],
)
def test_chinese_answers_are_compared_by_characters(target, prediction, is_exact, share):
    assert exact(target, prediction) == is_exact
    assert f1(target, prediction) == pytest.approx(share)


def test_of_chinese_only_the_longest_common_run_counts():
    # The characters are the same four, in another order: two of them stand together in both.
    assert f1("北京大学", "大学北京") == 2 * 2 / 8
    assert f1("Bei Jing Da Xue", "Da Xue Bei Jing") == 1.0


def test_the_nearest_of_several_accepted_answers_counts():
    accepted = ["in 1871", "1871", "January 1871"]
    assert exact(accepted, "1871") == 1.0
    assert f1(accepted, "18 January 1871") == 4 / 5
    with pytest.raises(ValueError, match="found none in one"):
        exact([], "1871")


def test_scores_are_means_over_examples():
    targets, predictions = ["one", "two three", "four"], ["one", "two", "five"]
    assert answer_metrics.exact_match(targets, predictions) == {"exact_match": 1 / 3, "exact_match_examples": 3}
    assert answer_metrics.f1(targets, predictions) == {"f1": pytest.approx((1 + 2 / 3) / 3), "f1_examples": 3}


@pytest.mark.parametrize("metric", [answer_metrics.exact_match, answer_metrics.f1])
def test_a_bootstrap_by_sums_is_the_bootstrap_that_measures_each_resample(metric):
    targets = ["one", "two three", ["four", "five"], "六月", "seven eight nine"] * 3
    predictions = ["one", "two", "five", "七月", "seven nine"] * 3
    quick = metrics.bootstrapped(metric, resamples=40)(targets, predictions)
    slow = metrics.bootstrapped(lambda *both: metric(*both), resamples=40)(targets, predictions)
    scores_alike.check(quick, slow)
    name, score = metrics.first(quick)
    assert quick[f"{name}_low"] < score < quick[f"{name}_high"]


@pytest.mark.parametrize("metric", [answer_metrics.exact_match, answer_metrics.f1])
def test_metrics_have_the_signature_that_seqio_asks_for_and_refuse_lists_that_do_not_match(metric):
    assert list(inspect.signature(metric).parameters) == ["targets", "predictions"]
    with pytest.raises(ValueError, match="found 1 predictions and 2 targets"):
        metric(["a", "b"], ["a"])
