"""Metric functions of classification: shares from 0 to 1, of labels that are texts, or of scores of one label.

Labels are compared with their case and without stray white space. A prediction that is empty is no label.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from speechlm_jax import metrics

MATCH, MISMATCH = "match", "mismatch"
"""The labels of whether a text is what was spoken."""


def label_matches(targets: Sequence[str], predictions: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """1 for each prediction that is the target's label, else 0; and 1 for each example."""
    metrics.check(targets, predictions)
    right = [_label(a) == _label(b) for a, b in zip(targets, predictions, strict=True)]
    return np.asarray(right, np.float64), np.ones(len(right))


@metrics.resampled_by(metrics.ratio(label_matches))
def accuracy(targets: Sequence[str], predictions: Sequence[str]) -> dict[str, float]:
    """The share of predictions that are the target's label."""
    right, examples = label_matches(targets, predictions)
    return {"accuracy": float(right.mean()), "accuracy_examples": len(examples)}


def _weigh_macro_f1(targets: Sequence[str], predictions: Sequence[str]) -> metrics.Score:
    wanted, found = _coded(targets, predictions)

    def score(counts: np.ndarray) -> float:
        scores = _f1_by_label(wanted, found, counts)
        return float(scores.mean())

    return score


@metrics.resampled_by(_weigh_macro_f1)
def macro_f1(targets: Sequence[str], predictions: Sequence[str]) -> dict[str, float]:
    """The mean over labels, those of targets and of predictions, of F1; `macro_f1_labels` says how many they are."""
    metrics.check(targets, predictions)
    scores = _f1_by_label(*_coded(targets, predictions), np.ones(len(targets)))
    return {"macro_f1": float(scores.mean()), "macro_f1_labels": len(scores)}


def _weigh_recall(targets: Sequence[str], predictions: Sequence[str]) -> metrics.Score:
    wanted, found = _coded(targets, predictions)

    def score(counts: np.ndarray) -> float:
        return float(_recall_by_label(wanted, found, counts).mean())

    return score


@metrics.resampled_by(_weigh_recall)
def unweighted_average_recall(targets: Sequence[str], predictions: Sequence[str]) -> dict[str, float]:
    """UAR, as emotion recognition is scored (Schuller et al., "The INTERSPEECH 2009 Emotion Challenge"): the mean over
    the labels of targets of the share that was found; `unweighted_average_recall_labels` says how many they are."""
    metrics.check(targets, predictions)
    recalls = _recall_by_label(*_coded(targets, predictions), np.ones(len(targets)))
    return {"unweighted_average_recall": float(recalls.mean()), "unweighted_average_recall_labels": len(recalls)}


def in_label_set(metric: metrics.Metric, *names: str) -> metrics.Metric:
    """`metric`, accuracy, macro_f1 or unweighted_average_recall, where every target is one of the labels `names`.

    A prediction that is none of them is wrong and no label of its own; accuracy_outside, or macro_f1_outside, says
    how many such there were. Raises ValueError for an empty set or name, and, measuring, for a target outside it.
    """
    allowed = {_label(name) for name in names}
    if not allowed or "" in allowed:
        raise ValueError(f"a label set: wanted at least one label and none of them empty, found {names}.")

    def within(targets: Sequence[str], predictions: Sequence[str]) -> tuple[list[str], list[str]]:
        targets, predictions = ([_label(text) for text in texts] for texts in (targets, predictions))
        if strays := sorted(set(targets) - allowed):
            raise ValueError(
                f"measuring labels: wanted targets in the label set {sorted(allowed)}, found {strays[:5]}. Name the "
                "missing labels where in_label_set is called, or mend the task's targets."
            )
        return targets, [text if text in allowed else "" for text in predictions]

    def weigh(targets: Sequence[str], predictions: Sequence[str]) -> metrics.Score:
        return metrics.weighing(metric)(*within(targets, predictions))

    @metrics.resampled_by(weigh)
    def measure(targets: Sequence[str], predictions: Sequence[str]) -> dict[str, float | str]:
        targets, predictions = within(targets, predictions)
        results = metric(targets, predictions)
        name, _ = metrics.first(results)
        return {**results, f"{name}_outside": predictions.count("")}

    return measure


def _weigh_auc(targets: Sequence[bool | int] | np.ndarray, scores: Sequence[float] | np.ndarray) -> metrics.Score:
    positive, ranks = _ranked(targets, scores)
    return lambda counts: _area(positive, ranks, counts)


