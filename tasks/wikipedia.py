"""Wikipedia of 1 June 2023: articles without their markup; prepared by TFDS.

`tfds build wikipedia/20230601.en --file_format=array_record`, one configuration a language. There are no splits: one
article in a hundred is held out.
"""

import seqio

from speechlm_jax.data import features, objectives, tfds_source

LANGUAGES = ("en", "de", "fr", "es", "zh")

for _language in LANGUAGES:
    _source = tfds_source.TfdsSource(
        f"wikipedia/20230601.{_language}", {"train": "train[1%:]", "validation": "train[:1%]"}, {"text": "text"}
    )
    for _name, _objective in objectives.ON_TEXT.items():
        seqio.TaskRegistry.add(
            f"wikipedia_{_name}_{_language}",
            source=_source,
            preprocessors=_objective("text"),
            output_features=features.OUTPUT_FEATURES,
        )
