"""Verb `export`: a checkpoint in, and out comes a folder that other libraries read."""

import argparse
import importlib
import pathlib
import pkgutil
from types import ModuleType
from typing import Any, Literal

from speechlm_jax import whole_files


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this verb."""
    parser.add_argument("--exporter", help=f"the format: {', '.join(names())}")
    parser.add_argument("--checkpoint", help="a run's folder, its checkpoints folder, or one step")
    parser.add_argument("--out", help="the folder to write, which is not there yet or empty")
    parser.add_argument("--dtype", help="of the weights: float32 (default), float16 or bfloat16")
    parser.add_argument("--license", help="what the model card says of it, such as apache-2.0")


def run(
    *,
    exporter: str,
    checkpoint: str,
    out: str,
    dtype: Literal["float32", "float16", "bfloat16"] = "float32",
    license: str = "unknown",
) -> None:
    """Writes a checkpoint in another format (its moving average where it has one), with a model card, reads back what
    was written and compares it with the checkpoint, number by number.

    exporter: transformers, a folder that its Auto classes read with trust_remote_code=True: weights, and PyTorch code
    that needs nothing of this project. whisper, a folder that transformers' WhisperForConditionalGeneration and other
    programs for Whisper read; of a model with Model.parts = 'whisper'. stablehlo, a program from waveforms to tokens of
    their transcripts for CPUs, GPUs and TPUs, with its weights and a script that needs JAX alone; savedmodel, the same
    for TensorFlow and TF Serving; onnx, the encoder and a step of the decoder for onnxruntime.

    Raises ValueError for a format that is not there, or that cannot hold the model, and where a file stands in `out`.
    """
    from speechlm_jax import there

    there.check_checkpoint(checkpoint)
    folder = new_folder(out)
    member = find(exporter)
    from speechlm_jax import runtime
    from speechlm_jax.inference import loading

    loaded = loading.load(checkpoint, rows=1)
    if lost := member.left_out(loaded):
        runtime.say(f"exporting {loaded.folder}: left out, for the format has no room: {', '.join(lost)}.")
    member.write(loaded, folder, dtype=dtype)
    whole_files.write_text(folder / "README.md", card(loaded, exporter, dtype, license))
    member.check(loaded, folder, dtype=dtype)
    print(f"{folder}: step {loaded.step} as {exporter}, {dtype}; read back and found the same")


def names() -> list[str]:
    """The formats that there are: each is a file of exporters/."""
    from speechlm_jax import exporters

    return [module.name for module in pkgutil.iter_modules(exporters.__path__) if not module.ispkg]


def find(name: str) -> ModuleType:
    """The member of exporters/ of this name. Raises ValueError where there is none."""
    from speechlm_jax import settings

    if name not in names():
        raise ValueError(
            f"exporting: wanted --exporter to be one of {', '.join(names())}, found {name!r}."
            f"{settings.nearest(name, names())}"
        )
    return importlib.import_module(f"speechlm_jax.exporters.{name}")


def new_folder(out: str) -> pathlib.Path:
    """A folder that nothing stands in yet. Raises ValueError where something does, or it could not be written."""
    whole_files.check_folder(out, "--out")
    folder = pathlib.Path(out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"writing --out={out}: something stands there. Name a folder that is not there yet, or empty.")
    return folder


def card(loaded: Any, exporter: str, dtype: str, license: str) -> str:
    """What a model card says of a checkpoint: what it is, what made it, and on what."""
    import dataclasses

    from speechlm_jax import provenance

    versions = ", ".join(f"{library} {version}" for library, version in provenance.versions().items())
    stream = dataclasses.asdict(loaded.data)["stream"]
    objectives = [] if loaded.data.manifest is None else [name for name, _ in loaded.data.manifest.objectives]
    recipe = loaded.recipe.strip() or "(the checkpoint has none)"
    return f"""---
license: {license}
library_name: {find(exporter).LIBRARY}
language: [{", ".join(f"'{code}'" for code in loaded.vocabulary.languages)}]
---

# {pathlib.Path(loaded.folder).parents[1].name}, step {loaded.step}

Written by `speechlm export --exporter={exporter}` in {dtype}.

- mixture: {stream["mixture"] or "(none)"}; objectives: {", ".join(objectives) or "(those of its task modules)"}
- task modules: {", ".join(loaded.data.task_modules) or "(none)"}
- versions: {versions}

## Recipe

```
{recipe}
```
"""
