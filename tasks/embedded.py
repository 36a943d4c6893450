"""The embedded corpus: sentences of one meaning in five languages, spoken by espeak-ng; made on first use.

Every objective has a task over all languages, `embedded_recognition`, and one for each, `embedded_recognition_en`;
translations have one for each direction, `embedded_translation_en_zh` (text) and `embedded_speech_translation_en_zh`.

Splits: train, validation, test_sentences (new sentences, voices of the training), test_voices (new sentences, new
voices). SPEECHLM_DATA names the folder that it is kept in, by default ~/.cache/speechlm_jax.
"""

import dataclasses
import functools
import itertools
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import seqio

from speechlm_jax.data import config as data_config
from speechlm_jax.data import (
    features,
    joined,
    measures,
    noisy,
    objectives,
    others,
    paired_objectives,
    sources,
    speech_objectives,
)
from tasks.embedded_corpus import build, config, words

SPLITS = ("train", "validation", "test_sentences", "test_voices")
ALL_LANGUAGES = config.EmbeddedCorpus()
"""What the tasks without a language in their name learn from."""


def one_language(language: str) -> config.EmbeddedCorpus:
    """The corpus of the tasks of one language: more sentences of it."""
    return config.EmbeddedCorpus(languages=(language,), train_sentences=3000, test_sentences=300)


def written(language: str) -> config.EmbeddedCorpus:
    """Text of one language, much more of it, with what is held out of `one_language`: what it means is learned from
    many sentences."""
    return dataclasses.replace(one_language(language), train_sentences=12_000, second_voice_share=0.0, is_spoken=False)


def spoken_facts(language: str) -> config.EmbeddedCorpus:
    """The speech of one language with nothing but facts to be asked about."""
    return dataclasses.replace(one_language(language), train_domains=("facts",))


def facts(language: str) -> config.EmbeddedCorpus:
    """Text with nothing but facts to be asked about, so many that none is known by heart before it is clear that a
    question and its text must be compared."""
    return dataclasses.replace(written(language), train_sentences=24_000, train_domains=("facts",))


def one_voice(language: str) -> config.EmbeddedCorpus:
    """Sentences of one language that one voice reads evenly, as recordings for speech synthesis are."""
    return dataclasses.replace(
        one_language(language), voices=("f2",), second_voice_share=0.0, rates_wpm=(175, 175), pitches=(50, 50)
    )


def folder(corpus: config.EmbeddedCorpus) -> pathlib.Path:
    """The folder of a corpus, made if need be."""
    kept_in = os.environ.get("SPEECHLM_DATA") or pathlib.Path.home() / ".cache" / "speechlm_jax"
    return build.build(kept_in, corpus)


CORPORA = {
    "": (ALL_LANGUAGES,) * 4,
    **{f"_{code}": (one_language(code), written(code), spoken_facts(code), facts(code)) for code in words.LANGUAGES},
}
"""Of the suffix of a task, what it hears, what it reads to label it, and what it hears and reads to be asked about
it."""

NOISE = data_config.Augmentation(noise_db=(0.0, 10.0))
"""What denoising takes away again."""
JOINED_SECONDS = 11.0
"""Of several sentences in one recording: what a row of the quickstart holds."""
SENTIMENTS = ("positive", "negative")
INTENTS = (
    *("set_alarm", "set_timer", "set_temperature", "send_message", "play_music", "call", "turn_on", "turn_off"),
    *("volume_up", "volume_down", "ask_weather", "ask_hours", "remind"),
)


def _add(
    name: str,
    source: sources.RandomAccessSource,
    steps: Sequence[Callable],
    metric_fns: Sequence[Any] = (),
) -> None:
    seqio.TaskRegistry.add(
        name,
        source=source,
        preprocessors=list(steps),
        output_features=features.OUTPUT_FEATURES,
        metric_fns=list(metric_fns),
    )


def _source_of(corpus: config.EmbeddedCorpus) -> sources.RecordsSource:
    """The records of a corpus, which is made when they are first read."""
    return sources.RecordsSource(functools.partial(folder, corpus), SPLITS)


