"""A model that transcribes as one program of StableHLO, for CPUs, GPUs and TPUs: waveforms in, tokens out, any number
of them at once. What runs it needs JAX and nothing of this project."""

import dataclasses
import pathlib
import shutil
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from speechlm_jax import batch, vocabulary, weight_files, whole_files
from speechlm_jax.inference import loading, one_program

PROGRAM, CONFIG, SCRIPT = "transcribe.stablehlo", "config.json", "transcribe.py"
PLATFORMS = ("cpu", "cuda", "tpu")


def write(loaded: loading.Loaded, folder: pathlib.Path, *, dtype: str = "float32") -> None:
    """Writes the program, its weights beside it, and a script that runs them."""
    program = one_program.transcription(loaded)
    weights = arrays(loaded, dtype)
    weight_files.write(folder, weights)
    told = export.export(jax.jit(program.run), platforms=PLATFORMS)(*_given(program, weights))
    with whole_files.whole(folder / PROGRAM) as part:
        part.write_bytes(told.serialize())
    shutil.copyfile(loaded.vocabulary.path, folder / vocabulary.FILE)
    shutil.copyfile(pathlib.Path(__file__).with_name("stand_alone") / SCRIPT, folder / SCRIPT)
    whole_files.write_json(folder / CONFIG, description(loaded, program, dtype))


def check(loaded: loading.Loaded, folder: pathlib.Path, *, dtype: str = "float32") -> None:
    """Raises ValueError where what stands in a folder is not what `write` was to write there, or says something else
    than the model of a recording."""
    program, doing = one_program.transcription(loaded), f"reading {folder} back"
    theirs, wanted = weight_files.read(folder, doing), arrays(loaded, dtype)
    for name, array in wanted.items():
        if name not in theirs or not np.array_equal(theirs[name], array):
            raise ValueError(f"{doing}: {name} is not what was written. Export again.")
    told = export.deserialize(bytearray((folder / PROGRAM).read_bytes()))
    given = wanted, *probe(program)
    for one, other in zip(jax.jit(told.call)(*given), jax.jit(program.run)(*given), strict=True):
        if not np.array_equal(one, other):
            raise ValueError(f"{doing}: {PROGRAM} writes another text than the model. Export again.")


def left_out(loaded: loading.Loaded) -> list[str]:
    """The heads that the program does not ask."""
    heads = {"ctc": loaded.model.ctc, "matching": loaded.model.matching, "speech_out": bool(loaded.model.speech_out)}
    return sorted(name for name, has in heads.items() if has)


def arrays(loaded: loading.Loaded, dtype: str) -> dict[str, np.ndarray]:
    """The weights of the program by their paths."""
    return {path: np.asarray(array).astype(dtype) for path, array in one_program.weights(loaded).items()}


def _given(program: one_program.Program, arrays_by_path: dict[str, np.ndarray]) -> tuple[Any, ...]:
    """What the program is given, of any number of rows."""
    (rows,) = export.symbolic_shape("rows")
    weights = {name: jax.ShapeDtypeStruct(array.shape, array.dtype) for name, array in arrays_by_path.items()}
    samples = jax.ShapeDtypeStruct((rows, program.samples), jnp.int16)
    numbers, prompts = (jax.ShapeDtypeStruct((rows, *shape), jnp.int32) for shape in ((), (program.prompt,)))
    return weights, samples, numbers, prompts, numbers


def probe(program: one_program.Program) -> tuple[np.ndarray, ...]:
    """Two recordings of noise, of one language."""
    prompt = next(iter(program.prompts.values()), [])
    samples = np.random.default_rng(0).normal(0, 3_000, (2, program.samples)).astype(np.int16)
    lengths = np.array([program.samples, program.samples // 2], np.int32)
    prompts = np.zeros((2, program.prompt), np.int32)
    prompts[:, : len(prompt)] = prompt
    return samples, lengths, prompts, np.full(2, len(prompt), np.int32)


def description(loaded: loading.Loaded, program: one_program.Program, dtype: str) -> dict[str, Any]:
    """What the program is to be given, and of which model it is."""
    return {
        "model_type": "speechlm_jax",
        "step": loaded.step,
        "dtype": dtype,
        "platforms": PLATFORMS,
        "sampling_rate": batch.SAMPLE_RATE,
        "samples": program.samples,
        "prompt_room": program.prompt,
        "prompts": program.prompts,
        "end": one_program.END,
        "model": dataclasses.asdict(loaded.model),
    }
