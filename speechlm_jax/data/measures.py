"""The metric functions of each use, as a task lists them: every score with its 95% interval."""

import re
from typing import Any

from speechlm_jax import answer_metrics, label_metrics, metrics, speech_metrics, translation_metrics

_TOKENIZERS = {"zh": "zh", "yue": "zh", **dict.fromkeys(("ja", "th", "lo", "km", "my"), "char")}
"""What parts the words of a translation for BLEU, of languages that are written without spaces."""


def recognition(language: str | None = None) -> list[Any]:
    """WER and CER; with a language, also of texts that are normalized by its rules."""
    plain = (metrics.wer, metrics.cer)
    normalized = () if language is None else (metrics.normalized(metric, language) for metric in plain)
    return _bootstrapped(*plain, *normalized)


def translation(*languages: str) -> list[Any]:
    """BLEU and chrF of texts in a language, given by its code; in several of which some have no spaces, BLEU is of
    letters. Its signature says what parted the words."""
    tokenizers = {_TOKENIZERS.get(re.split("[-_]", language.lower())[0], "13a") for language in languages}
    tokenizer = tokenizers.pop() if len(tokenizers) == 1 else "char"
    return _bootstrapped(translation_metrics.bleu_for(tokenizer), translation_metrics.chrf)


def labels(*names: str) -> list[Any]:
    """Accuracy, macro F1 and unweighted average recall; with names, in the set of those labels."""
    plain = (label_metrics.accuracy, label_metrics.macro_f1, label_metrics.unweighted_average_recall)
    return _bootstrapped(*(label_metrics.in_label_set(metric, *names) if names else metric for metric in plain))


def matching() -> list[Any]:
    """Accuracy, and the area under the curve by how likely the model holds a match."""
    return [*_bootstrapped(label_metrics.accuracy), label_metrics.auc_by_likelihood(label_metrics.MATCH)]


def answers() -> list[Any]:
    """Exact match and F1."""
    return _bootstrapped(answer_metrics.exact_match, answer_metrics.f1)


def speech() -> list[Any]:
    """Mel-cepstral distortion and duration ratio of speech that was written beside the true one."""
    return _bootstrapped(speech_metrics.mean_mel_cepstral_distortion, speech_metrics.total_duration_ratio)


def _bootstrapped(*functions: metrics.Metric) -> list[Any]:
    return [metrics.bootstrapped(function) for function in functions]
