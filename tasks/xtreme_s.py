"""FLEURS (arXiv 2205.12446), the part of XTREME-S that TFDS has: one set of sentences read in 102 languages.

`tfds build xtreme_s/fleurs.de_de --file_format=array_record`, one configuration a language; `fleurs.all` has them all.
"""

import seqio

from speechlm_jax.data import features, measures, objectives, paired_objectives, tfds_source

SPLITS = {"train": "train", "validation": "validation", "test": "test"}
CONFIGS = {
    "en": "en_us",
    "de": "de_de",
    "fr": "fr_fr",
    "es": "es_419",
    "zh": "cmn_hans_cn",
    "pl": "pl_pl",
    "ru": "ru_ru",
    "ja": "ja_jp",
    "ko": "ko_kr",
    "it": "it_it",
    "pt": "pt_br",
    "nl": "nl_nl",
    "ar": "ar_eg",
    "hi": "hi_in",
    "tr": "tr_tr",
    "vi": "vi_vn",
    "id": "id_id",
    "fa": "fa_ir",
    "uk": "uk_ua",
    "cs": "cs_cz",
    "sv": "sv_se",
    "ro": "ro_ro",
    "el": "el_gr",
    "he": "he_il",
}
"""Of our code for each language, what FLEURS calls it: those that have a token in every vocabulary."""

for _language, _config in CONFIGS.items():
    seqio.TaskRegistry.add(
        f"fleurs_recognition_{_language}",
        source=tfds_source.TfdsSource(
            f"xtreme_s/fleurs.{_config}", SPLITS, {"audio": "audio", "text": "transcription"}
        ),
        preprocessors=objectives.recognition("text", _language),
        output_features=features.OUTPUT_FEATURES,
        metric_fns=measures.recognition(),
    )
seqio.TaskRegistry.add(
    "fleurs_language_identification",
    source=tfds_source.TfdsSource("xtreme_s/fleurs.all", SPLITS, {"audio": "audio", "language": "lang_id"}),
    preprocessors=paired_objectives.classification("language", name="language", speech=True),
    output_features=features.OUTPUT_FEATURES,
    metric_fns=measures.labels(),
)
