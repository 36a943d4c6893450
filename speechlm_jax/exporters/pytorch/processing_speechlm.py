"""Text to tokens and back, and what a model of speechlm_jax is asked, for its PyTorch model.

This file needs sentencepiece, numpy and transformers alone.
SPDX-License-Identifier: Apache-2.0
"""

import pathlib
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import sentencepiece
import transformers
from huggingface_hub import hf_hub_download

VOCABULARY = "vocabulary.model"
RATE = 16_000
_LANGUAGE = re.compile(r"<lang:(?!reserved_)(.+)>")
_OF_A_LANGUAGE = ("transcribe", "translate", "speak")
"""Tasks whose prompts say it."""
_MOST_CHANNELS = 8
"""So few samples are the channels of one moment."""


class SpeechLMProcessor(transformers.ProcessorMixin):
    """`processor(recordings, language="en")` is what `generate` takes; `processor.batch_decode` is its text."""

    def __init__(self, words: bytes):
        self.words = words
        self._pieces = sentencepiece.SentencePieceProcessor(model_proto=words)
        self.end = self._pieces.piece_to_id("</s>")

    @classmethod
    def from_pretrained(cls, name: str, *_: Any, **options: Any) -> "SpeechLMProcessor":
        """Of a folder, or of a model's name."""
        path = pathlib.Path(name, VOCABULARY)
        if not path.exists():
            kept = {key: options[key] for key in ("revision", "token", "cache_dir") if options.get(key)}
            path = pathlib.Path(hf_hub_download(name, VOCABULARY, **kept))
        return cls(path.read_bytes())

    def save_pretrained(self, folder: str, **_: Any) -> None:
        """The vocabulary; the other files come with the model."""
        pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
        pathlib.Path(folder, VOCABULARY).write_bytes(self.words)

    def to_dict(self) -> dict[str, Any]:
        """What it is shown as."""
        return {"processor_class": type(self).__name__, "pieces": self._pieces.get_piece_size()}

    def __call__(
        self,
        audio: np.ndarray | Sequence[np.ndarray] | None = None,
        text: str | Sequence[str] | None = None,
        *,
        task: str = "transcribe",
        language: str | None = None,
        to: str | None = None,
        sampling_rate: int = RATE,
        return_tensors: str = "pt",
        **_: Any,
    ) -> transformers.BatchFeature:
        """Rows of `input_values` (waveforms "N" in [-1, 1]) or `input_ids` (texts), with masks, and a task's prompt.

        language: of what is given; it may be left out where the vocabulary has one alone. to: to translate into. Raises
        ValueError for another rate than 16 kHz, for more than a channel, and for a task or a language that the
        vocabulary lacks, or a task that lacks its language.
        """
        if sampling_rate != RATE:
            raise ValueError(f"wanted recordings at {RATE} Hz, found {sampling_rate}. Resample them first.")
        told: dict[str, Any] = {}
        if audio is not None:
            waves = [audio] if isinstance(audio, np.ndarray) and audio.ndim == 1 else list(audio)
            if any(np.ndim(wave) != 1 for wave in waves) or max(map(len, waves)) <= _MOST_CHANNELS:
                raise ValueError(
                    "wanted recordings of one channel, arrays of rank 1, found others. Average channels first."
                )
            told["input_values"], told["attention_mask"] = _padded([_floats(wave) for wave in waves], np.float32)
        if text is not None:
            lines = [text] if isinstance(text, str) else list(text)
            told["input_ids"], told["text_mask"] = _padded([self._pieces.encode(line) for line in lines], np.int64)
        rows = len(next(iter(told.values())))
        if language is None and task in _OF_A_LANGUAGE:
            language = self._only_language(task)
        prompt = ["<s>", f"<task:{task}>", *(f"<lang:{code}>" for code in (language, to) if code)]
        told["decoder_input_ids"] = np.tile(np.array([self._token(piece) for piece in prompt]), (rows, 1))
        return transformers.BatchFeature(told, tensor_type=return_tensors)

    def decode(self, tokens: Iterable[int], **_: Any) -> str:
        """The text up to the first end token, without special tokens."""
        kept = []
        for token in map(int, tokens):
            if token == self.end:
                break
            if not self._pieces.is_control(token) and not self._pieces.is_unused(token):
                kept.append(token)
        return self._pieces.decode(kept)

    def batch_decode(self, rows: Iterable[Iterable[int]], **_: Any) -> list[str]:
        """The text of each row."""
        return [self.decode(row) for row in rows]

    def _only_language(self, task: str) -> str:
        pieces = map(self._pieces.id_to_piece, range(self._pieces.get_piece_size()))
        # Others have a token, and no name yet.
        there = [found[1] for piece in pieces if (found := _LANGUAGE.fullmatch(piece))]
        if len(there) != 1:
            raise ValueError(f"wanted the language for {task}, language=..., one of {', '.join(there)}; found none")
        return there[0]

    def _token(self, piece: str) -> int:
        token = self._pieces.piece_to_id(piece)
        if self._pieces.id_to_piece(token) != piece:
            raise ValueError(f"the vocabulary of this model has no {piece}")
        return token


def _floats(wave: np.ndarray) -> np.ndarray:
    return wave.astype(np.float32) / (32_768.0 if wave.dtype.kind == "i" else 1.0)


def _padded(rows: Sequence[Sequence], dtype: type) -> tuple[np.ndarray, np.ndarray]:
    """Rows side by side, and 1 where they are."""
    most = max(map(len, rows))
    values, mask = np.zeros((len(rows), most), dtype), np.zeros((len(rows), most), np.int64)
    for number, row in enumerate(rows):
        values[number, : len(row)], mask[number, : len(row)] = row, 1
    return values, mask
