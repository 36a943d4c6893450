"""What a manifest's lines can teach: of each objective the fields that it reads, its preprocessors and its metrics."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from speechlm_jax.data import config, measures, objectives, paired_objectives, preprocessors, speech_objectives
from speechlm_jax.data.preprocessors import Preprocessor

CLAIMS = 4
"""Texts of other lines that a near miss of matching takes its word from."""
WRITTEN = ("text", "target", "question", "answer", "passage")
"""Bindings of Manifest that name what is read or written as text: Manifest.plain changes it."""
LANGUAGES = ("language", "target_language")
"""Bindings that are a language's code, or the field that holds one, in braces."""


@dataclasses.dataclass(frozen=True)
class Objective:
    """An objective that Manifest.objectives can name."""

    reads: tuple[str, ...]
    """Bindings of Manifest that name what it reads of a line, beside the recording."""
    steps: Callable[[config.Manifest, Sequence[str]], list[Preprocessor]]
    """Its preprocessors, given the manifest and the labels there are."""
    measures: Callable[[Sequence[str], Sequence[str]], list[Any]] = lambda labels, languages: []
    """Its metrics, given the labels there are and the languages that are translated into."""
    lane: str = ""
    """The lane that the recording goes to; empty: it is not read."""
    others: bool = False
    """Whether an example comes with the texts of others."""


def fields(objective: Objective, choices: config.Manifest) -> dict[str, str]:
    """The fields of a line that an objective reads, by binding; a language that is a code is none."""
    named = {binding: getattr(choices, binding) for binding in objective.reads}
    languages = {binding: name for binding, name in named.items() if binding in LANGUAGES}
    coded = {binding for binding, name in languages.items() if not name.startswith("{")}
    return {binding: name.strip("{}") for binding, name in named.items() if name and binding not in coded}


def preprocess(objective: Objective, choices: config.Manifest, labels: Sequence[str]) -> list[Preprocessor]:
    """The whole preprocessors of a task: texts made plain where that is asked for, and lines left out that lack one of
    them or the recording."""
    written = [name for binding, name in fields(objective, choices).items() if binding in WRITTEN]
    steps = [_as_text(choices.label)] if "label" in objective.reads else []
    if choices.plain and written:
        brought = [f"other_{choices.text}"] if objective.others else []
        steps.append(preprocessors.normalize_text(*written, *brought, lower=True, strip_punctuation=True))
    if written:
        steps.append(preprocessors.drop_empty(*written))
    # Only then, for a vocabulary is trained on what comes before, where no recording has to be decoded.
    heard = [preprocessors.drop_empty(objective.lane)] if objective.lane else []
    return [*steps, *objective.steps(choices, labels), *heard]


def plain(text: str) -> str:
    """A text as `preprocess` makes it where Manifest.plain asks for that."""
    made = preprocessors.normalized(text, lower=True, strip_punctuation=True)
    return bytes(made.numpy()).decode()


def _as_text(field: str) -> Preprocessor:
    """A label that is a number as text."""

    def change(example: preprocessors.Example) -> preprocessors.Example:
        label = preprocessors.field(example, field, "reading labels")
        return {**example, field: label if label.dtype == tf.string else tf.strings.as_string(label)}

    return preprocessors.mapped(change)


def _translate(choices: config.Manifest, text: str | None) -> list[Preprocessor]:
    return paired_objectives.translation(choices.target, choices.language, choices.target_language, text=text)


def _classify(choices: config.Manifest, labels: Sequence[str], **looks_at: Any) -> list[Preprocessor]:
    return paired_objectives.classification(choices.label, labels, name=choices.about, **looks_at)


def _speak(choices: config.Manifest, labels: Sequence[str]) -> list[Preprocessor]:
    del labels
    return speech_objectives.text_to_speech(choices.text, choices.language, speaker=choices.speaker or None)


def _answer(choices: config.Manifest, passage: str | None) -> list[Preprocessor]:
    return paired_objectives.question_answering(choices.question, choices.answer, passage=passage)


def _of_text(objective: Callable[[str], list[Preprocessor]]) -> Objective:
    return Objective(("text",), lambda choices, labels: objective(choices.text))


OBJECTIVES: Mapping[str, Objective] = {
    # Speech and its text.
    "recognition": Objective(
        ("text", "language"),
        lambda choices, labels: objectives.recognition(choices.text, choices.language),
        lambda labels, languages: measures.recognition(),
        lane="audio",
    ),
    "matching": Objective(
        ("text",),
        lambda choices, labels: paired_objectives.matching(choices.text, f"other_{choices.text}"),
        lambda labels, languages: measures.matching(),
        lane="audio",
        others=True,
    ),
    "text_to_speech": Objective(
        ("text", "language", "speaker"),
        _speak,
        lambda labels, languages: measures.speech(),
        lane="target_audio",
    ),
    # Text, or speech, alone.
    **{name: _of_text(objective) for name, objective in objectives.ON_TEXT.items()},
    "language_model": Objective(
        ("text", "language"), lambda choices, labels: objectives.language_model(choices.text, choices.language)
    ),
    "masked_speech": Objective((), lambda choices, labels: speech_objectives.masked_speech(), lane="audio"),
    # Into another language.
    "translation": Objective(
        ("text", "target", *LANGUAGES),
        lambda choices, labels: _translate(choices, choices.text),
        lambda labels, languages: measures.translation(*languages),
    ),
    "speech_translation": Objective(
        ("target", *LANGUAGES),
        lambda choices, labels: _translate(choices, None),
        lambda labels, languages: measures.translation(*languages),
        lane="audio",
    ),
    # What it means.
    "classification": Objective(
        ("text", "label"),
        lambda choices, labels: _classify(choices, labels, texts=(choices.text,)),
        lambda labels, languages: measures.labels(*labels),
    ),
    "spoken_classification": Objective(
        ("label",),
        lambda choices, labels: _classify(choices, labels, speech=True),
        lambda labels, languages: measures.labels(*labels),
        lane="audio",
    ),
    "question_answering": Objective(
        ("question", "passage", "answer"),
        lambda choices, labels: _answer(choices, choices.passage),
        lambda labels, languages: measures.answers(),
    ),
    "spoken_question_answering": Objective(
        ("question", "answer"),
        lambda choices, labels: _answer(choices, None),
        lambda labels, languages: measures.answers(),
        lane="audio",
    ),
}
"""By the name that a recipe says."""
