"""OPUS (Tiedemann, LREC 2012): translations between German and English of four domains; prepared by TFDS.

`tfds build opus/medical --file_format=array_record`. There are no splits: two sentences in a hundred are held out.
"""

import seqio

from speechlm_jax.data import features, measures, paired_objectives, tfds_source

DOMAINS = {"medical": "medical", "law": "law", "software": "IT", "subtitles": "subtitles"}
"""Of our name for each domain, the configuration."""

for _domain, _config in DOMAINS.items():
    _source = tfds_source.TfdsSource(
        f"opus/{_config}",
        {"train": "train[2%:]", "validation": "train[:1%]", "test": "train[1%:2%]"},
        {"de": "de", "en": "en"},
    )
    for _given, _wanted in (("de", "en"), ("en", "de")):
        seqio.TaskRegistry.add(
            f"opus_{_domain}_translation_{_given}_{_wanted}",
            source=_source,
            preprocessors=paired_objectives.translation(_wanted, _given, _wanted, text=_given),
            output_features=features.OUTPUT_FEATURES,
            metric_fns=measures.translation(_wanted),
        )
