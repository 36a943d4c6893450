"""A model that transcribes as one program of StableHLO, for CPUs, GPUs and TPUs: waveforms in, tokens out, any number
of them at once. What runs it needs JAX and nothing of this project."""

import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from speechlm_jax import weight_files, whole_files
from speechlm_jax.exporters.stand_alone import beside
from speechlm_jax.inference import loading, one_program

LIBRARY = "jax"
"""What reads it, as model cards name it."""
PROGRAM = "transcribe.stablehlo"


def write(loaded: loading.Loaded, folder: pathlib.Path, *, dtype: str = "float32") -> None:
    """Writes the program, its weights beside it, and a script that runs them."""
    program = one_program.transcription(loaded)
    weights = one_program.weights(loaded, dtype)
    weight_files.write(folder, weights)
    told = export.export(jax.jit(program.run), platforms=one_program.PLATFORMS)(*_given(program, weights))
    with whole_files.whole(folder / PROGRAM) as part:
        part.write_bytes(told.serialize())
    beside.write(loaded, folder, program, dtype, "stablehlo")


def check(loaded: loading.Loaded, folder: pathlib.Path, *, dtype: str = "float32") -> None:
    """Raises ValueError where what stands in a folder is not what `write` was to write there, or says something else
    than the model of a recording."""
    doing = f"reading {folder} back"
    theirs, wanted = weight_files.read(folder, doing), one_program.weights(loaded, dtype)
    weight_files.check_same(theirs, wanted.items(), doing, weight_files.WRITTEN)
    beside.check(loaded, folder, dtype=dtype)


def left_out(loaded: loading.Loaded) -> list[str]:
    """The heads that the program does not ask."""
    return one_program.heads_left_out(loaded)


def _given(program: one_program.Program, arrays: dict[str, np.ndarray]) -> tuple[Any, ...]:
    """What the program is given, of any number of rows."""
    (rows,) = export.symbolic_shape("rows")
    weights = {name: jax.ShapeDtypeStruct(array.shape, array.dtype) for name, array in arrays.items()}
    samples = jax.ShapeDtypeStruct((rows, program.samples), jnp.int16)
    numbers, prompts = (jax.ShapeDtypeStruct((rows, *shape), jnp.int32) for shape in ((), (program.prompt,)))
    return weights, samples, numbers, prompts, numbers
