"""Transcribes recordings by the program beside this file, with numpy, sentencepiece, soundfile and what runs it alone.

python transcribe.py LANGUAGE RECORDING.wav ...       (16 kHz, one channel)
SPDX-License-Identifier: Apache-2.0
"""

import functools
import json
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import program
import sentencepiece
import soundfile

HERE = pathlib.Path(__file__).parent


class Transcriber:
    """The program, and what it is to be given."""

    def __init__(self) -> None:
        self._told = json.loads((HERE / "config.json").read_text())
        self._pieces = sentencepiece.SentencePieceProcessor(model_file=str(HERE / "vocabulary.model"))
        self.languages = list(self._told["prompts"])

    def wave(self, file: Any) -> np.ndarray:
        """The samples of a recording, int16 [N], from its path or an open file. Raises ValueError where the program is
        not made for it."""
        rate, least, most = (self._told[name] for name in ("sampling_rate", "least_samples", "samples"))
        try:
            with soundfile.SoundFile(file) as sound:
                found, channels = sound.samplerate, sound.channels
                # No more is decoded than would be heard; as floats, which files of floats are not scaled from.
                wave = sound.read(most + 1, dtype="float32")
        except (soundfile.SoundFileError, TypeError) as error:  # TypeError: of a name that ends in .raw.
            raise ValueError(f"wanted a recording, found none: {error}") from None
        if found != rate or channels != 1:
            raise ValueError(f"wanted one channel at {rate} Hz, found {channels} at {found} Hz")
        if not least <= len(wave) <= most:
            raise ValueError(f"wanted {least} to {most} samples, found {'more' if len(wave) > most else len(wave)}")
        if not np.isfinite(wave).all():
            raise ValueError("wanted samples that are finite numbers, found others")
        return np.clip(np.rint(wave * 32_768), -32_768, 32_767).astype(np.int16)

    def texts(self, waves: Sequence[np.ndarray], language: str) -> list[str]:
        """What is said in each of `waves`, all of a language. What is asked of another number of waves is compiled
        anew."""
        samples = np.zeros((len(waves), self._told["samples"]), np.int16)
        for own, wave in zip(samples, waves, strict=True):
            own[: len(wave)] = wave
        prompt = self._told["prompts"][language]
        prompts = np.zeros((len(waves), self._told["prompt_room"]), np.int32)
        prompts[:, : len(prompt)] = prompt
        lengths = np.array([len(wave) for wave in waves], np.int32)
        tokens, counts = self._run(samples, lengths, prompts, np.full(len(waves), len(prompt), np.int32))
        return [self._text(own[:count]) for own, count in zip(tokens, counts, strict=True)]

    @functools.cached_property
    def _run(self) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
        return program.load(HERE)

    def _text(self, tokens: np.ndarray) -> str:
        pieces = self._pieces
        return pieces.decode(
            [int(token) for token in tokens if token < len(pieces) and not pieces.is_control(int(token))]
        )


def main() -> None:
    """Prints a text for each recording."""
    transcriber, (language, *paths) = Transcriber(), sys.argv[1:] or [""]
    if language not in transcriber.languages or not paths:
        sys.exit(
            f"python transcribe.py LANGUAGE RECORDING.wav ...: LANGUAGE is one of {', '.join(transcriber.languages)}"
        )
    waves = []
    for path in paths:
        try:
            waves.append(transcriber.wave(path))
        except ValueError as error:
            sys.exit(f"{path}: {error}")
    print("\n".join(transcriber.texts(waves, language)))


if __name__ == "__main__":
    main()
