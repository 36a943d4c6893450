"""Speech Commands 0.02 (arXiv 1804.03209): ten spoken words, other words, and silence; prepared by TFDS.

`tfds build speech_commands --file_format=array_record`.
"""

from typing import Any

import seqio

from speechlm_jax import label_metrics, metrics
from speechlm_jax.data import features, paired_objectives, tfds_source

LABELS = (
    *("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes"),
    *("_silence_", "_unknown_"),
)

METRICS: list[Any] = [
    metrics.bootstrapped(label_metrics.in_label_set(label_metrics.accuracy, *LABELS)),
    label_metrics.macro_f1,
]
seqio.TaskRegistry.add(
    "speech_commands",
    source=tfds_source.TfdsSource(
        "speech_commands",
        {"train": "train", "validation": "validation", "test": "test"},
        {"audio": "audio", "command": "label"},
    ),
    preprocessors=paired_objectives.classification("command", LABELS, name="command", speech=True),
    output_features=features.OUTPUT_FEATURES,
    metric_fns=METRICS,
)
