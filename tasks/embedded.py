"""The embedded corpus: sentences of one meaning in five languages, spoken by espeak-ng; made on first use.

Splits: train, validation, test_sentences (new sentences, voices of the training), test_voices (new sentences, new
voices). SPEECHLM_DATA names the folder that it is kept in, by default ~/.cache/speechlm_jax.
"""

import functools
import os
import pathlib

import seqio

from speechlm_jax import metrics
from speechlm_jax.data import features, objectives, preprocessors, sources
from tasks.embedded_corpus import build, config, words

SPLITS = ("train", "validation", "test_sentences", "test_voices")
ALL_LANGUAGES = config.EmbeddedCorpus()
"""What the tasks without a language in their name learn from."""


def one_language(language: str) -> config.EmbeddedCorpus:
    """The corpus of the tasks of one language: more sentences of it."""
    return config.EmbeddedCorpus(languages=(language,), train_sentences=3000, test_sentences=100)


def folder(corpus: config.EmbeddedCorpus) -> pathlib.Path:
    """The folder of a corpus, made if need be."""
    kept_in = os.environ.get("SPEECHLM_DATA") or pathlib.Path.home() / ".cache" / "speechlm_jax"
    return build.build(kept_in, corpus)


TEXT = preprocessors.select("spoken")
"""Text objectives leave the speech of a record alone."""

CORPORA = {"": ALL_LANGUAGES, **{f"_{language}": one_language(language) for language in words.LANGUAGES}}

for suffix, corpus in CORPORA.items():
    source = sources.RecordsSource(functools.partial(folder, corpus), SPLITS)
    seqio.TaskRegistry.add(
        f"embedded_recognition{suffix}",
        source=source,
        preprocessors=objectives.recognition("spoken", "{lang}"),
        output_features=features.OUTPUT_FEATURES,
        metric_fns=[metrics.wer, metrics.cer],
    )
    seqio.TaskRegistry.add(
        f"embedded_span_corruption{suffix}",
        source=source,
        preprocessors=[TEXT, *objectives.span_corruption("spoken")],
        output_features=features.OUTPUT_FEATURES,
    )
    seqio.TaskRegistry.add(
        f"embedded_masked_language_model{suffix}",
        source=source,
        preprocessors=[TEXT, *objectives.masked_language_model("spoken")],
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
