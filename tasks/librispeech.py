"""LibriSpeech (Panayotov et al., ICASSP 2015): read English, 960 hours; prepared by TFDS.

`tfds build librispeech --file_format=array_record`; transcripts are in small letters here.
"""

from typing import Any

import seqio

from speechlm_jax import label_metrics, metrics
from speechlm_jax.data import (
    features,
    objectives,
    others,
    paired_objectives,
    preprocessors,
    speech_objectives,
    tfds_source,
)

SOURCE = tfds_source.TfdsSource(
    "librispeech",
    {
        "train": ("train_clean100", "train_clean360", "train_other500"),
        "train_clean100": "train_clean100",
        "validation": "dev_clean",
        "validation_other": "dev_other",
        "test_clean": "test_clean",
        "test_other": "test_other",
    },
    {"audio": "speech", "text": "text", "id": "id"},
)

RECOGNITION_METRICS: list[Any] = [metrics.bootstrapped(metrics.wer), metrics.bootstrapped(metrics.cer)]
seqio.TaskRegistry.add(
    "librispeech_recognition",
    source=SOURCE,
    preprocessors=[preprocessors.normalize_text("text", lower=True), *objectives.recognition()],
    output_features=features.OUTPUT_FEATURES,
    metric_fns=RECOGNITION_METRICS,
)
seqio.TaskRegistry.add(
    "librispeech_masked_speech",
    source=SOURCE,
    preprocessors=speech_objectives.masked_speech(),
    output_features=features.OUTPUT_FEATURES,
)
MATCHING_METRICS: list[Any] = [
    metrics.bootstrapped(
        label_metrics.in_label_set(label_metrics.accuracy, paired_objectives.MATCH, paired_objectives.MISMATCH)
    ),
    label_metrics.auc_by_likelihood(paired_objectives.MATCH),
]
seqio.TaskRegistry.add(
    "librispeech_matching",
    source=others.WithOthers(SOURCE, ("text",), count=2),
    preprocessors=[
        preprocessors.normalize_text("text", "other_text", lower=True),
        *paired_objectives.matching(),
    ],
    output_features=features.OUTPUT_FEATURES,
    metric_fns=MATCHING_METRICS,
)
