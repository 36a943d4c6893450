"""A model of speechlm_jax in PyTorch, cut into two programs of ONNX: what is heard, and one step of text.

Letters are those of modeling_speechlm.py; L layers of the decoder, I steps that its convolution looks back at.
"""

import pathlib
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from speechlm_jax.exporters.pytorch import modeling_speechlm as modeling

HEARD = ("samples", "lengths")
"""What the encoder is given: waveforms in [-1, 1], float32 "B N", and how many samples there are, int64 "B"."""


class Encoder(nn.Module):
    """From waveforms to what each layer of the decoder looks at."""

    def __init__(self, model: modeling.SpeechLM):
        super().__init__()
        self.model = model

    def forward(self, samples: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Keys and values, "L B H S K", which places count, "B S", hidden states, "B S D", and logits of the CTC head,
        "B S V", where there is one."""
        model, choice = self.model, self.model.choice
        frames = modeling.frames_of(lengths, samples.shape[1], choice["subsampling"])
        heard = model.speech(modeling.log_mel(samples, lengths, frames, choice["mels"]), frames)
        counts = frames[:, :: choice["subsampling"]]
        hidden = model.encoder(heard, heard[:, :0], counts)
        memories = [block.cross_attention.memory(hidden) for block in model.decoder.stack]
        found = *(torch.stack(parts) for parts in zip(*memories, strict=True)), counts, hidden
        return (*found, model.connectionist(hidden)) if choice["ctc"] else found


class Step(nn.Module):
    """The decoder's next step in every row."""

    def __init__(self, model: modeling.SpeechLM):
        super().__init__()
        self.model = model

    def forward(
        self,
        tokens: torch.Tensor,
        cross_keys: torch.Tensor,
        cross_values: torch.Tensor,
        counts: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        recent: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, ...]:
        """Logits of the token after `tokens` "B", "B V", and the memory after it: keys and values of the steps so far,
        "L B H U K", and what the convolution looks back at, "L B I C", where there is one."""
        decoder = self.model.decoder
        rows, step = tokens.shape[0], keys.shape[3]
        positions = torch.full((rows, 1), step, device=tokens.device)
        x, rotation = decoder.placed(self.model.embed(tokens[:, None]), positions), decoder.rotation(positions)
        past = torch.ones(rows, 1, step + 1, dtype=torch.bool, device=tokens.device)
        memories, after = [], []
        for layer, block in enumerate(decoder.stack):
            if recent is not None:
                own = block.convolution
                window = torch.cat([recent[layer], own.gated(block.convolution_norm(x))], dim=1)
                x = x + own.out((window * own.taps_KC).sum(1, keepdim=True))
                after.append(window[:, 1:])
            y = block.attention_norm(x)
            new = block.attention.memory(y, rotation)
            memory = tuple(torch.cat([old[layer], part], dim=2) for old, part in zip((keys, values), new, strict=True))
            x = x + block.attention(y, memory, past, rotation)
            looked_at = cross_keys[layer], cross_values[layer]
            x = x + block.cross_attention(block.cross_norm(x), looked_at, counts[:, None, :])
            x = x + block.feed_forward(block.norm(x))
            memories.append(memory)
        logits = self.model.read_out(decoder.norm(x))[:, 0]
        found = logits, *(torch.stack(parts) for parts in zip(*memories, strict=True))
        return (*found, torch.stack(after)) if after else found


def names(choice: Mapping[str, Any]) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """Of what each program takes, and of what it gives."""
    ctc, recent = ("ctc_logits",) if choice["ctc"] else (), ("recent",) if choice["decoder_kernel"] else ()
    memory = ("keys", "values", *recent)
    return {
        "encoder": (HEARD, ("cross_keys", "cross_values", "counts", "hidden", *ctc)),
        "step": (
            ("tokens", "cross_keys", "cross_values", "counts", *memory),
            ("logits", *(f"{name}_after" for name in memory)),
        ),
    }


def write(choice: dict[str, Any], weights: Mapping[str, np.ndarray], folder: pathlib.Path) -> None:
    """Writes encoder.onnx and step.onnx of a model with these fields of Model and these weights, by their names."""
    model = modeling.SpeechLM(modeling.SpeechLMConfig(model=choice)).eval()
    model.load_state_dict({name: torch.tensor(array) for name, array in weights.items()})
    rows, samples, places, steps = (torch.export.Dim(name) for name in ("rows", "samples", "places", "steps"))
    layers, heads, width = choice["decoder_layers"], choice["num_heads"], choice["width"]
    kernel = choice["decoder_kernel"]
    told = names(choice)
    heard = torch.zeros(2, 8_000), torch.tensor([8_000, 6_000])
    _export(Encoder(model), heard, ({0: rows, 1: samples}, {0: rows}), folder / "encoder.onnx", told["encoder"])
    # One tensor given twice would become one input.
    cross, own = ([torch.zeros(layers, 2, heads, count, width // heads) for _ in range(2)] for count in (7, 3))
    given = [torch.zeros(2, dtype=torch.long), *cross, torch.ones(2, 7, dtype=torch.bool), *own]
    varies: list[Any] = [{0: rows}, {1: rows, 3: places}, {1: rows, 3: places}, {0: rows, 1: places}]
    varies += [{1: rows, 3: steps}] * 2
    if kernel:
        given.append(torch.zeros(layers, 2, kernel - 1, width))
        varies.append({1: rows})
    _export(Step(model), tuple(given), tuple(varies), folder / "step.onnx", told["step"])


def _export(
    module: nn.Module, given: tuple, varies: tuple, path: pathlib.Path, told: tuple[tuple[str, ...], tuple[str, ...]]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            given,
            str(path),
            input_names=told[0],
            output_names=told[1],
            dynamic_shapes=varies,
            dynamo=True,
            verbose=False,
        )
