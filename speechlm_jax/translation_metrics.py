"""Metric functions of translation, by sacrebleu: scores from 0 to 100, with the signature that a report must name."""

from collections.abc import Sequence

import numpy as np
import sacrebleu
from sacrebleu.metrics import helpers

from speechlm_jax import metrics

_SMOOTHING = "exp"
_BLEU_ORDER = 4
_CHRF_ORDER = 6
_CHRF_BETA = 2


def bleu_for(tokenizer: str) -> metrics.Metric:
    """BLEU (Papineni et al., 2002) of words that one of sacrebleu's tokenizers parts, such as "zh" for Chinese.

    Raises ValueError for a tokenizer that sacrebleu does not have.
    """
    known = sorted(sacrebleu.BLEU.TOKENIZERS)
    if tokenizer not in known:
        raise ValueError(f"BLEU: wanted one of sacrebleu's tokenizers, {', '.join(known)}, found {tokenizer!r}.")

    def weigh(targets: Sequence[str], predictions: Sequence[str]) -> metrics.Score:
        sums = _bleu_statistics(tokenizer, targets, predictions)
        return lambda counts: _bleu_score(counts @ sums)

    @metrics.resampled_by(weigh)
    def measure(targets: Sequence[str], predictions: Sequence[str]) -> dict[str, float | str]:
        metrics.check(targets, predictions)
        scorer = sacrebleu.BLEU(tokenize=tokenizer, smooth_method=_SMOOTHING, max_ngram_order=_BLEU_ORDER)
        score = scorer.corpus_score(list(predictions), [list(targets)])
        return {
            "bleu": float(score.score),
            "bleu_brevity_penalty": float(score.bp),
            "bleu_signature": str(scorer.get_signature()),
        }

    return measure


def _bleu_statistics(tokenizer: str, targets: Sequence[str], predictions: Sequence[str]) -> np.ndarray:
    """Words of the prediction and of the target, then matches and n-grams by order, of each example: float64 "B 10"."""
    # The effective order changes the scores of sentences, which nobody asks for here, and keeps sacrebleu quiet.
    scorer = sacrebleu.BLEU(tokenize=tokenizer, max_ngram_order=_BLEU_ORDER, effective_order=True)
    scores = [scorer.sentence_score(guess, [target]) for target, guess in zip(targets, predictions, strict=True)]
    return np.asarray([[s.sys_len, s.ref_len, *s.counts, *s.totals] for s in scores], np.float64)


def _bleu_score(sums: np.ndarray) -> float:
    whole: list[int] = sums.astype(np.int64).tolist()
    matches, ngrams = whole[2 : 2 + _BLEU_ORDER], whole[2 + _BLEU_ORDER :]
    score = sacrebleu.BLEU.compute_bleu(
        matches, ngrams, whole[0], whole[1], smooth_method=_SMOOTHING, max_ngram_order=_BLEU_ORDER
    )
    return float(score.score)


bleu = bleu_for("13a")
"""BLEU of words by the tokenizer of WMT. Chinese, which has no spaces, wants bleu_for("zh")."""


def _weigh_chrf(targets: Sequence[str], predictions: Sequence[str]) -> metrics.Score:
    sums = _chrf_statistics(targets, predictions)
    return lambda counts: _chrf_score(counts @ sums)


@metrics.resampled_by(_weigh_chrf)
def chrf(targets: Sequence[str], predictions: Sequence[str]) -> dict[str, float | str]:
    """chrF2 (Popovic, 2015): F score of character n-grams up to 6, white space left out, recall counting double."""
    metrics.check(targets, predictions)
    scorer = sacrebleu.CHRF(char_order=_CHRF_ORDER, beta=_CHRF_BETA)
    score = scorer.corpus_score(list(predictions), [list(targets)])
    return {"chrf": float(score.score), "chrf_signature": str(scorer.get_signature())}


def _chrf_statistics(targets: Sequence[str], predictions: Sequence[str]) -> np.ndarray:
    """N-grams of the prediction, of the target, and of both, by order, of each example: float64 "B 18"."""
    rows = []
    for target, guess in zip(targets, predictions, strict=True):
        orders = [helpers.extract_all_char_ngrams(text, _CHRF_ORDER) for text in (guess, target)]
        row = []
        for ours, theirs in zip(*orders, strict=True):
            # As sacrebleu counts: where the target is too short for an n-gram, the prediction has none either.
            row += [ours.total() if theirs else 0, theirs.total(), (ours & theirs).total()]
        rows.append(row)
    return np.asarray(rows, np.float64)


def _chrf_score(sums: np.ndarray) -> float:
    """The F score of precision and recall, each a mean over the orders that both sides have."""
    guessed, wanted, both = sums.reshape(_CHRF_ORDER, 3).T
    orders = (guessed > 0) & (wanted > 0)
    if not both[orders].any():
        return 0.0
    precision = float(np.mean(both[orders] / guessed[orders]))
    recall = float(np.mean(both[orders] / wanted[orders]))
    return 100 * (1 + _CHRF_BETA**2) * precision * recall / (_CHRF_BETA**2 * precision + recall)
