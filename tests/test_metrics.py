"""Tests of metrics."""

import importlib.metadata
import inspect

import numpy as np
import pytest
import scores_alike

from speechlm_jax import metrics


def levenshtein(target, prediction) -> int:
    """Plain dynamic programming."""
    row = list(range(len(prediction) + 1))
    for i, a in enumerate(target, 1):
        last, row[0] = row[0], i
        for j, b in enumerate(prediction, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (a != b))
    return row[-1]


def test_word_error_rate_is_that_of_hand_counted_cases():
    targets = ["the cat sat", "a b c d", "same words"]
    predictions = ["the bat sat down", "a d", "same  words "]
    assert metrics.wer(targets, predictions) == {"wer": 4 / 9, "wer_errors": 4, "wer_words": 9}


def test_a_rate_is_over_the_corpus_and_not_a_mean_of_rates():
    assert metrics.wer(["a", "b c d e"], ["x", "b c d e"])["wer"] == 1 / 5


def test_error_rates_may_exceed_one():
    assert metrics.wer(["one"], ["one and two more"])["wer"] == 3.0


def test_character_error_rate_counts_spaces_between_words():
    assert metrics.cer(["ab cd"], ["abcd"]) == {"cer": 1 / 5, "cer_errors": 1, "cer_characters": 5}


def test_chinese_is_counted_by_characters_whatever_the_spaces():
    assert metrics.cer(["今天天气好"], ["今天 天 汽好"]) == {"cer": 1 / 5, "cer_errors": 1, "cer_characters": 5}
    assert metrics.cer(["打开 app 吧"], ["打开app吧"])["cer"] == 0.0


def test_empty_targets_count_what_was_inserted():
    assert metrics.wer(["", "a b"], ["x y", "a b"]) == {"wer": 1.0, "wer_errors": 2, "wer_words": 2}
    assert metrics.cer([""], ["xyz"]) == {"cer": 1.0, "cer_errors": 3, "cer_characters": 0}
    assert metrics.wer(["", " "], ["", ""])["wer"] == 0.0
    assert metrics.wer(["a b"], [""])["wer"] == 1.0


def test_errors_of_each_example_equal_plain_edit_distances():
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(list("abcd"), random.integers(0, 12))) for _ in range(80)]
    errors, words = metrics.word_errors(texts[:40], texts[40:])
    assert words.tolist() == [len(text.split()) for text in texts[:40]]
    assert errors.tolist() == [levenshtein(a.split(), b.split()) for a, b in zip(texts[:40], texts[40:], strict=True)]
    errors, characters = metrics.character_errors(texts[:40], texts[40:])
    assert characters.tolist() == [len(text) for text in texts[:40]]
    assert errors.tolist() == [levenshtein(a, b) for a, b in zip(texts[:40], texts[40:], strict=True)]


def test_lists_that_do_not_match_are_errors():
    with pytest.raises(ValueError, match="found 1 predictions and 2 targets"):
        metrics.wer(["a", "b"], ["a"])
    with pytest.raises(ValueError, match="at least one"):
        metrics.cer([], [])
    with pytest.raises(ValueError, match="at least one"):
        metrics.bootstrapped(metrics.cer)([], [])


def test_token_accuracy_counts_places_of_the_target():
    assert metrics.token_accuracy([[5, 6, 7, 1], [8, 1]], [[5, 9, 7], [8, 1, 1]]) == {
        "token_accuracy": 4 / 6,
        "token_count": 6,
    }


def test_a_normalized_metric_says_by_which_normalizer():
    version = importlib.metadata.version("whisper-normalizer")
    english = metrics.normalized(metrics.wer)(["It's twenty one, Mr. Smith!"], ["IT IS 21, mister Smith"])
    assert english == {
        "wer_normalized": 0.0,
        "wer_normalized_errors": 0,
        "wer_normalized_words": 5,
        "wer_normalizer": f"whisper-normalizer {version} english",
    }
    german = metrics.normalized(metrics.cer, "de")(["Größe, Äpfel!"], ["größe. ÄPFEL"])
    assert german["cer_normalized"] == 0.0
    assert f"{version} basic" in german["cer_normalizer"]
    assert metrics.normalized(metrics.wer, "hi")(["नमस्ते"], ["नमसत"])["wer_normalized"] == 1.0


def test_metrics_have_the_signature_that_seqio_asks_for():
    wrapped = (metrics.normalized(metrics.wer), metrics.bootstrapped(metrics.wer))
    for metric in (metrics.wer, metrics.cer, metrics.token_accuracy, *wrapped):
        assert list(inspect.signature(metric).parameters) == ["targets", "predictions"]


def sentences(examples: int = 60) -> tuple[list[str], list[str]]:
    """Targets, and predictions with some of their words changed, dropped and doubled."""
    random = np.random.default_rng(7)
    targets = [" ".join(random.choice(list("abcdefgh"), random.integers(1, 15))) for _ in range(examples)]
    choices = ("{}", "{}", "{}", "x", "", "{} {}")
    predictions = [
        " ".join(str(random.choice(choices)).format(word, word) for word in target.split()) for target in targets
    ]
    return targets, predictions


