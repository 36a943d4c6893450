"""Corpora of TFDS for tests: made-up examples with the real builder's features, in files of the real format."""

import os

import numpy as np
import tensorflow_datasets as tfds
from tiny_text import corpus

SENTENCES = corpus(64)


def write(name, folder, splits, examples=None, file_format="array_record"):
    """A prepared corpus of the builder `name` with that many examples a split; `examples` gives the made-up ones."""
    builder = tfds.builder(name, data_dir=folder, file_format=file_format)
    os.makedirs(builder.data_dir, exist_ok=True)
    writer = tfds.core.SequentialWriter(builder.info, 1000, file_format=file_format)
    writer.initialize_splits(list(splits))
    examples = examples or (lambda index: made_up(builder.info.features, index))
    writer.add_examples({split: [examples(index) for index in range(count)] for split, count in splits.items()})
    writer.close_all()


def made_up(feature, index):
    """A value of a feature."""
    if isinstance(feature, tfds.features.TranslationVariableLanguages):
        return {code: f"{SENTENCES[index]} {code}" for code in (feature.languages or [])[index % 2 :]}
    if isinstance(feature, tfds.features.FeaturesDict):
        return {name: made_up(part, index) for name, part in feature.items()}
    if isinstance(feature, tfds.features.Sequence):
        return [made_up(feature.feature, index), made_up(feature.feature, index + 1)]
    if isinstance(feature, tfds.features.ClassLabel):
        return feature.names[index % feature.num_classes]
    if isinstance(feature, tfds.features.Audio):
        return wave(feature.sample_rate or 48_000, 0.6, 200 + index).astype(feature.np_dtype)
    if np.dtype(feature.np_dtype).kind in "OSU":
        return SENTENCES[index % len(SENTENCES)]
    return np.dtype(feature.np_dtype).type(index % 2)


def wave(rate, seconds, hertz):
    """A tone as 16-bit samples."""
    return np.rint(12_000 * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)).astype(np.int16)
