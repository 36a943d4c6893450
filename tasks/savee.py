"""SAVEE (Haq and Jackson, 2010): English acted in seven emotions by four men, 480 recordings; prepared by TFDS.

`tfds build savee --file_format=array_record`, once its archive, which asks for a registration, has been fetched.
"""

import seqio

from speechlm_jax.data import features, measures, paired_objectives, tfds_source

EMOTIONS = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")

seqio.TaskRegistry.add(
    "savee_emotion",
    source=tfds_source.TfdsSource(
        "savee",
        {"train": "train", "validation": "validation", "test": "test"},
        {"audio": "audio", "emotion": "label", "speaker": "speaker_id"},
    ),
    preprocessors=paired_objectives.classification("emotion", EMOTIONS, name="emotion", speech=True),
    output_features=features.OUTPUT_FEATURES,
    metric_fns=measures.labels(*EMOTIONS),
)
