"""What simple methods score on a task, to stand beside what a model does."""

import collections
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import seqio

from speechlm_jax import batch, vocabulary
from speechlm_jax.data import config, one_pass, quarantine
from speechlm_jax.inference import evaluation

EXAMPLES = 20_000
"""Training records that a classifier learns from, at most, spread over the split."""
ENOUGH = 500
"""Training records that tell what is commonest, spread likewise."""

Example = Mapping[str, Any]


def simple(task: seqio.Task, split: str, words: vocabulary.Vocabulary, *, limit: int | None = None) -> dict[str, Any]:
    """The scores of two simple methods on the first `limit` records of a split, learned from the split `train`.

    `constant` says the commonest target of all; of hidden or continued text, whose targets are many, the commonest
    token; of speech to come out it is the recording of another example. `shallow`, of labels alone, is logistic
    regression on tf-idf of words and of characters, or of speech a support vector machine on the means and deviations
    of MFCC. Either is an empty mapping where it has nothing to say, as of a task without the split `train`.
    """
    bad = quarantine.Quarantine(config.BadRecords(max_share=1.0))
    held_out = [one for one in one_pass.examples(task, split, quarantine=bad, limit=limit) if evaluation.weight_of(one)]
    nothing: dict[str, Any] = {"constant": {}, "shallow": {}}
    if not held_out:
        return nothing
    if len(held_out[0]["target_audio"]):
        spoken = [one["target_audio"] for one in held_out]
        # The recording beside the only one would be itself.
        if len(spoken) < 2:
            return nothing
        return {**nothing, "constant": evaluation.run_metrics(task, spoken, [*spoken[1:], spoken[0]])}
    if "train" not in task.splits or not any(len(one["targets"]) + len(one["masked_tokens"]) for one in held_out):
        return nothing
    is_label = held_out[0]["prompt"][:1].tolist() == [words.token("<task:classify>")]
    enough = EXAMPLES if is_label else ENOUGH
    train = list(one_pass.examples(task, "train", quarantine=bad, limit=enough, spread=True))
    if "targets_pretokenized" not in held_out[0]:
        return {**nothing, "constant": _commonest_token(train, held_out)}
    known = [one_pass.text_of(one["targets_pretokenized"]) for one in train]
    wanted = [evaluation.wanted(task, one_pass.text_of(one["targets_pretokenized"]), one) for one in held_out]
    (guess, _), *_ = collections.Counter(known).most_common(1)
    shallow = {}
    if is_label:
        shallow = evaluation.run_metrics(task, wanted, _posed(task, held_out, _learned(train, known, held_out, words)))
    return {
        "constant": evaluation.run_metrics(task, wanted, _posed(task, held_out, [guess] * len(wanted))),
        "shallow": shallow,
    }


def _posed(task: seqio.Task, held_out: Sequence[Example], guesses: Sequence[str]) -> list[Any]:
    """Guesses as if a model had written them."""
    return [evaluation.postprocess(task, guess, one, False) for guess, one in zip(guesses, held_out, strict=True)]


def _commonest_token(train: Sequence[Example], held_out: Sequence[Example]) -> dict[str, float]:
    """The share of tokens to be told that are the commonest of the training."""
    found = {}
    for head, tokens_of in (("masked_tokens", _masked), ("targets", lambda one: one["targets"])):
        known, wanted = (np.concatenate([tokens_of(one) for one in examples]) for examples in (train, held_out))
        if len(known) and len(wanted):
            (token, _), *_ = collections.Counter(known.tolist()).most_common(1)
            found[f"hits/{head}"] = float(np.mean(wanted == token))
    return found


def _masked(example: Example) -> np.ndarray:
    return example["masked_tokens"][example["masked_weights"] > 0]


def _learned(
    train: Sequence[Example], labels: Sequence[str], held_out: Sequence[Example], words: vocabulary.Vocabulary
) -> list[str]:
    """The labels that a shallow classifier gives to what is held out."""
    from sklearn import linear_model, pipeline, preprocessing, svm
    from sklearn.feature_extraction import text

    if len(train[0]["audio"]):
        method = pipeline.make_pipeline(preprocessing.StandardScaler(), svm.SVC(C=10.0))
        given, asked = (np.stack([_mfcc(one["audio"]) for one in examples]) for examples in (train, held_out))
    else:
        features = pipeline.make_union(
            text.TfidfVectorizer(token_pattern=r"(?u)\S+", ngram_range=(1, 2), sublinear_tf=True),
            text.TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), sublinear_tf=True),
        )
        method = pipeline.make_pipeline(features, linear_model.LogisticRegression(C=10.0, max_iter=1000))
        given, asked = ([_text(one["inputs"], words) for one in examples] for examples in (train, held_out))
    if len(set(labels)) < 2:
        return [labels[0]] * len(held_out)
    method.fit(given, labels)
    return [str(label) for label in method.predict(asked)]


def _text(inputs: np.ndarray, words: vocabulary.Vocabulary) -> str:
    """All texts of an encoder's lane: where one ends, decoding would."""
    return words.decode(inputs[inputs != vocabulary.EOS].tolist())


def _mfcc(samples: np.ndarray) -> np.ndarray:
    """Means and standard deviations of 20 MFCC and of their differences."""
    import librosa

    wave = samples.astype(np.float32) / 32_768
    mfcc = librosa.feature.mfcc(y=wave, sr=batch.SAMPLE_RATE, n_mfcc=20, n_fft=batch.WINDOW, hop_length=batch.HOP)
    changes = np.diff(mfcc, axis=1, prepend=mfcc[:, :1])
    return np.concatenate([part.mean(1) for part in (mfcc, changes)] + [part.std(1) for part in (mfcc, changes)])
