"""TyDi QA (arXiv 2003.05002), gold passages: questions asked in nine languages; prepared by TFDS.

`tfds build tydi_qa/goldp --file_format=array_record`. Each language has a split for validation of its own.
"""

import seqio

from speechlm_jax.data import features, measures, paired_objectives, tfds_source

LANGUAGES = ("ar", "bn", "en", "fi", "id", "ko", "ru", "sw", "te")

seqio.TaskRegistry.add(
    "tydi_qa_question_answering",
    source=tfds_source.TfdsSource(
        "tydi_qa/goldp",
        {
            "train": "train",
            "validation": "validation",
            **{f"validation_{language}": f"validation-{language}" for language in LANGUAGES},
        },
        tfds_source.SQUAD_LAYOUT,
    ),
    preprocessors=paired_objectives.question_answering("question", "answer", passage="context", accepted="accepted"),
    output_features=features.OUTPUT_FEATURES,
    metric_fns=measures.answers(),
)