def _register(suffix: str, source: sources.RecordsSource) -> None:
    """The tasks of a corpus of speech, but for what it means."""
    claims = others.WithOthers(source, ("spoken",), count=4)

    # Speech and text of one sentence.
    _add(
        f"embedded_recognition{suffix}",
        source,
        objectives.recognition("spoken", "{lang}"),
        measures.recognition(),
    )
    _add(
        f"embedded_joined_recognition{suffix}",
        joined.Joined(source, ("spoken",), max_seconds=JOINED_SECONDS, same="lang"),
        objectives.recognition("spoken", "{lang}"),
        measures.recognition(),
    )
    _add(
        f"embedded_matching{suffix}",
        claims,
        paired_objectives.matching("spoken", "other_spoken"),
        measures.matching(),
    )
    _add(
        f"embedded_text_to_speech{suffix}",
        source,
        speech_objectives.text_to_speech("spoken", "{lang}", speaker="speaker"),
        measures.speech(),
    )

    # Text, or speech, alone; but for hidden words, which may be heard.
    for name, objective in objectives.ON_TEXT.items():
        _add(f"embedded_{name}{suffix}", source, objective("spoken"))
    # Words that speech tells are worth hiding more of.
    hidden = objectives.masked_language_model("spoken", share=0.4, speech=True)
    _add(f"embedded_spoken_masked_language_model{suffix}", source, hidden)
    _add(f"embedded_masked_speech{suffix}", source, speech_objectives.masked_speech())
    _add(
        f"embedded_denoising{suffix}",
        source,
        [noisy.augmented("audio", "noisy", choices=NOISE), *speech_objectives.speech_to_speech("noisy")],
        measures.speech(),
    )
    _add(
        f"embedded_language_identification{suffix}",
        source,
        paired_objectives.classification("lang", words.LANGUAGES, name="language", speech=True),
        measures.labels(*words.LANGUAGES),
    )


def _register_labels(suffix: str, source: sources.RecordsSource, *, speech: bool) -> None:
    """What speech, or text, wants and feels; of the records that say so."""
    kind, texts = ("spoken_", ()) if speech else ("", ("text",))
    for label, names in (("sentiment", SENTIMENTS), ("intent", INTENTS)):
        _add(
            f"embedded_{kind}{label}{suffix}",
            sources.Having(source, label),
            paired_objectives.classification(label, names, name=label, texts=texts, speech=speech),
            measures.labels(*names),
        )


def _register_questions(suffix: str, source: sources.RecordsSource, *, speech: bool) -> None:
    """Questions on speech, or text, of the records that have some; and what else is learned from these passages."""
    kind = "spoken_" if speech else ""
    asked = sources.Having(source, "question", "answer")
    _add(
        f"embedded_{kind}question_answering{suffix}",
        asked,
        paired_objectives.question_answering("questions", "answers", passage=None if speech else "text"),
        measures.answers(),
    )
    if speech:
        _add(
            f"embedded_passage_recognition{suffix}",
            asked,
            objectives.recognition("spoken", "{lang}"),
            measures.recognition(),
        )
    else:
        _add(f"embedded_passage_spans{suffix}", source, objectives.shuffled_spans("text"))


def _register_translation(source_language: str, target_language: str) -> None:
    """Text and speech of one language to text of another."""
    source = _source_of(one_language(source_language))
    target = f"translation/{target_language}"
    for kind, text in (("", "text"), ("speech_", None)):
        _add(
            f"embedded_{kind}translation_{source_language}_{target_language}",
            source,
            paired_objectives.translation(target, source_language, target_language, text=text),
            measures.translation(target_language),
        )


