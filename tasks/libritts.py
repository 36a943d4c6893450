"""LibriTTS (arXiv 1904.02882): read English at 24 kHz, 2,456 voices, for text to speech; prepared by TFDS.

`tfds build libritts --file_format=array_record`.
"""

import seqio
import tensorflow as tf

from speechlm_jax.data import features, measures, objectives, preprocessors, speech_objectives, tfds_source

SOURCE = tfds_source.TfdsSource(
    "libritts",
    {
        "train": ("train_clean100", "train_clean360", "train_other500"),
        "train_clean": ("train_clean100", "train_clean360"),
        "validation": "dev_clean",
        "test_clean": "test_clean",
        "test_other": "test_other",
    },
    {"audio": "speech", "text": "text_normalized", "id": "id", "speaker": "speaker_id"},
)


def _speaker_as_text(example: preprocessors.Example) -> preprocessors.Example:
    return {**example, "speaker": tf.strings.as_string(example["speaker"])}


seqio.TaskRegistry.add(
    "libritts_text_to_speech",
    source=SOURCE,
    preprocessors=[
        preprocessors.mapped(_speaker_as_text),
        *speech_objectives.text_to_speech("text", "en", speaker="speaker"),
    ],
    output_features=features.OUTPUT_FEATURES,
    metric_fns=measures.speech(),
)
seqio.TaskRegistry.add(
    "libritts_recognition",
    source=SOURCE,
    preprocessors=objectives.recognition("text", "en"),
    output_features=features.OUTPUT_FEATURES,
    metric_fns=measures.recognition("en"),
)
