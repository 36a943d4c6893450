"""Metric functions of SeqIO tasks: of lists of targets and predictions in one order, to numbers by name.

Rates are shares, not percents, here and in answer_metrics.py and label_metrics.py; the scores of
translation_metrics.py run from 0 to 100, as sacrebleu has them. An error rate is errors over all examples divided by
words over all targets, both given beside it. Where the targets hold no word at all it is 0 without errors, else 1.
"""

import importlib.metadata
import re
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import jiwer
import numpy as np

Metric = Callable[[Sequence[Any], Sequence[Any]], Mapping[str, float | str]]
"""The first of the numbers is the score, whose name the others begin with."""
Score = Callable[[np.ndarray], float]
"""The score of a corpus that holds each example as often as an array of counts, float64 "B", says."""
Weigh = Callable[[Sequence[Any], Sequence[Any]], Score]
"""Reads targets and predictions once, for as many scores as are wanted."""

_AnyMetric = TypeVar("_AnyMetric", bound=Callable[..., Any])
_WEIGH: weakref.WeakKeyDictionary[Any, Weigh] = weakref.WeakKeyDictionary()
IDEOGRAPHS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Chinese characters and kana, for the brackets of a regular expression."""
_IDEOGRAPH = re.compile(f"[{IDEOGRAPHS}]")
_EAST_ASIAN = f"{IDEOGRAPHS}\u3000-\u303f\uff00-\uffef"
"""Their punctuation and full-width letters, too."""
_SPACE_BESIDE_EAST_ASIAN = re.compile(rf"(?<=[{_EAST_ASIAN}]) | (?=[{_EAST_ASIAN}])")


def is_east_asian(text: str) -> bool:
    """Whether no spaces part its words: some letters are Chinese or Japanese."""
    return _IDEOGRAPH.search(text) is not None


COUNTS = ("skipped", "examples", "cut_off")
"""Numbers among the scores of a task that say how many there were, not how good they are."""


def some(count: int, most: int = 5) -> list[int]:
    """The indices of a few of `count` things, spread evenly over them."""
    return np.linspace(0, count - 1, min(most, count)).astype(int).tolist()


def resampled_by(weigh: Weigh) -> Callable[[_AnyMetric], _AnyMetric]:
    """A decorator that tells `bootstrapped` the short way to a metric's first number."""

    def remember(metric: _AnyMetric) -> _AnyMetric:
        _WEIGH[metric] = weigh
        return metric

    return remember


def weighing(metric: Metric) -> Weigh:
    """The short way that `resampled_by` named, or else the long one, which measures each resample anew."""

    def anew(targets: Sequence[Any], predictions: Sequence[Any]) -> Score:
        def score(counts: np.ndarray) -> float:
            drawn: list[int] = np.repeat(np.arange(len(counts)), counts.astype(np.int64)).tolist()
            _, value = first(metric([targets[i] for i in drawn], [predictions[i] for i in drawn]))
            return value

        return score

    return _WEIGH.get(metric, anew)


def ratio(statistics: Callable[..., tuple[np.ndarray, np.ndarray]]) -> Weigh:
    """Weighs a rate whose two parts, of each example, `statistics` gives: sum divided by sum."""

    def weigh(targets: Sequence[Any], predictions: Sequence[Any]) -> Score:
        parts, wholes = (np.asarray(values, np.float64) for values in statistics(targets, predictions))
        return lambda counts: rate(float(counts @ parts), float(counts @ wholes))

    return weigh


