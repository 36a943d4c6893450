"""A program of StableHLO, to be called with numpy's arrays. SPDX-License-Identifier: Apache-2.0"""

import pathlib
from collections.abc import Callable

import jax
import numpy as np
from jax import export
from safetensors import numpy as safetensors


def load(folder: pathlib.Path) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """(samples int16 "B N", lengths int32 "B", prompts int32 "B W", prompt lengths int32 "B") -> tokens int32 "B U",
    and how many there are."""
    weights = {}
    for path in sorted(folder.glob("*.safetensors")):
        weights |= safetensors.load_file(path)
    program = jax.jit(export.deserialize(bytearray((folder / "transcribe.stablehlo").read_bytes())).call)

    def run(*given: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        tokens, counts = program(weights, *given)
        return np.asarray(tokens), np.asarray(counts)

    return run
