"""LJ Speech (Ito and Johnson, 2017): read English of one voice at 22,050 Hz, 24 hours; prepared by TFDS.

`tfds build ljspeech --file_format=array_record`. The corpus has no splits: four hundredths are held out.
"""

from typing import Any

import seqio

from speechlm_jax import metrics, speech_metrics
from speechlm_jax.data import features, objectives, speech_objectives, tfds_source

SOURCE = tfds_source.TfdsSource(
    "ljspeech",
    {"train": "train[4%:]", "validation": "train[:2%]", "test": "train[2%:4%]"},
    {"audio": "speech", "text": "text_normalized", "id": "id"},
)

RECOGNITION_METRICS: list[Any] = [
    metrics.bootstrapped(metrics.normalized(metrics.wer)),
    metrics.bootstrapped(metrics.cer),
]
seqio.TaskRegistry.add(
    "ljspeech_recognition",
    source=SOURCE,
    preprocessors=objectives.recognition("text", "en"),
    output_features=features.OUTPUT_FEATURES,
    metric_fns=RECOGNITION_METRICS,
)
SPEECH_METRICS: list[Any] = [
    metrics.bootstrapped(speech_metrics.mean_mel_cepstral_distortion),
    metrics.bootstrapped(speech_metrics.total_duration_ratio),
]
seqio.TaskRegistry.add(
    "ljspeech_text_to_speech",
    source=SOURCE,
    preprocessors=speech_objectives.text_to_speech("text", "en"),
    output_features=features.OUTPUT_FEATURES,
    metric_fns=SPEECH_METRICS,
)
