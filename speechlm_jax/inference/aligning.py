"""When words were spoken that another model wrote, by the CTC head of a checkpoint whose vocabulary may be finer."""

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from speechlm_jax import sharding
from speechlm_jax.data import batches, packing
from speechlm_jax.inference import alignment, asking, generate, loading

_TOKENS = 64
"""Texts have room for a multiple of so many: few lengths are compiled."""


class Aligner:
    """Tells when the words of texts were spoken.

    A CTC head tells a token somewhere in the time that it takes. So the finer the pieces of words are that it tells,
    the nearer are the times: a vocabulary of letters serves it best, whatever that of the model is that wrote the text.
    """

    def __init__(self, loaded: loading.Loaded):
        """Raises ValueError where the model has no CTC head, or that was not trained."""
        if not loaded.hears:
            raise ValueError(
                f"aligning with {loaded.folder}: it was trained with no CTC head. Name one that was as --aligner."
            )
        self._loaded = loaded
        self._hear = jax.jit(
            functools.partial(_hear, loaded.graphdef, loaded.mesh), out_shardings=sharding.replicated(loaded.mesh)
        )

    @property
    def longest(self) -> int:
        """Samples that it hears at once."""
        return self._loaded.data.row.longest_samples

    def __call__(self, said: Sequence[tuple[np.ndarray, str]]) -> list[list[alignment.Word] | None]:
        """The words of each recording, int16 "N" at 16 kHz, and its text, in seconds of the recording. None where it is
        too short to say the text, or too long to be heard, or the vocabulary cannot spell the text."""
        found: list[list[alignment.Word] | None] = [None] * len(said)
        loaded, row = self._loaded, self._loaded.data.row
        for packed in batches.pack(self._examples(said), row, rows=loaded.data.rows):
            spelled, _ = generate.by_segment(packed, "spelled", row.segments, _TOKENS)
            given = generate.place(loaded.mesh, (packed.batch, spelled))
            lines_BP, labels_BPU, blanks_BP = jax.device_get(self._hear(loaded.params, *given))
            for index, members in enumerate(packed.rows):
                for line, example in enumerate(members):
                    tokens, own = example["spelled"], lines_BP[index] == line + 1
                    spans = alignment.spans(tokens, labels_BPU[index][own, : len(tokens)], blanks_BP[index][own])
                    if spans is not None:
                        words = alignment.words(tokens, spans, loaded.vocabulary.decode, row.position_seconds)
                        found[example["number"]] = words
        return found

    def _examples(self, said: Sequence[tuple[np.ndarray, str]]) -> Iterator[asking.Example]:
        words, row = self._loaded.vocabulary, self._loaded.data.row
        for number, (samples, text) in enumerate(said):
            tokens = words.encode(text)
            example = asking.hear(asking.Given(audio=samples))
            if words.decode(tokens) == text and packing.misfit(packing.demand(example, row), row) is None:
                yield {**example, "id": str(number), "number": number, "origin": (0, number, 0), "spelled": tokens}


def _hear(
    graphdef: nnx.GraphDef, mesh: jax.sharding.Mesh, params: Any, rows: Any, spelled: Int[Array, "B E U"]
) -> tuple[Int[Array, "B P"], Float[Array, "B P U"], Float[Array, "B P"]]:
    """Of each position the segment that it belongs to, from one on, and log-probabilities: of the segment's tokens, and
    of a blank."""
    with sharding.model_on(mesh, graphdef, params) as model:
        subsampling = model.choice.subsampling
        heard: Any = generate.heard(model.ctc_logits(model.encode(rows)), rows, subsampling, spelled)
        return rows.audio.segment_ids[:, ::subsampling], heard.labels, heard.blanks
