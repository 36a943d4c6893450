"""Objectives of speech alone, and of speech out. Each function returns a task's preprocessors, `lanes` included."""

import tensorflow as tf

from speechlm_jax import audio, batch
from speechlm_jax.data import features, preprocessors
from speechlm_jax.data.preprocessors import Example, Preprocessor


def masked_speech(*, share: float = 0.4, min_seconds: float = 0.5) -> list[Preprocessor]:
    """Speech some of which is hidden and to be told from the rest (BEST-RQ, arXiv 2202.01855); it needs no text.

    share: of the speech that is hidden; spans are chosen on the device. min_seconds: shorter recordings have nothing
    to hide, and are dropped. Raises ValueError for numbers out of range.
    """
    if not (0 < share < 1 and min_seconds >= 0):
        raise ValueError(
            f"masking speech: wanted 0 < share < 1 and min_seconds >= 0, found share={share}, "
            f"min_seconds={min_seconds}."
        )
    least = max(int(min_seconds * batch.SAMPLE_RATE), audio.EDGE + 1)

    def change(example: Example) -> Example:
        return {"audio": _speech(example), "mask_share": tf.constant([share]), **preprocessors.named(example)}

    return [
        preprocessors.keep_where(lambda example: tf.size(_speech(example)) >= least),
        preprocessors.mapped(change, []),
        preprocessors.lanes(),
    ]


def _speech(example: Example) -> tf.Tensor:
    return preprocessors.field(example, "audio", "masking speech")


def text_to_speech(
    text: str = "text", language: str = "en", *, speaker: str | None = None, prompt: str | None = None
) -> list[Preprocessor]:
    """Text to the recording `audio`: into the encoder go the task, the language, and the text letter by letter, for
    letters have sounds and lengths that pieces of words have not.

    language: a code, or a field in braces. speaker: the field that holds a speaker's name, which stands before the
    text. prompt: the field of another recording of that voice, which goes into the encoder, such as 'other_audio' of
    others.WithOthers. Where one of them is named, an example without it is an error; one without text is dropped.
    """
    doing = "making a text-to-speech example"

    def change(example: Example) -> Example:
        written = preprocessors.field(example, text, doing)
        parts = [preprocessors.prompt_ids(example, "speak", language)]
        if speaker is not None:
            named = _filled(preprocessors.field(example, speaker, doing), f"{doing}: the field '{speaker}'")
            parts += features.encode([named])
        made = {
            "inputs": tf.concat([*parts, features.spell(written)], 0),
            "target_audio": preprocessors.field(example, "audio", doing),
            "targets_pretokenized": written,
        }
        if prompt is not None:
            made["audio"] = _filled(preprocessors.field(example, prompt, doing), f"{doing}: the field '{prompt}'")
        return {**made, **preprocessors.named(example)}

    return [
        preprocessors.mapped(change, [text]),
        preprocessors.drop_empty("targets_pretokenized"),
        preprocessors.lanes(),
    ]


def speech_to_speech(into: str, out_of: str = "audio", *, task: str = "denoise") -> list[Preprocessor]:
    """One recording to another, such as noisy speech to what it was before: the field `into` goes into the encoder
    beside the task's token, `out_of` is to come out of the decoder."""

    def change(example: Example) -> Example:
        doing = "making a speech-to-speech example"
        return {
            "audio": preprocessors.field(example, into, doing),
            "inputs": preprocessors.prompt_ids(example, task),
            "target_audio": preprocessors.field(example, out_of, doing),
            **preprocessors.named(example),
        }

    return [preprocessors.mapped(change, []), preprocessors.lanes()]


def _filled(value: tf.Tensor, what: str) -> tf.Tensor:
    """`value`, which must not be empty."""
    size = tf.strings.length(value) if value.dtype == tf.string else tf.size(value)
    check = tf.debugging.Assert(size > 0, [f"{what} is empty, and tells no voice to speak with."])
    with tf.control_dependencies([check]):
        return tf.identity(value)