@pytest.mark.parametrize("metric", [metrics.wer, metrics.cer, metrics.normalized(metrics.wer)])
def test_a_bootstrap_by_sums_is_the_bootstrap_that_measures_each_resample(metric):
    targets, predictions = sentences()

    def unknown(targets, predictions):
        return metric(targets, predictions)

    quick = metrics.bootstrapped(metric, resamples=40, seed=5)(targets, predictions)
    slow = metrics.bootstrapped(unknown, resamples=40, seed=5)(targets, predictions)
    name, score = metrics.first(quick)
    assert quick[f"{name}_low"] < score < quick[f"{name}_high"]
    for end in ("low", "high"):
        np.testing.assert_allclose(quick[f"{name}_{end}"], slow[f"{name}_{end}"], rtol=1e-12)
    assert {key: quick[key] for key in metric(targets, predictions)} == metric(targets, predictions)


def test_a_bootstrapped_token_accuracy_is_that_of_resamples_measured_anew():
    random = np.random.default_rng(8)
    targets = [random.integers(0, 4, random.integers(1, 9)).tolist() for _ in range(50)]
    predictions = [random.integers(0, 4, random.integers(1, 9)).tolist() for _ in range(50)]
    quick = metrics.bootstrapped(metrics.token_accuracy, resamples=40)(targets, predictions)
    slow = metrics.bootstrapped(lambda *both: metrics.token_accuracy(*both), resamples=40)(targets, predictions)
    scores_alike.check(quick, slow)


def test_a_bootstrapped_error_rate_has_the_interval_of_its_errors():
    targets, predictions = sentences()
    found = metrics.bootstrapped(metrics.wer, resamples=300, seed=2)(targets, predictions)
    low, high = metrics.interval(*metrics.word_errors(targets, predictions), seed=2, resamples=300)
    assert (found["wer_low"], found["wer_high"]) == (low, high)
    assert found != metrics.bootstrapped(metrics.wer, resamples=300, seed=3)(targets, predictions)


def test_a_bootstrap_wraps_and_is_wrapped_by_a_normalizer():
    targets, predictions = ["It's one.", "Two!", "Three"], ["it is 1", "to", "three"]
    inside = metrics.bootstrapped(metrics.normalized(metrics.wer))(targets, predictions)
    assert inside == metrics.normalized(metrics.bootstrapped(metrics.wer))(targets, predictions)
    assert (inside["wer_normalized_low"], inside["wer_normalized_high"]) == (0.0, 1.0)


def test_resamples_without_a_score_do_not_count():
    def shy(targets, predictions):
        return {"shy": float("nan") if targets[0] == targets[-1] else 2.0}

    found = metrics.bootstrapped(shy, resamples=50)(["a", "b"], ["", ""])
    assert scores_alike.numbers(found) == {"shy": 2.0, "shy_low": 2.0, "shy_high": 2.0}
    assert {*found["shy_resamples"].split()} == {"seed:0", "nan", "2"}
    assert np.isnan(metrics.bootstrapped(shy, resamples=5)(["a"], [""])["shy_low"])


def test_a_bootstrap_without_resamples_is_an_error():
    with pytest.raises(ValueError, match="resamples=0"):
        metrics.bootstrapped(metrics.wer, resamples=0)


def test_a_bootstrap_interval_repeats_and_holds_the_rate():
    random = np.random.default_rng(3)
    words = random.integers(1, 20, 400)
    errors = random.binomial(words, 0.2)
    low, high = metrics.interval(errors, words, seed=1)
    assert (low, high) == metrics.interval(errors, words, seed=1) != metrics.interval(errors, words, seed=2)
    assert low < errors.sum() / words.sum() < high
    narrow = metrics.interval(errors, words, seed=1, level=0.5)
    assert low < narrow[0] < narrow[1] < high


def test_a_bootstrap_interval_is_as_wide_as_theory_says():
    random = np.random.default_rng(4)
    errors = random.binomial(1, 0.3, 1000)
    low, high = metrics.interval(errors, np.ones(1000))
    rate = errors.mean()
    half = 1.96 * np.sqrt(rate * (1 - rate) / 1000)
    np.testing.assert_allclose([low, high], [rate - half, rate + half], atol=0.2 * half)


def test_a_bootstrap_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="total weight 0"):
        metrics.interval([0, 1], [0, 0])
    with pytest.raises(ValueError, match="shapes"):
        metrics.interval([0, 1], [1])


def test_perplexity_is_the_number_of_codes_that_are_used_alike():
    np.testing.assert_allclose(metrics.perplexity(np.array([5, 5, 0, 5, 5])), 4)
    np.testing.assert_allclose(metrics.perplexity(np.array([0, 9, 0])), 1)
    assert 1 < metrics.perplexity(np.array([99, 1])) < 1.1
    assert metrics.perplexity(np.zeros(3)) == 0
