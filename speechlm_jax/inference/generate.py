"""Greedy text of packed examples, by the decoder and by the CTC head. Needs no TensorFlow."""

import functools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from speechlm_jax import batch, sharding
from speechlm_jax.data import batches
from speechlm_jax.inference import decoding

PROMPT_TOKENS = 16
"""Room for decoder prompts comes in multiples of this: one program decodes all batches of about the same prompts."""


class Decoded(NamedTuple):
    """What the model wrote for one example."""

    example: Mapping[str, Any]
    tokens: list[int]
    ctc_tokens: list[int] | None
    """The CTC head's best path, where the example is speech that CTC may align with text."""
    cut: bool
    """Whether the decoder had written all the tokens that it may, and no end token."""


def place(mesh: jax.sharding.Mesh, rows: Any) -> Any:
    """Arrays "B ..." that every process holds whole (numpy), cut over the devices as rows of a batch are."""
    cut = sharding.batch_sharding(mesh)
    return jax.tree.map(lambda whole: jax.make_array_from_callback(whole.shape, cut, whole.__getitem__), rows)


class Generator:
    """Writes text for packed rows, all segments of a batch at once. In a run of several processes all of them call it,
    each with the whole batch, and each gets all of the text.

    row: the shape of the rows. steps: tokens that the decoder may write, the end token too; None: as many as a row's
    targets, 0: the decoder is not asked.
    """

    def __init__(self, graphdef: nnx.GraphDef, *, row: batch.Row, mesh: jax.sharding.Mesh, steps: int | None = None):
        self._row, self._mesh = row, mesh
        self._steps = row.targets if steps is None else steps
        self._decode = jax.jit(
            functools.partial(_decode, graphdef, mesh, self._steps), out_shardings=sharding.replicated(mesh)
        )

    def __call__(self, params: nnx.State, packed: batches.Packed) -> Iterator[Decoded]:
        """The greedy text of every example of a packed batch."""
        rows, prompts, prompt_lengths = place(self._mesh, (packed.batch, *_prompts(packed, self._row.segments)))
        tokens, lengths, ctc_paths = jax.device_get(self._decode(params, rows, prompts, prompt_lengths))
        for index, members in enumerate(packed.rows):
            for line, example in enumerate(members):
                written = tokens[index, line, : lengths[index, line]].tolist()
                ctc_tokens = None
                if ctc_paths is not None and packed.batch.audio is not None and example["ctc"][0]:
                    segments = packed.batch.audio.segment_ids[index, :: self._row.subsampling]
                    ctc_tokens = decoding.collapse(ctc_paths[index][segments == line + 1])
                yield Decoded(example, written, ctc_tokens, cut=0 < self._steps == len(written))


def _prompts(packed: batches.Packed, segments: int) -> tuple[np.ndarray, np.ndarray]:
    """The decoder prompts of a batch: "B E W" and their lengths "B E"."""
    longest = max((len(example["prompt"]) for members in packed.rows for example in members), default=0)
    room = PROMPT_TOKENS * max(1, -(-longest // PROMPT_TOKENS))
    prompts = np.zeros((len(packed.rows), segments, room), np.int32)
    lengths = np.zeros((len(packed.rows), segments), np.int32)
    for index, members in enumerate(packed.rows):
        for line, example in enumerate(members):
            prompts[index, line, : len(example["prompt"])] = example["prompt"]
            lengths[index, line] = len(example["prompt"])
    return prompts, lengths


def _decode(
    graphdef: nnx.GraphDef,
    mesh: jax.sharding.Mesh,
    steps: int,
    params: Any,
    rows: batch.Batch,
    prompts: jax.Array,
    lengths: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array | None]:
    """Greedy tokens "B E U", their number "B E", and the best CTC token of each audio position "B P"."""
    with sharding.model_on(mesh, graphdef, params) as model:
        encoded = model.encode(rows)
        ctc = model.ctc_logits(encoded)
        tokens, written = jnp.zeros((*lengths.shape, 0), jnp.int32), jnp.zeros_like(lengths)
        if steps:
            tokens, written = decoding.greedy(model, rows, encoded, prompts, lengths, steps)
    return tokens, written, None if ctc is None else ctc.argmax(-1)
