"""Common Voice 6.1 (arXiv 1912.06670): sentences read by volunteers in many languages; prepared by TFDS.

`tfds build common_voice/de --file_format=array_record`, one configuration a language.
"""

import seqio

from speechlm_jax.data import features, measures, objectives, tfds_source

CONFIGS = {"en": "en", "de": "de", "fr": "fr", "es": "es", "zh": "zh-CN"}
"""Of our code for each language, the configuration."""

for _language, _config in CONFIGS.items():
    seqio.TaskRegistry.add(
        f"common_voice_recognition_{_language}",
        source=tfds_source.TfdsSource(
            f"common_voice/{_config}",
            {"train": "train", "validation": "dev", "test": "test"},
            {"audio": "voice", "text": "sentence", "speaker": "client_id"},
            # The builder does not say it; the clips of this version are MP3 at this rate.
            sample_rate=48_000,
        ),
        preprocessors=objectives.recognition("text", _language),
        output_features=features.OUTPUT_FEATURES,
        metric_fns=measures.recognition(_language),
    )
