"""A trained model from Python: `speechlm_jax.load`."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from speechlm_jax.inference import answering, config, entries, loading, told, uses

Recording = str | os.PathLike[str] | np.ndarray
Recordings = Recording | Sequence[Recording]
"""Files, folders and manifests, or samples (int16 "N", 16 kHz); one, or several."""
Answer = dict[str, Any]


def load(checkpoint: str | os.PathLike[str], *, rows: int = loading.ROWS) -> "Model":
    """A model by a run's folder, its checkpoints folder or one step. Raises ValueError where there is none.

    rows: computed at once, shared by this machine's devices.
    """
    return Model(loading.load(os.fspath(checkpoint), rows=rows))


class Model:
    """A trained model. Each use gives what a line of `speechlm infer` says of each thing that it is asked about, in
    order: {"id", "text", "seconds"}, or {"id", "error"} of what cannot be used.

    What is asked for in the same way is compiled once, whatever it is asked about.
    """

    def __init__(self, loaded: loading.Loaded):
        self.loaded = loaded
        self._answers: dict[tuple[Any, ...], answering.Answers] = {}

    def transcribe(
        self,
        recordings: Recordings,
        *,
        language: str | None = None,
        times: bool = False,
        piece_seconds: float | None = None,
        aligner: str | os.PathLike[str] | None = None,
        search: config.Search = config.GREEDY,
        ctc_only: bool = False,
    ) -> list[Answer]:
        """What is said. times: has "segments", with the times of words where the model has a CTC head, and "coverage",
        which long recordings have anyway. aligner: a checkpoint whose CTC head tells the times in place of its own.
        ctc_only: the CTC head's best path, which is quicker."""
        return self._ask(
            recordings,
            use="transcribe",
            language=language,
            times=times,
            piece_seconds=piece_seconds,
            aligner=None if aligner is None else os.fspath(aligner),
            decoding=search,
            search="ctc" if ctc_only else "decoder",
        )

    def translate(
        self,
        recordings: Recordings = (),
        *,
        to: str,
        text: str | Sequence[str] = (),
        language: str | None = None,
        search: config.Search = config.GREEDY,
    ) -> list[Answer]:
        """What recordings, or texts, are in another language."""
        return self._ask(recordings, use="translate", to=to, text=_texts(text), language=language, decoding=search)

    def classify(
        self,
        recordings: Recordings = (),
        *,
        about: str,
        text: str | Sequence[str] = (),
        labels: Sequence[str] = (),
        search: config.Search = config.GREEDY,
    ) -> list[Answer]:
        """Labels of recordings, or of texts. about: what is asked for, as training named it; '' for no name. labels:
        those that there are; none: any text."""
        told_of = {"text": _texts(text), "label": tuple(labels), "decoding": search}
        return self._ask(recordings, use="classify", about=about, **told_of)

    def answer(
        self,
        question: str,
        recordings: Recordings = (),
        *,
        text: str | Sequence[str] = (),
        labels: Sequence[str] = (),
        search: config.Search = config.GREEDY,
    ) -> list[Answer]:
        """Answers to a question on each recording, or text. labels: the answers that there are; none: any text."""
        told_of = {"text": _texts(text), "label": tuple(labels), "decoding": search}
        return self._ask(recordings, use="answer", question=question, **told_of)

    def match(self, recordings: Recordings, text: str) -> list[Answer]:
        """Whether a text is what is said: "text" is match or mismatch, "score" how likely it is a match."""
        return self._ask(recordings, use="match", text=(text,))

    def speak(
        self,
        text: str | Sequence[str],
        out_dir: str | os.PathLike[str],
        *,
        language: str | None = None,
        speaker: str | None = None,
        temperature: float = uses.TEMPERATURE,
        seed: int = 0,
    ) -> list[Answer]:
        """Speaks texts to files in a folder, 16 kHz: {"id", "audio", "seconds"} each."""
        told_of = {"language": language, "speaker": speaker, "temperature": temperature, "seed": seed}
        return self._ask((), use="speak", text=_texts(text), out_dir=os.fspath(out_dir), **told_of)

    def _ask(self, recordings: Recordings, **asked: Any) -> list[Answer]:
        request = uses.Request(**asked)
        given = [recordings] if isinstance(recordings, str | os.PathLike | np.ndarray) else list(recordings)
        waves = [one for one in given if isinstance(one, np.ndarray)]
        files = [os.fspath(one) for one in given if not isinstance(one, np.ndarray)]
        if waves and files:
            raise ValueError(f"{request.meaning.doing}: wanted files or samples, found both. Ask one after the other.")
        found = entries.heard(waves, request) if waves else entries.find(files, request)
        if request.program not in self._answers:
            self._answers[request.program] = answering.answers_of(self.loaded, request)
        lines: list[told.Line] = []
        out = told.Out(lines.append)
        answering.Asker(self.loaded, request, self._answers[request.program]).ask(found, out, out.add)
        return list(told.answers(lines))


def _texts(text: str | Sequence[str]) -> tuple[str, ...]:
    return (text,) if isinstance(text, str) else tuple(text)
