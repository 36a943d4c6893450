"""A SavedModel, to be called with numpy's arrays. SPDX-License-Identifier: Apache-2.0"""

import pathlib
from collections.abc import Callable

import numpy as np
import tensorflow as tf

GIVEN = ("samples", "lengths", "prompts", "prompt_lengths")
"""What the signature takes: int16 "B N" at 16 kHz, int32 "B", int32 "B W", int32 "B"."""
GIVES = ("tokens", "lengths")
"""int32 "B U", and how many of them there are, int32 "B"."""


def load(folder: pathlib.Path) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """GIVEN -> GIVES."""
    # What it is taken from must live as long as the signature.
    model = tf.saved_model.load(str(folder))

    def run(*given: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        served = model.signatures["serving_default"]
        found = served(**{name: tf.constant(value) for name, value in zip(GIVEN, given, strict=True)})
        return found[GIVES[0]].numpy(), found[GIVES[1]].numpy()

    return run
