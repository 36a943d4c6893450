"""XQuAD (arXiv 1910.11856): questions of SQuAD translated into ten languages; prepared by TFDS.

`tfds build xquad/zh --file_format=array_record`, one configuration a language. Training and validation are SQuAD's,
translated by machine; English has a test split alone.
"""

import seqio

from speechlm_jax.data import features, measures, paired_objectives, tfds_source

LANGUAGES = ("en", "ar", "de", "el", "es", "hi", "ru", "th", "tr", "vi", "zh")

for _language in LANGUAGES:
    _translated = {} if _language == "en" else {"train": "translate-train", "validation": "translate-dev"}
    seqio.TaskRegistry.add(
        f"xquad_question_answering_{_language}",
        source=tfds_source.TfdsSource(
            f"xquad/{_language}",
            {**_translated, "test": "test"},
            tfds_source.SQUAD_LAYOUT,
        ),
        preprocessors=paired_objectives.question_answering(
            "question", "answer", passage="context", accepted="accepted"
        ),
        output_features=features.OUTPUT_FEATURES,
        metric_fns=measures.answers(),
    )
