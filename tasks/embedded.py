"""The embedded corpus: sentences of one meaning in five languages, spoken by espeak-ng; made on first use.

Splits: train, validation, test_sentences (new sentences, voices of the training), test_voices (new sentences, new
voices). SPEECHLM_DATA names the folder that it is kept in, by default ~/.cache/speechlm_jax.
"""

import os
import pathlib

import seqio
import tensorflow as tf

from speechlm_jax import metrics
from speechlm_jax.data import features, objectives, preprocessors, sources
from tasks.embedded_corpus import build, config, words

SPLITS = ("train", "validation", "test_sentences", "test_voices")
CORPUS = config.EmbeddedCorpus()


def folder() -> pathlib.Path:
    """The folder of the corpus, made if need be."""
    kept_in = os.environ.get("SPEECHLM_DATA") or pathlib.Path.home() / ".cache" / "speechlm_jax"
    return build.build(kept_in, CORPUS)


SOURCE = sources.RecordsSource(folder, SPLITS)


def spoken_in(language: str) -> preprocessors.Preprocessor:
    """Keeps the records of one language."""
    return preprocessors.keep_where(lambda example: tf.equal(example["lang"], language))


TEXT = preprocessors.select("spoken")
"""Text objectives leave the speech of a record alone."""

for suffix, only in (("", []), *((f"_{language}", [spoken_in(language)]) for language in words.LANGUAGES)):
    seqio.TaskRegistry.add(
        f"embedded_recognition{suffix}",
        source=SOURCE,
        preprocessors=[*only, *objectives.recognition("spoken", "{lang}")],
        output_features=features.OUTPUT_FEATURES,
        metric_fns=[metrics.wer, metrics.cer],
    )
    seqio.TaskRegistry.add(
        f"embedded_span_corruption{suffix}",
        source=SOURCE,
        preprocessors=[*only, TEXT, *objectives.span_corruption("spoken")],
        output_features=features.OUTPUT_FEATURES,
    )
    seqio.TaskRegistry.add(
        f"embedded_masked_language_model{suffix}",
        source=SOURCE,
        preprocessors=[*only, TEXT, *objectives.masked_language_model("spoken")],
        output_features=features.OUTPUT_FEATURES,
    )
    seqio.MixtureRegistry.add(
        f"embedded_pretraining{suffix}",
        [
            (f"embedded_recognition{suffix}", 2.0),
            (f"embedded_span_corruption{suffix}", 1.0),
            (f"embedded_masked_language_model{suffix}", 1.0),
        ],
    )
