"""Metric functions of SeqIO tasks: of lists of targets and predictions in one order, to numbers by name.

An error rate is a share, not percents: errors over all examples divided by words over all targets, both given beside
it. Where the targets hold no word at all it is 0 without errors, else 1.
"""

import importlib.metadata
import re
from collections.abc import Callable, Mapping, Sequence

import jiwer
import numpy as np

Metric = Callable[[Sequence[str], Sequence[str]], Mapping[str, float | str]]

_EAST_ASIAN = "\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff"
_SPACE_BESIDE_EAST_ASIAN = re.compile(rf"(?<=[{_EAST_ASIAN}]) | (?=[{_EAST_ASIAN}])")


def wer(targets: Sequence[str], predictions: Sequence[str]) -> dict[str, float]:
    """Word error rate: substituted, deleted and inserted words. Words are what white space parts."""
    errors, words = word_errors(targets, predictions)
    return {"wer": _rate(errors, words), "wer_errors": int(errors.sum()), "wer_words": int(words.sum())}


def cer(targets: Sequence[str], predictions: Sequence[str]) -> dict[str, float]:
    """Character error rate, spaces between words included; spaces beside Chinese characters and kana do not count."""
    errors, characters = character_errors(targets, predictions)
    return {
        "cer": _rate(errors, characters),
        "cer_errors": int(errors.sum()),
        "cer_characters": int(characters.sum()),
    }


def token_accuracy(targets: Sequence[Sequence[int]], predictions: Sequence[Sequence[int]]) -> dict[str, float]:
    """The share of target tokens that the prediction has at the same place; what it lacks at its end is wrong."""
    _check(targets, predictions)
    right = [
        sum(int(a == b) for a, b in zip(target, guess, strict=False))
        for target, guess in zip(targets, predictions, strict=True)
    ]
    tokens = sum(len(target) for target in targets)
    return {"token_accuracy": sum(right) / max(tokens, 1), "token_count": tokens}


def normalized(metric: Metric, language: str = "en") -> Metric:
    """`metric` after Whisper's normalizer of both sides (arXiv 2212.04356, appendix C).

    Results are renamed: wer becomes wer_normalized; `wer_normalizer` says which normalizer in which version it was.
    language: "en" takes the English one, which also spells out contractions and numbers; any other the basic one,
    which drops punctuation and case; letters keep their marks.
    """

    def measure(targets: Sequence[str], predictions: Sequence[str]) -> dict[str, float | str]:
        normalize, name = _normalizer(language)
        results = metric([normalize(text) for text in targets], [normalize(text) for text in predictions])
        first = next(iter(results))
        renamed = {f"{first}_normalized{key.removeprefix(first)}": value for key, value in results.items()}
        return {**renamed, f"{first}_normalizer": name}

    return measure


def word_errors(targets: Sequence[str], predictions: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Word errors and target words of each example, int64."""
    _check(targets, predictions)
    targets, predictions = ([" ".join(text.split()) for text in texts] for texts in (targets, predictions))
    return _errors(jiwer.process_words(targets, predictions))


def character_errors(targets: Sequence[str], predictions: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Character errors and target characters of each example, int64."""
    _check(targets, predictions)
    targets, predictions = (
        [_SPACE_BESIDE_EAST_ASIAN.sub("", " ".join(text.split())) for text in texts] for texts in (targets, predictions)
    )
    return _errors(jiwer.process_characters(targets, predictions))


def interval(
    errors: Sequence[float] | np.ndarray,
    weights: Sequence[float] | np.ndarray,
    seed: int = 0,
    *,
    level: float = 0.95,
    resamples: int = 2000,
) -> tuple[float, float]:
    """A percentile bootstrap interval of sum(errors) / sum(weights), examples drawn with replacement (Bisani and Ney,
    "Bootstrap estimates for confidence intervals in ASR performance evaluation", 2004).

    errors, weights: of each example, such as word_errors gives. Raises ValueError for empty or unequal lists.
    """
    errors, weights = np.asarray(errors, np.float64), np.asarray(weights, np.float64)
    if errors.shape != weights.shape or errors.ndim != 1 or not weights.sum() > 0:
        raise ValueError(
            "a bootstrap interval: wanted errors and weights of the same examples, some weight above 0, found "
            f"shapes {errors.shape} and {weights.shape}, total weight {weights.sum():g}."
        )
    random = np.random.default_rng(seed)
    rates = np.empty(resamples)
    for i in range(resamples):
        drawn = random.integers(len(errors), size=len(errors))
        total = weights[drawn].sum()
        rates[i] = errors[drawn].sum() / total if total else np.nan
    low, high = np.nanquantile(rates, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _check(targets: Sequence[object], predictions: Sequence[object]) -> None:
    if not len(targets) or len(targets) != len(predictions):
        raise ValueError(
            f"measuring: wanted as many predictions as targets, and at least one, found {len(predictions)} predictions "
            f"and {len(targets)} targets."
        )


def _errors(output: jiwer.WordOutput | jiwer.CharacterOutput) -> tuple[np.ndarray, np.ndarray]:
    errors = [
        sum(
            max(chunk.ref_end_idx - chunk.ref_start_idx, chunk.hyp_end_idx - chunk.hyp_start_idx)
            for chunk in chunks
            if chunk.type != "equal"
        )
        for chunks in output.alignments
    ]
    return np.asarray(errors, np.int64), np.asarray([len(target) for target in output.references], np.int64)


def _rate(errors: np.ndarray, words: np.ndarray) -> float:
    total = int(words.sum())
    return int(errors.sum()) / total if total else float(errors.sum() > 0)


def _normalizer(language: str) -> tuple[Callable[[str], str], str]:
    from whisper_normalizer import basic, english

    version = importlib.metadata.version("whisper-normalizer")
    if language == "en":
        return english.EnglishTextNormalizer(), f"whisper-normalizer {version} english"
    return basic.BasicTextNormalizer(preserve_marks=True), f"whisper-normalizer {version} basic, marks kept"
