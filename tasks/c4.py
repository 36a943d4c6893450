"""C4 and mC4 (arXiv 1910.10683, 2010.11934): text of the web, English and in 101 languages; prepared by TFDS.

`tfds build c4/en --file_format=array_record`; the languages of `c4/multilingual` are splits of it.
"""

import seqio

from speechlm_jax.data import features, objectives, tfds_source

LANGUAGES = ("de", "fr", "es", "zh")
SOURCES = {
    "c4": tfds_source.TfdsSource("c4/en", {"train": "train", "validation": "validation"}, {"text": "text"}),
    **{
        f"mc4_{language}": tfds_source.TfdsSource(
            "c4/multilingual", {"train": language, "validation": f"{language}-validation"}, {"text": "text"}
        )
        for language in LANGUAGES
    },
}

for _corpus, _source in SOURCES.items():
    for _name, _objective in objectives.ON_TEXT.items():
        seqio.TaskRegistry.add(
            f"{_corpus}_{_name}",
            source=_source,
            preprocessors=_objective("text"),
            output_features=features.OUTPUT_FEATURES,
        )
