"""A model that transcribes as two programs of ONNX: the encoder, and a step of the decoder."""

import dataclasses
import importlib
import pathlib
from types import ModuleType

from speechlm_jax.exporters import transformers
from speechlm_jax.exporters.stand_alone import beside
from speechlm_jax.inference import loading, one_program

LIBRARY = "onnxruntime"
"""What reads it, as model cards name it."""


def write(loaded: loading.Loaded, folder: pathlib.Path, *, dtype: str = "float32") -> None:
    """Writes the programs, with the vocabulary, what they are to be given, and a script that runs them. Raises
    ValueError for other numbers than float32, in which the programs compute."""
    doing = f"exporting {loaded.folder}"
    if dtype != "float32":
        raise ValueError(f"{doing}: wanted --dtype=float32, in which programs of ONNX compute here, found {dtype}.")
    program, graphs = one_program.transcription(loaded), _graphs(doing)
    folder.mkdir(parents=True, exist_ok=True)
    graphs.write(dataclasses.asdict(loaded.model), dict(transformers.named(loaded)), folder)
    beside.write(loaded, folder, program, dtype, "onnx")


check = beside.check


def left_out(loaded: loading.Loaded) -> list[str]:
    """The heads that the programs do not ask. Raises ValueError for a model that PyTorch's code does not describe."""
    transformers.left_out(loaded)
    return [head for head in one_program.heads_left_out(loaded) if head != "ctc"]


def _graphs(doing: str) -> ModuleType:
    """What PyTorch is needed for."""
    try:
        for library in ("onnxscript", "onnxruntime"):
            importlib.import_module(library)
        return importlib.import_module("speechlm_jax.exporters.pytorch.graphs")
    except ImportError as error:
        raise ValueError(
            f"{doing} as ONNX: wanted PyTorch, transformers, onnxscript and onnxruntime, found no {error.name}. "
            "Install the extra [onnx]: pip install -c constraints.txt -e '.[onnx]'."
        ) from None
