"""A model that transcribes as a SavedModel of TensorFlow, for TF Serving: waveforms in, tokens out."""

import pathlib
from typing import Any

from speechlm_jax import runtime
from speechlm_jax.exporters.stand_alone import beside
from speechlm_jax.inference import loading, one_program

LIBRARY = "tensorflow"
"""What reads it, as model cards name it."""


def write(loaded: loading.Loaded, folder: pathlib.Path, *, dtype: str = "float32") -> None:
    """Writes the SavedModel, with the vocabulary and what the program is to be given beside it."""
    runtime.hide_accelerators_from_tensorflow()
    import tensorflow as tf
    from jax.experimental import jax2tf

    from speechlm_jax.exporters.stand_alone.programs import savedmodel as served

    program = one_program.transcription(loaded)
    weights = one_program.weights(loaded, dtype)
    shapes: list[Any] = [dict.fromkeys(weights), "(rows, _)", "(rows,)", "(rows, _)", "(rows,)"]
    run = jax2tf.convert(program.run, polymorphic_shapes=shapes, native_serialization_platforms=one_program.PLATFORMS)
    variables = {name: tf.Variable(tf.constant(array), trainable=False) for name, array in weights.items()}
    # What is saved is what it knows.
    module: Any = tf.Module()
    module.weights = [*variables.values()]

    def transcribe(*given: Any) -> dict[str, Any]:
        return dict(zip(served.GIVES, run(variables, *given), strict=True))

    rooms = ((None, program.samples), (None,), (None, program.prompt), (None,))
    signature = [
        tf.TensorSpec(shape, tf.int16 if name == "samples" else tf.int32, name=name)
        for name, shape in zip(served.GIVEN, rooms, strict=True)
    ]
    function = tf.function(transcribe, input_signature=signature, autograph=False)
    tf.saved_model.save(module, str(folder), signatures={"serving_default": function})
    beside.write(loaded, folder, program, dtype, "savedmodel")


check = beside.check


def left_out(loaded: loading.Loaded) -> list[str]:
    """The heads that the program does not ask."""
    return one_program.heads_left_out(loaded)
