"""Speech Commands 0.02 (arXiv 1804.03209): ten spoken words, other words, and silence; prepared by TFDS.

`tfds build speech_commands --file_format=array_record`.
"""

import seqio

from speechlm_jax.data import features, measures, paired_objectives, tfds_source

LABELS = (
    *("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes"),
    *("_silence_", "_unknown_"),
)

seqio.TaskRegistry.add(
    "speech_commands",
    source=tfds_source.TfdsSource(
        "speech_commands",
        {"train": "train", "validation": "validation", "test": "test"},
        {"audio": "audio", "command": "label"},
    ),
    preprocessors=paired_objectives.classification("command", LABELS, name="command", speech=True),
    output_features=features.OUTPUT_FEATURES,
    metric_fns=measures.labels(*LABELS),
)
