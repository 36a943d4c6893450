"""LJ Speech (Ito and Johnson, 2017): read English of one voice at 22,050 Hz, 24 hours; prepared by TFDS.

`tfds build ljspeech --file_format=array_record`. The corpus has no splits: four hundredths are held out.
"""

import seqio

from speechlm_jax.data import features, measures, objectives, speech_objectives, tfds_source

SOURCE = tfds_source.TfdsSource(
    "ljspeech",
    {"train": "train[4%:]", "validation": "train[:2%]", "test": "train[2%:4%]"},
    {"audio": "speech", "text": "text_normalized", "id": "id"},
)

seqio.TaskRegistry.add(
    "ljspeech_recognition",
    source=SOURCE,
    preprocessors=objectives.recognition("text", "en"),
    output_features=features.OUTPUT_FEATURES,
    metric_fns=measures.recognition("en"),
)
seqio.TaskRegistry.add(
    "ljspeech_text_to_speech",
    source=SOURCE,
    preprocessors=speech_objectives.text_to_speech("text", "en"),
    output_features=features.OUTPUT_FEATURES,
    metric_fns=measures.speech(),
)
