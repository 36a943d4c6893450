"""A model that transcribes as a SavedModel of TensorFlow, for TF Serving: waveforms in, tokens out."""

import pathlib
import shutil
from typing import Any

import numpy as np

from speechlm_jax import vocabulary, whole_files
from speechlm_jax.inference import loading, one_program

CONFIG = "config.json"
GIVEN = ("samples", "lengths", "prompts", "prompt_lengths")
"""What the signature takes: int16 "B N" at 16 kHz, int32 "B", int32 "B W", int32 "B"."""
GIVES = ("tokens", "lengths")
"""int32 "B U", and how many of them there are, int32 "B"."""


def write(loaded: loading.Loaded, folder: pathlib.Path, *, dtype: str = "float32") -> None:
    """Writes the SavedModel, with the vocabulary and what the program is to be given beside it."""
    import tensorflow as tf
    from jax.experimental import jax2tf

    program = one_program.transcription(loaded)
    weights = one_program.weights(loaded, dtype)
    shapes: list[Any] = [dict.fromkeys(weights), "(rows, _)", "(rows,)", "(rows, _)", "(rows,)"]
    run = jax2tf.convert(program.run, polymorphic_shapes=shapes, native_serialization_platforms=one_program.PLATFORMS)
    variables = {name: tf.Variable(tf.constant(array), trainable=False) for name, array in weights.items()}
    # What is saved is what it knows.
    module: Any = tf.Module()
    module.weights = [*variables.values()]

    def transcribe(*given: Any) -> dict[str, Any]:
        return dict(zip(GIVES, run(variables, *given), strict=True))

    rooms = ((None, program.samples), (None,), (None, program.prompt), (None,))
    signature = [
        tf.TensorSpec(shape, tf.int16 if name == "samples" else tf.int32, name=name)
        for name, shape in zip(GIVEN, rooms, strict=True)
    ]
    served = tf.function(transcribe, input_signature=signature, autograph=False)
    tf.saved_model.save(module, str(folder), signatures={"serving_default": served})
    shutil.copyfile(loaded.vocabulary.path, folder / vocabulary.FILE)
    whole_files.write_json(folder / CONFIG, one_program.description(loaded, program, dtype))


def check(loaded: loading.Loaded, folder: pathlib.Path, *, dtype: str = "float32") -> None:
    """Raises ValueError where what stands in a folder writes another text of noise than the model does."""
    import jax
    import tensorflow as tf

    program = one_program.transcription(loaded)
    probe = one_program.probe(program)
    wanted = jax.jit(program.run)(one_program.weights(loaded, dtype), *probe)
    served = tf.saved_model.load(str(folder)).signatures["serving_default"]
    found = served(**{name: tf.constant(value) for name, value in zip(GIVEN, probe, strict=True)})
    for name, array in zip(GIVES, wanted, strict=True):
        if not np.array_equal(found[name].numpy(), array):
            raise ValueError(f"reading {folder} back: it writes another text than the model. Export again.")


def left_out(loaded: loading.Loaded) -> list[str]:
    """The heads that the program does not ask."""
    return one_program.heads_left_out(loaded)
