"""Tests of objectives of speech alone and of speech out."""

import numpy as np
import pytest
import tensorflow as tf

from speechlm_jax.data import speech_objectives

pytestmark = pytest.mark.usefixtures("words")


def run(steps, **fields):
    dataset = tf.data.Dataset.from_tensors({**fields, "_pos": 0, "id": "record"})
    for step in steps:
        dataset = step(dataset)
    return list(dataset.as_numpy_iterator())


SPEECH = np.arange(16_000, dtype=np.int16)


def test_masked_speech_needs_no_text_and_says_how_much_to_hide():
    (found,) = run(speech_objectives.masked_speech(share=0.3), audio=SPEECH, text="unused")
    assert found["mask_share"].tolist() == [np.float32(0.3)] and len(found["audio"]) == 16_000
    assert not len(found["inputs"]) and not len(found["targets"])


def test_speech_with_nothing_to_mask_is_left_out():
    assert not run(speech_objectives.masked_speech(min_seconds=0.5), audio=SPEECH[:7_999])
    assert run(speech_objectives.masked_speech(min_seconds=0.5), audio=SPEECH[:8_000])


def test_text_to_speech_encodes_task_language_speaker_and_text(words):
    steps = speech_objectives.text_to_speech("text", "{lang}", speaker="speaker")
    (found,) = run(steps, text="good day", lang="en", speaker="anna", audio=SPEECH)
    head = [words.token("<task:speak>"), words.language("en")]
    assert found["inputs"].tolist() == [*head, *words.encode("anna"), *words.spell("good day")]
    assert found["target_audio"].tolist() == SPEECH.tolist() and not len(found["audio"])


def test_a_voice_prompt_goes_into_the_encoder():
    steps = speech_objectives.text_to_speech(prompt="other_audio")
    (found,) = run(steps, text="good day", audio=SPEECH, other_audio=SPEECH[:900])
    assert len(found["audio"]) == 900 and len(found["target_audio"]) == 16_000


@pytest.mark.parametrize(("choice", "field"), [("speaker", ""), ("prompt", SPEECH[:0])])
def test_an_empty_name_or_prompt_of_a_voice_is_an_error(choice, field):
    steps = speech_objectives.text_to_speech(**{choice: "voice"})
    with pytest.raises(tf.errors.InvalidArgumentError, match="tells no voice to speak with"):
        run(steps, text="good day", audio=SPEECH, voice=field)


def test_speech_to_speech_keeps_both_recordings(words):
    (found,) = run(speech_objectives.speech_to_speech("noisy"), noisy=SPEECH // 2, audio=SPEECH)
    assert found["audio"].max() < found["target_audio"].max()
    assert found["inputs"].tolist() == [words.token("<task:denoise>")]
