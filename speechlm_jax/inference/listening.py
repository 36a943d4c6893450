"""Is what a model speaks understood? A recogniser writes down what it hears."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from speechlm_jax import metrics, runtime
from speechlm_jax.data import batches, one_pass, packing
from speechlm_jax.inference import asking, generate, hypotheses, loading, speaking


class Listener:
    """A recogniser that writes down recordings: by the best path of its CTC head where that was trained, else by its
    decoder."""

    def __init__(self, recogniser: loading.Loaded):
        self._recogniser, self._by_ctc = recogniser, recogniser.hears
        self._generate = generate.Generator(
            recogniser.graphdef,
            row=recogniser.data.row,
            mesh=recogniser.mesh,
            steps=0 if self._by_ctc else None,
            forbidden=hypotheses.forbidden_of(recogniser.vocabulary),
        )

    def __call__(self, recordings: Sequence[np.ndarray], languages: Sequence[str]) -> list[str]:
        """What is said in each recording, int16 "N" at 16 kHz, whose language is told by its code.

        One that fits no row is not heard: its text is empty. Raises ValueError for a language that the recogniser does
        not know.
        """
        heard = [""] * len(recordings)
        data = self._recogniser.data
        for packed in batches.pack(self._examples(recordings, languages), data.row, rows=data.rows):
            for decoded in self._generate(self._recogniser.params, packed):
                tokens = decoded.ctc_tokens if self._by_ctc else decoded.tokens
                heard[decoded.example["number"]] = self._recogniser.vocabulary.decode(tokens or [])
        return heard

    def _examples(self, recordings: Sequence[np.ndarray], languages: Sequence[str]) -> Iterator[asking.Example]:
        row = self._recogniser.data.row
        for number, (samples, language) in enumerate(zip(recordings, languages, strict=True)):
            given = asking.Given(audio=samples, language=language)
            example = asking.transcribe(given, self._recogniser.vocabulary)
            if len(samples) and packing.misfit(packing.demand(example, row), row) is None:
                yield {**example, "id": str(number), "number": number, "origin": (0, number, 0)}

    def scores(self, spoken: Sequence[speaking.Spoken], languages: Mapping[int, str]) -> dict[str, Any]:
        """Error rates of what is heard in speech that was made of texts, under `heard/`, and in the true recordings of
        them, under `heard_recordings/`, with some samples. languages: of each token that names one. Where a text is in
        no language that the recogniser knows, that is said, and there are no rates."""
        told_by = [
            next((token for token in one.example["inputs"].tolist() if token in languages), None) for one in spoken
        ]
        codes = ["" if token is None else languages[token] for token in told_by]
        strange = {*codes} - {*self._recogniser.vocabulary.languages}
        if strange:
            runtime.say(
                f"what is spoken is not listened to: {self._recogniser.folder} knows no "
                f"{', '.join(sorted(code or 'text without a language' for code in strange))}"
            )
            return {}
        texts = [one_pass.text_of(one.example["targets_pretokenized"]) for one in spoken]
        chosen = metrics.some(len(spoken))
        samples = [{"id": one_pass.text_of(spoken[i].example["id"]), "target": texts[i]} for i in chosen]
        told: dict[str, Any] = {"samples": samples}
        for name, recordings in (
            ("heard", [one.samples for one in spoken]),
            ("heard_recordings", [one.example["target_audio"] for one in spoken]),
        ):
            heard = self(recordings, codes)
            for sample, i in zip(samples, chosen, strict=True):
                sample[name] = heard[i]
            for metric in (metrics.wer, metrics.cer):
                found = metrics.bootstrapped(metric)(texts, heard)
                told |= {f"{name}/{key}": value for key, value in found.items()}
        return told
