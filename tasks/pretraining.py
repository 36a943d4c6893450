"""Mixtures of public corpora to pretrain on, of speech with its text, speech alone and text alone."""

import seqio

from tasks import c4, librispeech, libritts, wikipedia, wmt

CORPORA = (c4, librispeech, libritts, wikipedia, wmt)
"""Whose tasks the mixtures draw from: importing them has them registered."""

seqio.MixtureRegistry.add(
    "pretraining_en_de",
    [
        ("librispeech_recognition", 4.0),
        ("librispeech_masked_speech", 2.0),
        ("librispeech_matching", 1.0),
        ("libritts_text_to_speech", 2.0),
        ("c4_span_corruption", 2.0),
        ("c4_masked_language_model", 1.0),
        ("mc4_de_span_corruption", 1.0),
        ("wikipedia_prefix_language_model_en", 0.5),
        ("wikipedia_prefix_language_model_de", 0.5),
        ("wmt14_translation_de_en", 1.0),
        ("wmt14_translation_en_de", 1.0),
    ],
)