def word_errors(targets: Sequence[str], predictions: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Word errors and target words of each example, int64."""
    check(targets, predictions)
    targets, predictions = ([" ".join(text.split()) for text in texts] for texts in (targets, predictions))
    return _errors(jiwer.process_words(targets, predictions))


def character_errors(targets: Sequence[str], predictions: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Character errors and target characters of each example, int64."""
    check(targets, predictions)
    targets, predictions = (
        [_SPACE_BESIDE_EAST_ASIAN.sub("", " ".join(text.split())) for text in texts] for texts in (targets, predictions)
    )
    return _errors(jiwer.process_characters(targets, predictions))


def token_matches(
    targets: Sequence[Sequence[int]], predictions: Sequence[Sequence[int]]
) -> tuple[np.ndarray, np.ndarray]:
    """Tokens that the prediction has at the same place, and target tokens, of each example, int64."""
    check(targets, predictions)
    right = [
        sum(int(a == b) for a, b in zip(target, guess, strict=False))
        for target, guess in zip(targets, predictions, strict=True)
    ]
    return np.asarray(right, np.int64), np.asarray([len(target) for target in targets], np.int64)


@resampled_by(ratio(word_errors))
def wer(targets: Sequence[str], predictions: Sequence[str]) -> dict[str, float]:
    """Word error rate: substituted, deleted and inserted words. Words are what white space parts."""
    errors, words = (int(values.sum()) for values in word_errors(targets, predictions))
    return {"wer": rate(errors, words), "wer_errors": errors, "wer_words": words}


@resampled_by(ratio(character_errors))
def cer(targets: Sequence[str], predictions: Sequence[str]) -> dict[str, float]:
    """Character error rate, spaces between words included; spaces beside Chinese characters and kana do not count."""
    errors, characters = (int(values.sum()) for values in character_errors(targets, predictions))
    return {"cer": rate(errors, characters), "cer_errors": errors, "cer_characters": characters}


@resampled_by(ratio(token_matches))
def token_accuracy(targets: Sequence[Sequence[int]], predictions: Sequence[Sequence[int]]) -> dict[str, float]:
    """The share of target tokens that the prediction has at the same place; what it lacks at its end is wrong."""
    right, tokens = (int(values.sum()) for values in token_matches(targets, predictions))
    return {"token_accuracy": rate(right, tokens), "token_count": tokens}


def normalized(metric: Metric, language: str = "en") -> Metric:
    """`metric` after Whisper's normalizer of both sides (arXiv 2212.04356, appendix C).

    Results are renamed: wer becomes wer_normalized; `wer_normalizer` says which normalizer in which version it was.
    language: "en" takes the English one, which also spells out contractions and numbers; any other the basic one,
    which drops punctuation and case; letters keep their marks.
    """

    def weigh(targets: Sequence[str], predictions: Sequence[str]) -> Score:
        normalize, _ = _normalizer(language)
        return weighing(metric)([normalize(text) for text in targets], [normalize(text) for text in predictions])

    @resampled_by(weigh)
    def measure(targets: Sequence[str], predictions: Sequence[str]) -> dict[str, float | str]:
        normalize, normalizer = _normalizer(language)
        results = metric([normalize(text) for text in targets], [normalize(text) for text in predictions])
        name, _ = first(results)
        renamed = {f"{name}_normalized{key.removeprefix(name)}": value for key, value in results.items()}
        return {**renamed, f"{name}_normalizer": normalizer}

    return measure


RESAMPLES = "_resamples"
"""Ends the name of the scores of a bootstrap's resamples."""
EXAMPLES = "examples_hash"
"""Among scores: what tells the examples that were scored, their targets too, from others."""


def paired(one: str, other: str) -> tuple[float, float]:
    """The 95% bootstrap interval of how much more `other` is than `one`: the scores of resamples of two models that
    `bootstrapped` has told of the same examples (Bisani and Ney, as `interval`). NaN where no pair has two scores, or
    other resamples were drawn."""
    (drawn, *scores), (drawn_too, *others) = (told.split() for told in (one, other))
    if drawn != drawn_too or len(scores) != len(others):
        return float("nan"), float("nan")
    return _quantiles(np.array(others, np.float64) - np.array(scores, np.float64), level=0.95)


def bootstrapped(metric: Metric, *, resamples: int = 1000, seed: int = 0) -> Metric:
    """`metric` with the 95% percentile bootstrap interval of its score: wer comes with wer_low and wer_high, and with
    wer_resamples, the seed and the scores of all resamples in one line.

    Examples are drawn with replacement, the same for the same number of examples and `seed`; see `interval`. So two
    models' resamples of the same examples, in one order, are pairs. Resamples without a score, such as an area under a
    curve of one class, do not count. Raises ValueError for `resamples` < 1.
    """
    if resamples < 1:
        raise ValueError(f"a bootstrap interval: wanted 1 resample or more, found resamples={resamples}.")

    def measure(targets: Sequence[Any], predictions: Sequence[Any]) -> dict[str, float | str]:
        results = metric(targets, predictions)
        name, _ = first(results)
        scores = _resampled(weighing(metric)(targets, predictions), len(targets), seed, resamples=resamples)
        low, high = _quantiles(scores, level=0.95)
        told = " ".join([f"seed:{seed}", *(f"{score:.7g}" for score in scores)])
        return {**results, f"{name}_low": low, f"{name}_high": high, f"{name}{RESAMPLES}": told}

    return measure


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

    def score(counts: np.ndarray) -> float:
        total = float(counts @ weights)
        return float(counts @ errors) / total if total else float("nan")

    return _quantiles(_resampled(score, len(errors), seed, resamples=resamples), level=level)


def perplexity(counts: np.ndarray) -> float:
    """exp(entropy) of the shares of `counts`: how many codes are in use, as if all were used alike. 0 without any."""
    shares = counts[counts > 0] / max(counts.sum(), 1)
    return float(np.exp(-np.sum(shares * np.log(shares)))) if len(shares) else 0.0


def least_perplexity(counts_QZ: np.ndarray) -> float:
    """`perplexity` of the codebook that is used the least."""
    return min(perplexity(counts_Z) for counts_Z in counts_QZ)


def check(targets: Sequence[Any] | np.ndarray, predictions: Sequence[Any] | np.ndarray) -> None:
    """Raises ValueError where there is nothing to measure, or targets and predictions are not as many."""
    if not len(targets) or len(targets) != len(predictions):
        raise ValueError(
            f"measuring: wanted as many predictions as targets, and at least one, found {len(predictions)} predictions "
            f"and {len(targets)} targets."
        )


def first(results: Mapping[str, float | str]) -> tuple[str, float]:
    """The name of the score, and the score."""
    name, value = next(iter(results.items()))
    return name, float(value)


def rate(part: float, whole: float) -> float:
    """A part of the whole; of nothing, 0 where the part is nothing too, else 1."""
    return part / whole if whole else float(part > 0)


def _resampled(score: Score, examples: int, seed: int, *, resamples: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    scores = np.empty(resamples)
    for i in range(resamples):
        drawn = random.integers(examples, size=examples)
        scores[i] = score(np.bincount(drawn, minlength=examples).astype(np.float64))
    return scores


def _quantiles(scores: np.ndarray, *, level: float) -> tuple[float, float]:
    scores = scores[~np.isnan(scores)]
    if not len(scores):
        return float("nan"), float("nan")
    low, high = np.quantile(scores, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


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


def _normalizer(language: str) -> tuple[Callable[[str], str], str]:
    from whisper_normalizer import basic, english

    version = importlib.metadata.version("whisper-normalizer")
    if language == "en":
        return english.EnglishTextNormalizer(), f"whisper-normalizer {version} english"
    return basic.BasicTextNormalizer(preserve_marks=True), f"whisper-normalizer {version} basic, marks kept"
