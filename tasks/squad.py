"""SQuAD 1.1 (arXiv 1606.05250): questions on English Wikipedia whose answers stand in it; prepared by TFDS.

`tfds build squad/v1.1 --file_format=array_record`. Of several accepted answers the first is learned, and
the nearest counts.
"""

import seqio

from speechlm_jax.data import features, measures, paired_objectives, tfds_source

seqio.TaskRegistry.add(
    "squad_question_answering",
    source=tfds_source.TfdsSource(
        "squad/v1.1",
        {"train": "train", "validation": "validation"},
        tfds_source.SQUAD_LAYOUT,
    ),
    preprocessors=paired_objectives.question_answering("question", "answer", passage="context", accepted="accepted"),
    output_features=features.OUTPUT_FEATURES,
    metric_fns=measures.answers(),
)
