"""LibriSpeech (Panayotov et al., ICASSP 2015): read English, 960 hours; prepared by TFDS.

`tfds build librispeech --file_format=array_record`; transcripts are in small letters here.
"""

import seqio

from speechlm_jax.data import (
    features,
    measures,
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

seqio.TaskRegistry.add(
    "librispeech_recognition",
    source=SOURCE,
    preprocessors=[preprocessors.normalize_text("text", lower=True), *objectives.recognition()],
    output_features=features.OUTPUT_FEATURES,
    metric_fns=measures.recognition(),
)
seqio.TaskRegistry.add(
    "librispeech_masked_speech",
    source=SOURCE,
    preprocessors=speech_objectives.masked_speech(),
    output_features=features.OUTPUT_FEATURES,
)
seqio.TaskRegistry.add(
    "librispeech_matching",
    source=others.WithOthers(SOURCE, ("text",), count=2),
    preprocessors=[
        preprocessors.normalize_text("text", "other_text", lower=True),
        *paired_objectives.matching(),
    ],
    output_features=features.OUTPUT_FEATURES,
    metric_fns=measures.matching(),
)
