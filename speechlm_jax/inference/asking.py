"""What a model is asked: a function for each use, from what is given to lanes, laid out as the objectives do it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from speechlm_jax import vocabulary

Example = dict[str, Any]


class Given(NamedTuple):
    """What there is to ask about, and what is said with it; each use looks at its own part of it."""

    audio: np.ndarray | None = None
    """Speech, int16 "N", 16 kHz."""
    text: str = ""
    """Is read where there is no speech; what is claimed of the speech, where it is matched."""
    language: str = ""
    """Of the speech, or of the text."""
    to: str = ""
    """The language to translate into."""
    about: str = ""
    """What is asked for, such as 'sentiment'; empty where the task of training has no name."""
    question: str = ""
    speaker: str = ""
    """Whose voice; empty where training named nobody."""


def transcribe(given: Given, words: vocabulary.Vocabulary) -> Example:
    """Speech to its transcript, as objectives.recognition; like all uses, it raises ValueError for what is not there
    to be used, and for a language that the vocabulary lacks."""
    return _example(_prompt(words, "transcribe", given.language), audio=_speech(given), ctc=1)


def hear(given: Given) -> Example:
    """Speech for the CTC head alone, of which nothing is written."""
    return _example(audio=_speech(given), ctc=1)


def translate(given: Given, words: vocabulary.Vocabulary) -> Example:
    """Speech or text to another language, as paired_objectives.translation."""
    return _about(given, [], words, _prompt(words, "translate", given.language, given.to))


def classify(given: Given, words: vocabulary.Vocabulary) -> Example:
    """Speech or text to a label, as paired_objectives.classification."""
    return _about(given, [given.about] if given.about else [], words, _prompt(words, "classify"))


def answer(given: Given, words: vocabulary.Vocabulary) -> Example:
    """A question on speech or text to its answer, as paired_objectives.question_answering."""
    asked = words.encode(_filled(given.question, "question"))
    return _about(given, [], words, [*_prompt(words, "answer"), *asked])


def match(given: Given, words: vocabulary.Vocabulary) -> Example:
    """Speech and a text that is claimed to be its own, as paired_objectives.matching; laid out as a true
    claim, for nothing reads which."""
    speech, claim = _speech(given), _filled(given.text, "text")
    return _example(_prompt(words, "match"), audio=speech, targets=[*words.encode(claim), vocabulary.EOS], claim=1)


def speak(given: Given, words: vocabulary.Vocabulary) -> Example:
    """Text to speech, as speech_objectives.text_to_speech."""
    names = words.encode(given.speaker) if given.speaker else []
    told = [*_prompt(words, "speak", given.language), *names, *words.spell(_filled(given.text, "text"))]
    return _example(inputs=told)


def _about(given: Given, before: Sequence[str], words: vocabulary.Vocabulary, prompt: Sequence[int]) -> Example:
    """An example of the speech, or else of the text, behind other texts."""
    if given.audio is not None:
        return _example(prompt, audio=given.audio, inputs=_joined(before, words))
    return _example(prompt, inputs=_joined([*before, _filled(given.text, "recording and no text")], words))


def _joined(texts: Sequence[str], words: vocabulary.Vocabulary) -> list[int]:
    """Texts one after the other, each but the last ended."""
    return [token for text in texts for token in (*words.encode(text), vocabulary.EOS)][:-1]


def _prompt(words: vocabulary.Vocabulary, task: str, *languages: str) -> list[int]:
    return words.arranged(words.token(f"<task:{task}>"), [words.language(code) for code in languages])


def _speech(given: Given) -> np.ndarray:
    if given.audio is None:
        raise ValueError("there is no recording")
    return given.audio


def _filled(text: str, what: str) -> str:
    if not text.strip():
        raise ValueError(f"there is no {what}")
    return text


def _example(
    prompt: Sequence[int] = (),
    *,
    audio: np.ndarray | None = None,
    inputs: Sequence[int] = (),
    targets: Sequence[int] = (),
    ctc: int = 0,
    claim: int = 0,
) -> Example:
    """All features of an example; the lanes that are not named are empty."""
    samples = np.zeros(0, np.int16)
    return {
        "audio": samples if audio is None else audio,
        "inputs": np.array(inputs, np.int32),
        "prompt": np.array(prompt, np.int32),
        "targets": np.array(targets, np.int32),
        "target_audio": samples,
        "masked_tokens": np.zeros(0, np.int32),
        "masked_weights": np.zeros(0, np.float32),
        "ctc": np.full(1, ctc, np.int32),
        "claim": np.full(1, claim, np.float32),
        "mask_share": np.zeros(1, np.float32),
        "weight": np.ones(1, np.float32),
    }
