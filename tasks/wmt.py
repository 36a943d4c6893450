"""Translations of WMT: German and French of 2014, Chinese of 2017 to 2019, from and to English; prepared by TFDS.

`tfds build wmt14_translate/de-en --file_format=array_record`.
"""

import seqio

from speechlm_jax.data import features, measures, paired_objectives, tfds_source

PAIRS = ((14, "de"), (14, "fr"), (17, "zh"), (18, "zh"), (19, "zh"))
"""Years, and the language that is not English."""


def _register(year: int, other: str) -> None:
    splits = {"train": "train", "validation": "validation"}
    if year != 19:
        splits["test"] = "test"
    source = tfds_source.TfdsSource(f"wmt{year}_translate/{other}-en", splits, {other: other, "en": "en"})
    for given, wanted in ((other, "en"), ("en", other)):
        seqio.TaskRegistry.add(
            f"wmt{year}_translation_{given}_{wanted}",
            source=source,
            preprocessors=paired_objectives.translation(wanted, given, wanted, text=given),
            output_features=features.OUTPUT_FEATURES,
            metric_fns=measures.translation(wanted),
        )


for _year, _other in PAIRS:
    _register(_year, _other)