@metrics.resampled_by(_weigh_auc)
def auc(targets: Sequence[bool | int] | np.ndarray, scores: Sequence[float] | np.ndarray) -> dict[str, float]:
    """The area under the ROC curve of binary targets: the share of pairs of a positive and a negative whose scores
    stand in that order, ties counting half (Hanley and McNeil, 1982). NaN where all are of one class.

    Raises ValueError for targets other than 0 and 1, or a score that is NaN.
    """
    positive, ranks = _ranked(targets, scores)
    return {
        "auc": _area(positive, ranks, np.ones(len(positive))),
        "auc_positives": int(positive.sum()),
        "auc_negatives": int((~positive).sum()),
    }


def auc_for(positive: str) -> metrics.Metric:
    """`auc` of the label `positive` against all others, in the form that tasks take.

    Targets are label texts. A prediction is the label's score, which a task's postprocessor has made of the decoded
    text, or else a label text, which scores 1 where it is `positive` and 0 where it is not.
    """

    def scored(targets: Sequence[str], predictions: Sequence[str | float]) -> tuple[list[bool], list[float]]:
        scores = [float(_label(p) == _label(positive)) if isinstance(p, str) else float(p) for p in predictions]
        return [_label(target) == _label(positive) for target in targets], scores

    def weigh(targets: Sequence[str], predictions: Sequence[str | float]) -> metrics.Score:
        return _weigh_auc(*scored(targets, predictions))

    @metrics.resampled_by(weigh)
    def measure(targets: Sequence[str], predictions: Sequence[str | float]) -> dict[str, float]:
        return auc(*scored(targets, predictions))

    return measure


def auc_by_likelihood(positive: str) -> Callable[[Sequence[str], Sequence[float]], Mapping[str, float | str]]:
    """`auc` of the label `positive` against one other, by log P(target) of each example, in the form tasks take; with
    its 95% bootstrap interval."""

    def measure(targets: Sequence[str], scores: Sequence[float]) -> Mapping[str, float | str]:
        truth = [_label(target) == _label(positive) for target in targets]
        own = np.exp(np.minimum(np.asarray(scores, np.float64), 0.0))
        return metrics.bootstrapped(auc)(truth, np.where(truth, own, 1.0 - own).tolist())

    return measure


def _label(text: str) -> str:
    return " ".join(text.split())


def _coded(targets: Sequence[str], predictions: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Labels as numbers from 0; -1 for a prediction that is no label."""
    targets, predictions = ([_label(text) for text in texts] for texts in (targets, predictions))
    labels = sorted(set(targets) | (set(predictions) - {""}))
    codes = {label: code for code, label in enumerate(labels)}
    return np.asarray([codes[t] for t in targets]), np.asarray([codes.get(p, -1) for p in predictions])


def _f1_by_label(wanted: np.ndarray, found: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """F1 of the labels that occur, examples counting as often as `counts` says."""
    labels = int(max(wanted.max(), found.max())) + 1
    hits = np.bincount(wanted, weights=counts * (wanted == found), minlength=labels)
    named = found >= 0
    either = np.bincount(wanted, weights=counts, minlength=labels)
    either += np.bincount(found[named], weights=counts[named], minlength=labels)
    return 2 * hits[either > 0] / either[either > 0]


def _recall_by_label(wanted: np.ndarray, found: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The share of each label's targets that was found, examples counting as often as `counts` says."""
    targets = np.bincount(wanted, weights=counts)
    return np.bincount(wanted, weights=counts * (wanted == found))[targets > 0] / targets[targets > 0]


def _ranked(
    targets: Sequence[bool | int] | np.ndarray, scores: Sequence[float] | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Which examples are positive, bool, and the rank of each one's score from 0, ties alike."""
    metrics.check(targets, scores)
    truth, values = np.asarray(targets), np.asarray(scores, np.float64)
    if truth.ndim != 1 or values.ndim != 1 or not np.isin(truth, (0, 1)).all() or np.isnan(values).any():
        raise ValueError(
            "an area under the ROC curve: wanted a target of 0 or 1 and a score for each example, found shapes "
            f"{truth.shape} and {values.shape}, targets {np.unique(truth)[:5].tolist()}, "
            f"{int(np.isnan(values).sum())} scores that are NaN."
        )
    return truth.astype(bool), np.unique(values, return_inverse=True)[1]


def _area(positive: np.ndarray, ranks: np.ndarray, counts: np.ndarray) -> float:
    ups = np.bincount(ranks, weights=counts * positive)
    downs = np.bincount(ranks, weights=counts * ~positive)
    pairs = float(ups.sum() * downs.sum())
    below = np.cumsum(downs) - downs
    return float(ups @ (below + downs / 2)) / pairs if pairs else float("nan")
