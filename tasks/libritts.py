"""LibriTTS (arXiv 1904.02882): read English at 24 kHz, 2,456 voices, for text to speech; prepared by TFDS.

`tfds build libritts --file_format=array_record`.
"""

from typing import Any

import seqio
import tensorflow as tf

from speechlm_jax import metrics, speech_metrics
from speechlm_jax.data import features, objectives, preprocessors, speech_objectives, tfds_source

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


SPEECH_METRICS: list[Any] = [
    metrics.bootstrapped(speech_metrics.mean_mel_cepstral_distortion),
    metrics.bootstrapped(speech_metrics.total_duration_ratio),
]
seqio.TaskRegistry.add(
    "libritts_text_to_speech",
    source=SOURCE,
    preprocessors=[
        preprocessors.mapped(_speaker_as_text),
        *speech_objectives.text_to_speech("text", "en", speaker="speaker"),
    ],
    output_features=features.OUTPUT_FEATURES,
    metric_fns=SPEECH_METRICS,
)
RECOGNITION_METRICS: list[Any] = [
    metrics.bootstrapped(metrics.normalized(metrics.wer)),
    metrics.bootstrapped(metrics.cer),
]
seqio.TaskRegistry.add(
    "libritts_recognition",
    source=SOURCE,
    preprocessors=objectives.recognition("text", "en"),
    output_features=features.OUTPUT_FEATURES,
    metric_fns=RECOGNITION_METRICS,
)