for _suffix, _corpora in CORPORA.items():
    # One source a corpus, whose records are then read once.
    _made = {corpus: _source_of(corpus) for corpus in _corpora}
    _spoken, _labelled, _heard, _asked = (_made[corpus] for corpus in _corpora)
    _register(_suffix, _spoken)
    for _speech in (True, False):
        _register_labels(_suffix, _spoken if _speech else _labelled, speech=_speech)
        _register_questions(_suffix, _heard if _speech else _asked, speech=_speech)
    seqio.MixtureRegistry.add(
        f"embedded_pretraining{_suffix}",
        [
            (f"embedded_recognition{_suffix}", 2.0),
            (f"embedded_span_corruption{_suffix}", 1.0),
            (f"embedded_masked_language_model{_suffix}", 1.0),
        ],
    )
for _from, _to in itertools.permutations(words.LANGUAGES, 2):
    _register_translation(_from, _to)

for _code in words.LANGUAGES:
    _add(
        f"embedded_text_to_speech_one_voice_{_code}",
        _source_of(one_voice(_code)),
        speech_objectives.text_to_speech("spoken", "{lang}", speaker="speaker"),
        measures.speech(),
    )

# Speech alone and text alone: no example says which text was spoken.
seqio.MixtureRegistry.add(
    "embedded_unlabelled_en",
    [
        ("embedded_masked_speech_en", 2.0),
        ("embedded_masked_language_model_en", 1.0),
        ("embedded_span_corruption_en", 1.0),
    ],
)
# Recognition from a tenth of the transcripts; what is held out is whole.
_add(
    "embedded_recognition_tenth_en",
    sources.ShareOf(_source_of(one_language("en")), (0.0, 0.1), splits=("train",)),
    objectives.recognition("spoken", "{lang}"),
    measures.recognition(),
)

_OBJECTIVES = {
    "recognition": 5.0,
    "spoken_masked_language_model": 1.0,
    "masked_speech": 1.0,
    "matching": 1.5,
    "text_to_speech": 2.0,
    "denoising": 0.5,
    "span_corruption": 1.0,
    "passage_spans": 1.0,
    "prefix_language_model": 0.5,
    "masked_language_model": 1.5,
    "sentiment": 0.5,
    "spoken_sentiment": 0.5,
    "intent": 0.5,
    "spoken_intent": 0.5,
    "language_identification": 0.25,
    "question_answering": 1.0,
    "spoken_question_answering": 1.0,
}
"""Every objective and how often it is drawn, of the mixture of two languages."""

_TRANSLATIONS = {"translation": 2.0, "speech_translation": 2.0}
"""The same of both directions of the two languages."""


def _of_two_languages(mixture: str, objectives: Mapping[str, float], translations: Mapping[str, float]) -> None:
    tasks = [(name, rate, language) for name, rate in objectives.items() for language in ("en", "zh")]
    tasks += [(name, rate, pair) for name, rate in translations.items() for pair in ("en_zh", "zh_en")]
    seqio.MixtureRegistry.add(mixture, [(f"embedded_{name}_{where}", rate) for name, rate, where in tasks])


_of_two_languages("embedded_objectives_en_zh", _OBJECTIVES, _TRANSLATIONS)
# What finetuning goes on with, one mixture a use.
_of_two_languages("embedded_translations_en_zh", {"recognition": 1.0}, {"translation": 3.0, "speech_translation": 2.0})
_of_two_languages("embedded_matching_en_zh", {"recognition": 1.0, "matching": 3.0}, {})
_of_two_languages(
    "embedded_understanding_en_zh",
    {
        "recognition": 2.0,
        "sentiment": 3.0,
        "spoken_sentiment": 4.0,
        "intent": 2.0,
        "spoken_intent": 2.0,
        "masked_language_model": 5.0,
    },
    {},
)
# One language at a time: where an answer stands is found only after so many questions of it. First in text, which takes
# most of the learning, then in speech, which is slower to read.
for _code in words.LANGUAGES:
    for _name, _rates in {
        "answering": {"question_answering": 2.0, "passage_spans": 1.0},
        "spoken_answering": {
            "passage_recognition": 4.0,
            "spoken_question_answering": 4.0,
            "question_answering": 2.0,
        },
    }.items():
        seqio.MixtureRegistry.add(
            f"embedded_{_name}_{_code}", [(f"embedded_{task}_{_code}", rate) for task, rate in _rates.items()]
        )
