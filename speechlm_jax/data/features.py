"""The features of an example as SeqIO sees them, and the vocabulary that a run binds to them.

Tasks are registered without a vocabulary file: their features carry RunVocabulary, which stands for whatever file the
run names. `bind` it before a dataset is built; a dataset goes on with the vocabulary that was bound when it was built.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import seqio
import tensorflow as tf
from seqio import utils as seqio_utils

from speechlm_jax import vocabularies, vocabulary

_lock = threading.Lock()
_bound: vocabulary.Vocabulary | None = None


def bind(path: str | os.PathLike[str]) -> vocabulary.Vocabulary:
    """Makes the vocabulary at `path` the one that tasks tokenize by, for the life of the process.

    Raises ValueError where there is none, or when one with another hash is bound already.
    """
    global _bound
    words = vocabularies.load(path)
    with _lock:
        if _bound is not None and _bound.hash != words.hash:
            raise ValueError(
                f"binding the vocabulary '{words.path}' ({words.hash}): tasks tokenize by '{_bound.path}' "
                f"({_bound.hash}) already, and one process has one Data.vocabulary. For a while, use "
                "`with features.bound(path)`."
            )
        _bound = words
    return words


@contextlib.contextmanager
def bound(path: str | os.PathLike[str]) -> Iterator[vocabulary.Vocabulary]:
    """Binds another vocabulary for the datasets that are built inside. For tests and tools: all threads see it."""
    global _bound
    words = vocabularies.load(path)
    with _lock:
        before, _bound = _bound, words
    try:
        yield words
    finally:
        with _lock:
            _bound = before


def current() -> vocabulary.Vocabulary:
    """The bound vocabulary. Raises ValueError when none is."""
    if _bound is None:
        raise ValueError(
            "tokenizing text: no vocabulary is bound. Set Data.vocabulary to a file that "
            "`speechlm data --train_vocabulary=SIZE` wrote (in code: speechlm_jax.data.features.bind(path))."
        )
    return _bound


def encode(texts: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Ids of scalar string tensors, int32 of rank 1 each, without end tokens.

    By the Python of SentencePiece, in one call for all of them: TensorFlow Text carries an older SentencePiece,
    which breaks ties between equally good cuts the other way (5 texts in 10,000).
    """
    return _ids(texts, current().encode)


def spell(text: tf.Tensor) -> tf.Tensor:
    """Ids of a scalar string tensor letter by letter, int32 of rank 1."""
    return _ids([text], current().spell)[0]


def _ids(texts: Sequence[tf.Tensor], method: Callable[[bytes], list[int]]) -> list[tf.Tensor]:
    def all_ids(*contents: bytes) -> list[np.ndarray]:
        return [np.asarray(method(content), np.int32) for content in contents]

    ids = tf.numpy_function(all_ids, list(texts), [tf.int32] * len(texts), stateful=False)
    return [tf.ensure_shape(tokens, [None]) for tokens in ids]


class RunVocabulary(seqio.Vocabulary):
    """The bound vocabulary, as one that SeqIO's own preprocessors and evaluators can use."""

    @property
    def bos_id(self) -> int:
        return vocabulary.BOS

    @property
    def eos_id(self) -> int:
        return vocabulary.EOS

    @property
    def unk_id(self) -> int:
        return vocabulary.UNK

    @property
    def _base_vocab_size(self) -> int:
        return current().size

    def _encode(self, s: str) -> list[int]:
        return current().encode(s)

    def _decode(self, ids: Sequence[int]) -> str:
        return current().decode(ids)

    def _encode_tf(self, s: tf.Tensor) -> tf.Tensor:
        return encode([s])[0]

    def _decode_tf(self, ids: tf.Tensor) -> tf.Tensor:
        words = current()

        def decode_rows(rows: np.ndarray) -> np.ndarray:
            texts = [words.decode(row) for row in rows.reshape(-1, rows.shape[-1]).tolist()]
            return np.asarray(texts, object).reshape(rows.shape[:-1])

        texts = tf.numpy_function(decode_rows, [ids], tf.string, stateful=False)
        return tf.ensure_shape(texts, ids.shape[:-1])

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self)

    def __hash__(self) -> int:
        return hash(type(self))


def _tokens(add_eos: bool = False) -> seqio_utils.Feature:
    return seqio.Feature(RunVocabulary(), add_eos=add_eos, dtype=tf.int32)


def _numbers(dtype: Any) -> seqio_utils.Feature:
    return seqio.Feature(seqio.PassThroughVocabulary(size=0), add_eos=False, dtype=dtype)


OUTPUT_FEATURES: dict[str, seqio_utils.Feature] = {
    "audio": _numbers(tf.int16),
    "inputs": _tokens(),
    "prompt": _tokens(),
    "targets": _tokens(add_eos=True),
    "target_audio": _numbers(tf.int16),
    "masked_tokens": _tokens(),
    "masked_weights": _numbers(tf.float32),
    "ctc": _numbers(tf.int32),
    "claim": _numbers(tf.float32),
    "mask_share": _numbers(tf.float32),
    "weight": _numbers(tf.float32),
}
"""The features of every task: all of rank 1; absent lanes are empty. audio, target_audio: waveforms at 16 kHz.
prompt: what stands before the targets in the decoder, without loss. masked_tokens, masked_weights: as long as inputs,
or empty. ctc: 1 where the targets are a transcript of the audio. claim: 1 where the targets are claimed to be what is
spoken and are, -1 where they are not (then ctc is 0), 0 where nothing is claimed. mask_share: of the speech that is to
be masked. weight: of the example in every loss. The last four have length 1.

SeqIO cuts features to the sequence_length that get_dataset is given, audio as well as text, each by itself. Leave it
None, as the stream does; the preprocessor `lanes` fails on an example that would be cut."""

LANES = ("audio", "inputs", "targets", "target_audio")
"""The features that take room in a row."""
