"""Transcribes recordings by the program beside this file, with numpy, sentencepiece, soundfile and what runs it alone.

python transcribe.py LANGUAGE RECORDING.wav ...       (16 kHz, one channel)
SPDX-License-Identifier: Apache-2.0
"""

import json
import pathlib
import sys

import numpy as np
import program
import sentencepiece
import soundfile

HERE = pathlib.Path(__file__).parent


def main() -> None:
    """Prints a text for each recording."""
    told = json.loads((HERE / "config.json").read_text())
    language, *paths = sys.argv[1:] or [""]
    if language not in told["prompts"] or not paths:
        sys.exit(f"python transcribe.py LANGUAGE RECORDING.wav ...: LANGUAGE is one of {', '.join(told['prompts'])}")
    samples = np.zeros((len(paths), told["samples"]), np.int16)
    lengths = np.zeros(len(paths), np.int32)
    for number, path in enumerate(paths):
        wave, rate = soundfile.read(path, dtype="int16")
        if rate != told["sampling_rate"] or wave.ndim != 1 or len(wave) > told["samples"]:
            sys.exit(f"{path}: wanted one channel at {told['sampling_rate']} Hz, {told['samples']} samples at most")
        samples[number, : len(wave)], lengths[number] = wave, len(wave)
    prompt = told["prompts"][language]
    prompts = np.zeros((len(paths), told["prompt_room"]), np.int32)
    prompts[:, : len(prompt)] = prompt
    tokens, counts = program.load(HERE)(samples, lengths, prompts, np.full(len(paths), len(prompt), np.int32))
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(HERE / "vocabulary.model"))
    for own, count in zip(tokens, counts, strict=True):
        kept = [int(token) for token in own[:count] if token < len(pieces) and not pieces.is_control(int(token))]
        print(pieces.decode(kept))


if __name__ == "__main__":
    main()
