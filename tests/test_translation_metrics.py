"""Tests of metrics of translation."""

import inspect

import numpy as np
import pytest
import sacrebleu

from speechlm_jax import metrics, translation_metrics

TARGETS = [
    "The cat sat on the mat, as it did each morning.",
    "Nobody expected the answer to be so short.",
    "Prices rose by 3.5 percent in the second quarter.",
    "Yes.",
    "It rains in the north and snows in the mountains today.",
] * 4
PREDICTIONS = [
    "The cat sat upon the mat, as it does every morning.",
    "No one expected the answer to be this short.",
    "Prices rose 3.5 percent in the second quarter.",
    "Yes.",
    "",
] * 4
CHINESE = ["今天天气很好。", "我们去公园散步吧！", "他在北京大学学习汉语。", "请打开 app 看看。"]
CHINESE_GUESSES = ["今天天气真好。", "我们去公园走走吧！", "他在北京大学学中文。", "请打开app看看。"]


def test_bleu_and_chrf_are_sacrebleus():
    wanted = sacrebleu.corpus_bleu(PREDICTIONS, [TARGETS])
    found = translation_metrics.bleu(TARGETS, PREDICTIONS)
    assert (found["bleu"], found["bleu_brevity_penalty"]) == (wanted.score, wanted.bp)
    assert 10 < wanted.score < 90 and wanted.bp < 1
    wanted = sacrebleu.corpus_chrf(PREDICTIONS, [TARGETS])
    assert translation_metrics.chrf(TARGETS, PREDICTIONS)["chrf"] == wanted.score


def test_signatures_tell_how_text_was_parted():
    version = sacrebleu.__version__
    signature = translation_metrics.bleu(TARGETS, PREDICTIONS)["bleu_signature"]
    assert signature == f"nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:{version}"
    signature = translation_metrics.bleu_for("zh")(CHINESE, CHINESE_GUESSES)["bleu_signature"]
    assert signature == f"nrefs:1|case:mixed|eff:no|tok:zh|smooth:exp|version:{version}"
    signature = translation_metrics.chrf(TARGETS, PREDICTIONS)["chrf_signature"]
    assert signature == f"nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:{version}"


def test_chinese_is_parted_into_characters():
    wanted = sacrebleu.corpus_bleu(CHINESE_GUESSES, [CHINESE], tokenize="zh").score
    found = translation_metrics.bleu_for("zh")(CHINESE, CHINESE_GUESSES)["bleu"]
    assert found == wanted > translation_metrics.bleu(CHINESE, CHINESE_GUESSES)["bleu"]


def test_perfect_and_empty_translations_are_at_the_ends_of_the_scale():
    for metric in (translation_metrics.bleu, translation_metrics.chrf):
        assert metrics.first(metric(TARGETS, TARGETS))[1] == pytest.approx(100)
        found = metrics.bootstrapped(metric, resamples=20)(TARGETS, [""] * len(TARGETS))
        name, score = metrics.first(found)
        assert (score, found[f"{name}_low"], found[f"{name}_high"]) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("metric", "targets", "predictions"),
    [
        (translation_metrics.bleu, TARGETS, PREDICTIONS),
        (translation_metrics.chrf, TARGETS, PREDICTIONS),
        (translation_metrics.bleu_for("zh"), CHINESE, CHINESE_GUESSES),
        (translation_metrics.chrf, ["ab", "abcdefgh", ""], ["abcd", "abcxefgh", "z"]),
    ],
)
def test_a_bootstrap_by_sums_is_the_bootstrap_that_measures_each_resample(metric, targets, predictions):
    quick = metrics.bootstrapped(metric, resamples=40, seed=1)(targets, predictions)
    slow = metrics.bootstrapped(lambda *both: metric(*both), resamples=40, seed=1)(targets, predictions)
    name, score = metrics.first(quick)
    assert quick[f"{name}_low"] <= score <= quick[f"{name}_high"]
    assert quick[f"{name}_low"] < quick[f"{name}_high"]
    for end in ("low", "high"):
        np.testing.assert_allclose(quick[f"{name}_{end}"], slow[f"{name}_{end}"], rtol=1e-10)


@pytest.mark.parametrize("name", ["bleu", "chrf"])
def test_an_interval_is_as_wide_as_the_one_that_sacrebleu_draws(name):
    random = np.random.default_rng(0)
    targets = [" ".join(random.choice(list("abcdef"), 12)) for _ in range(200)]
    predictions = [" ".join(w if random.random() < 0.7 else "x" for w in text.split()) for text in targets]
    scorer = sacrebleu.BLEU() if name == "bleu" else sacrebleu.CHRF()
    wanted = scorer.corpus_score(predictions, [targets], n_bootstrap=1000).format(
        is_json=True, width=6, signature="a:b"
    )
    half = float(wanted.split('"confidence_var": ')[1].split(",")[0])
    found = metrics.bootstrapped(getattr(translation_metrics, name))(targets, predictions)
    np.testing.assert_allclose((found[f"{name}_high"] - found[f"{name}_low"]) / 2, half, rtol=0.15)


def test_metrics_have_the_signature_that_seqio_asks_for():
    for metric in (translation_metrics.bleu, translation_metrics.bleu_for("zh"), translation_metrics.chrf):
        assert list(inspect.signature(metric).parameters) == ["targets", "predictions"]


def test_a_tokenizer_that_sacrebleu_lacks_is_an_error():
    with pytest.raises(ValueError, match="13a.* zh.* found 'chinese'"):
        translation_metrics.bleu_for("chinese")


@pytest.mark.parametrize("metric", [translation_metrics.bleu, translation_metrics.chrf])
def test_lists_that_do_not_match_are_errors(metric):
    with pytest.raises(ValueError, match="found 1 predictions and 2 targets"):
        metric(["a", "b"], ["a"])
    with pytest.raises(ValueError, match="at least one"):
        metrics.bootstrapped(metric)([], [])
