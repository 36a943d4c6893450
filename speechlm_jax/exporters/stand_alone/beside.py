"""What lies beside an exported program: what it is to be given, and a script that needs nothing of this project."""

import importlib.util
import pathlib
import shutil
import sys
from types import ModuleType

import jax
import numpy as np

from speechlm_jax import vocabulary, whole_files
from speechlm_jax.inference import loading, one_program

CONFIG, SCRIPT, PROGRAM = "config.json", "transcribe.py", "program.py"
_HERE = pathlib.Path(__file__).parent


def write(loaded: loading.Loaded, folder: pathlib.Path, program: one_program.Program, dtype: str, name: str) -> None:
    """Into a folder that is there. name: of the file of programs/ that runs it."""
    shutil.copyfile(loaded.vocabulary.path, folder / vocabulary.FILE)
    shutil.copyfile(_HERE / SCRIPT, folder / SCRIPT)
    shutil.copyfile(_HERE / "programs" / f"{name}.py", folder / PROGRAM)
    whole_files.write_json(folder / CONFIG, one_program.description(loaded, program, dtype))


def check(loaded: loading.Loaded, folder: pathlib.Path, *, dtype: str = "float32") -> None:
    """Raises ValueError where the program of a folder writes another text of noise than the model does."""
    program = one_program.transcription(loaded)
    probe = one_program.probe(program)
    # Accelerators multiply in fewer bits unless they are told, and a near tie would fall another way.
    with jax.default_matmul_precision("highest"):
        wanted = [np.asarray(array) for array in jax.jit(program.run)(one_program.weights(loaded, dtype), *probe)]
    found = _module(folder / PROGRAM).load(folder)(*probe)
    for (tokens, count), (other, other_count) in zip(
        *(zip(*texts, strict=True) for texts in (wanted, found)), strict=True
    ):
        if tokens[:count].tolist() != other[:other_count].tolist():
            raise ValueError(f"reading {folder} back: it writes another text than the model. Export again.")


def _module(path: pathlib.Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("exported_program", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Nothing of this process stays in the folder.
    kept, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = kept
    return module
