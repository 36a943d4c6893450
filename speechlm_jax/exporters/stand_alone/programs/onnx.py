"""Two programs of ONNX, the encoder and a step of the decoder, and greedy search over them, with numpy's arrays.

SPDX-License-Identifier: Apache-2.0
"""

import json
import pathlib
from collections.abc import Callable

import numpy as np
import onnxruntime


def load(folder: pathlib.Path) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """(samples int16 "B N", lengths int32 "B", prompts int32 "B W", prompt lengths int32 "B") -> tokens int32 "B U"
    behind the prompts, and how many there are before the end."""
    told = json.loads((folder / "config.json").read_text())
    encoder, step = (onnxruntime.InferenceSession(str(folder / f"{name}.onnx")) for name in ("encoder", "step"))
    ends, model = told["end"], told["model"]

    def run(
        samples: np.ndarray, lengths: np.ndarray, prompts: np.ndarray, prompt_lengths: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        given = {
            "samples": samples[:, : lengths.max()].astype(np.float32) / 32_768,
            "lengths": lengths.astype(np.int64),
        }
        heard = dict(zip([one.name for one in encoder.get_outputs()], encoder.run(None, given), strict=True))
        heard = {name: heard[name] for name in ("cross_keys", "cross_values", "counts")}
        rows, taken = len(samples), {one.name for one in step.get_inputs()}
        layers, _, heads, _, width = heard["cross_keys"].shape
        memory = [np.zeros((layers, rows, heads, 0, width), np.float32)] * 2
        if "recent" in taken:
            memory.append(np.zeros((layers, rows, model["decoder_kernel"] - 1, model["width"]), np.float32))
        now, found = np.full(rows, told["start"]), np.zeros((rows, told["room"]), np.int32)
        counts, over = np.zeros(rows, np.int32), np.zeros(rows, bool)
        for place in range(prompts.shape[1] + told["room"]):
            past = dict(zip(("keys", "values", "recent"), memory, strict=False))
            logits, *memory = step.run(None, {"tokens": now.astype(np.int64), **heard, **past})
            is_first, asked = place == prompt_lengths, place < prompt_lengths
            logits[:, told["forbidden"]] = -np.inf
            logits[np.ix_(is_first, told["forbidden_first"])] = -np.inf
            now = np.where(asked, prompts[:, min(place, prompts.shape[1] - 1)], logits.argmax(-1))
            over |= ~asked & ((now == ends) | (counts == told["room"]))
            goes_on = ~asked & ~over
            found[goes_on, counts[goes_on]] = now[goes_on]
            counts += goes_on
            if over.all():
                break
        return found, counts

    return run
