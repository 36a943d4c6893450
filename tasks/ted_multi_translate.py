"""TED talks (Qi et al., arXiv 1804.06323): subtitles of talks in 59 languages, side by side; prepared by TFDS.

`tfds build ted_multi_translate --file_format=array_record`. A sentence has some of the languages; a task takes those
that have both of its own.
"""

import seqio
import tensorflow as tf

from speechlm_jax.data import features, measures, paired_objectives, preprocessors, tfds_source

CODES = {"de": "de", "fr": "fr", "es": "es", "zh": "zh-cn"}
"""Of our code for each language beside English, the one of the corpus."""

SOURCE = tfds_source.TfdsSource(
    "ted_multi_translate",
    {"train": "train", "validation": "validation", "test": "test"},
    {"languages": "translations/language", "translations": "translations/translation"},
)


def pair(language: str) -> preprocessors.Preprocessor:
    """The fields `en` and `language`; what a sentence lacks is empty."""

    def change(example: preprocessors.Example) -> preprocessors.Example:
        there, texts = example["languages"], example["translations"]
        found = {
            ours: tf.strings.reduce_join(tf.boolean_mask(texts, tf.equal(there, code)), separator=" ")
            for ours, code in (("en", "en"), (language, CODES[language]))
        }
        return {**example, **found}

    return preprocessors.mapped(change)


def _register(given: str, wanted: str) -> None:
    other = wanted if given == "en" else given
    seqio.TaskRegistry.add(
        f"ted_translation_{given}_{wanted}",
        source=SOURCE,
        preprocessors=[
            pair(other),
            *paired_objectives.translation(wanted, given, wanted, text=given),
        ],
        output_features=features.OUTPUT_FEATURES,
        metric_fns=measures.translation(wanted),
    )


for _other in CODES:
    _register(_other, "en")
    _register("en", _other)
