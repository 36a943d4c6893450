"""Transcribes recordings by a program of StableHLO, with jax, safetensors, sentencepiece and soundfile alone.

python transcribe.py LANGUAGE RECORDING.wav ...       (16 kHz, one channel)
SPDX-License-Identifier: Apache-2.0
"""

import json
import pathlib
import sys

import jax
import numpy as np
import sentencepiece
import soundfile
from jax import export
from safetensors import numpy as safetensors

HERE = pathlib.Path(__file__).parent


def main() -> None:
    """Prints a text for each recording."""
    language, *paths = sys.argv[1:]
    told = json.loads((HERE / "config.json").read_text())
    weights = {}
    for path in sorted(HERE.glob("*.safetensors")):
        weights |= safetensors.load_file(path)
    program = export.deserialize(bytearray((HERE / "transcribe.stablehlo").read_bytes()))
    prompt = told["prompts"][language]
    samples = np.zeros((len(paths), told["samples"]), np.int16)
    lengths = np.zeros(len(paths), np.int32)
    for number, path in enumerate(paths):
        wave, rate = soundfile.read(path, dtype="int16")
        if rate != told["sampling_rate"] or wave.ndim != 1 or len(wave) > told["samples"]:
            sys.exit(f"{path}: wanted one channel at {told['sampling_rate']} Hz, {told['samples']} samples at most")
        samples[number, : len(wave)], lengths[number] = wave, len(wave)
    prompts = np.zeros((len(paths), told["prompt_room"]), np.int32)
    prompts[:, : len(prompt)] = prompt
    prompt_lengths = np.full(len(paths), len(prompt), np.int32)
    tokens, counts = jax.jit(program.call)(weights, samples, lengths, prompts, prompt_lengths)
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(HERE / "vocabulary.model"))
    for own, count in zip(np.asarray(tokens), np.asarray(counts), strict=True):
        kept = [int(token) for token in own[:count] if not pieces.is_control(int(token)) and token < len(pieces)]
        print(pieces.decode(kept))


if __name__ == "__main__":
    main()
