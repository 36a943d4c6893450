"""Text of packed examples, by the decoder and by the CTC head. Needs no TensorFlow."""

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from speechlm_jax import batch, sharding, vocabulary
from speechlm_jax.data import batches
from speechlm_jax.inference import alignment, beam, config, decoding, hypotheses, label_sets

PROMPT_TOKENS = 16
"""Room for decoder prompts comes in multiples of this: one program decodes all batches of about the same prompts."""


class Text(NamedTuple):
    """What the model wrote."""

    tokens: list[int]
    score: float
    """As config.Search says."""
    cut: bool
    """Whether the decoder had written all the tokens that it may, and no end token."""


class Ctc(NamedTuple):
    """What the CTC head says at the audio positions of an example."""

    path: Int[np.ndarray, "P"]
    labels: Float[np.ndarray, "P U"] | None
    """Log-probabilities of the tokens of the best text, where times are asked for."""
    blanks: Float[np.ndarray, "P"] | None
    """Those of the blank."""


class Heard(NamedTuple):
    """The same of all rows, on the device."""

    path: Int[Array, "B P"]
    labels: Float[Array, "B P U"] | None
    blanks: Float[Array, "B P"] | None


class Decoded(NamedTuple):
    """What the model wrote for one example."""

    example: Mapping[str, Any]
    texts: list[Text]
    """As many as Search.best, the best first; fewer where there are no more; one of no tokens if the decoder was not
    asked."""
    ctc: Ctc | None
    """Where the example is speech that CTC may align with text."""

    @property
    def tokens(self) -> list[int]:
        """Of the best text."""
        return self.texts[0].tokens

    @property
    def ctc_tokens(self) -> list[int] | None:
        """The CTC head's best path."""
        return None if self.ctc is None else decoding.collapse(self.ctc.path)

    @property
    def ctc_times(self) -> list[alignment.Span]:
        """The positions of its speech at which each of these was said."""
        return [] if self.ctc is None else [times for _, times in decoding.runs(self.ctc.path)]

    def times(self) -> list[alignment.Span] | None:
        """The positions at which the CTC head hears each token of the best text; None where that was not asked for, or
        the speech is too short to say it."""
        if self.ctc is None or self.ctc.labels is None or self.ctc.blanks is None:
            return None
        return alignment.spans(self.tokens, self.ctc.labels[:, : len(self.tokens)], self.ctc.blanks)

    @property
    def cut(self) -> bool:
        """Whether the best text was cut."""
        return self.texts[0].cut


class LanguageModel(NamedTuple):
    """A decoder that has learned text behind the prompts that are used, and is given nothing else."""

    graphdef: nnx.GraphDef
    params: nnx.State


def place(mesh: jax.sharding.Mesh, rows: Any) -> Any:
    """Arrays "B ..." that every process holds whole (numpy), cut over the devices as rows of a batch are."""
    cut = sharding.batch_sharding(mesh)
    return jax.tree.map(lambda whole: jax.make_array_from_callback(whole.shape, cut, whole.__getitem__), rows)


class Generator:
    """Writes text for packed rows, all segments of a batch at once. In a run of several processes all of them call it,
    each with the whole batch, and each gets all of the text.

    row: the shape of the rows. steps: tokens that the decoder may write, the end token too; None: as many as a row's
    targets, 0: the decoder is not asked. search: how it is asked. labels: the texts that it chooses
    among, in tokens; none: any. language_model: what Search.language_model weighs. forbidden: what is not written.
    times: whether the CTC head, which the model must have, is to tell when the tokens were said.
    """

    def __init__(
        self,
        graphdef: nnx.GraphDef,
        *,
        row: batch.Row,
        mesh: jax.sharding.Mesh,
        steps: int | None = None,
        search: config.Search = config.GREEDY,
        labels: Sequence[Sequence[int]] = (),
        language_model: LanguageModel | None = None,
        forbidden: hypotheses.Forbidden = hypotheses.NOTHING,
        times: bool = False,
    ):
        self._row, self._mesh = row, mesh
        asked = _Asked(
            steps=row.targets if steps is None else steps,
            search=search,
            labels=label_sets.build(labels) if labels else None,
            language_model=None if language_model is None else language_model.graphdef,
            # Among labels no other text can be written.
            forbidden=hypotheses.NOTHING if labels else forbidden,
            times=times,
        )
        self._steps = asked.steps
        self._beside = None if language_model is None else language_model.params
        self._decode = jax.jit(
            functools.partial(_decode, graphdef, mesh, asked), out_shardings=sharding.replicated(mesh)
        )

    def __call__(self, params: nnx.State, packed: batches.Packed) -> Iterator[Decoded]:
        """The text of every example of a packed batch."""
        prompts = by_segment(packed, "prompt", self._row.segments, PROMPT_TOKENS)
        given = place(self._mesh, (packed.batch, _aligned(packed), *prompts))
        found, ctc = jax.device_get(self._decode(params, self._beside, *given))
        for index, members in enumerate(packed.rows):
            for line, example in enumerate(members):
                told = None
                if ctc is not None and packed.batch.audio is not None and example["ctc"][0]:
                    own = packed.batch.audio.segment_ids[index, :: self._row.subsampling] == line + 1
                    times = (None if values is None else values[index][own] for values in ctc[1:])
                    told = Ctc(ctc.path[index][own], *times)
                yield Decoded(example, _texts(found, index, line), told)


class _Asked(NamedTuple):
    """What the decoder is asked for."""

    steps: int
    search: config.Search
    labels: label_sets.Labels | None
    language_model: nnx.GraphDef | None
    forbidden: hypotheses.Forbidden
    times: bool


def _texts(found: hypotheses.Texts | None, row: int, line: int) -> list[Text]:
    """Those of a segment."""
    if found is None:
        return [Text([], 0.0, cut=False)]
    lengths, scores, ended = (values[row, line].tolist() for values in found[1:])
    tokens = found.tokens[row, line]
    texts = [
        Text(tokens[number, :length].tolist(), score, cut=not end)
        for number, (length, score, end) in enumerate(zip(lengths, scores, ended, strict=True))
        if length >= 0
    ]
    return texts or _texts(None, row, line)


def _aligned(packed: batches.Packed) -> np.ndarray:
    """Of which segments the CTC head may say something, whatever their targets are: bool "B E"."""
    found = np.zeros(packed.batch.segments.weights.shape, bool)
    for index, members in enumerate(packed.rows):
        for line, example in enumerate(members):
            found[index, line] = bool(example["ctc"][0]) and len(example["audio"]) > 0
    return found


def by_segment(
    packed: batches.Packed, name: str, segments: int, multiple: int
) -> tuple[Int[np.ndarray, "B E W"], Int[np.ndarray, "B E"]]:
    """The tokens of this name of each example of a batch, in room for a multiple of so many, and how many they are."""
    longest = max((len(example[name]) for members in packed.rows for example in members), default=0)
    room = multiple * max(1, -(-longest // multiple))
    tokens = np.zeros((len(packed.rows), segments, room), np.int32)
    lengths = np.zeros((len(packed.rows), segments), np.int32)
    for index, members in enumerate(packed.rows):
        for line, example in enumerate(members):
            tokens[index, line, : len(example[name])] = example[name]
            lengths[index, line] = len(example[name])
    return tokens, lengths


def _decode(
    graphdef: nnx.GraphDef,
    mesh: jax.sharding.Mesh,
    asked: _Asked,
    params: Any,
    beside: Any,
    rows: batch.Batch,
    aligned: jax.Array,
    prompts: jax.Array,
    lengths: jax.Array,
) -> tuple[hypotheses.Texts | None, Heard | None]:
    """What the decoder writes, and what the CTC head says."""
    search, language_model = asked.search, None
    with contextlib.ExitStack() as models:
        model = models.enter_context(sharding.model_on(mesh, graphdef, params))
        if asked.language_model is not None:
            language_model = models.enter_context(sharding.model_on(mesh, asked.language_model, beside))
        encoded = model.encode(rows)
        ctc = model.ctc_logits(encoded)
        found = None
        if not asked.steps:
            pass
        elif (search.draws or search.width == 1) and not search.ctc and not search.language_model:
            limits: dict[str, Any] = {"labels": asked.labels, "forbidden": asked.forbidden}
            found = decoding.write(model, rows, encoded, prompts, lengths, asked.steps, search, **limits)
        else:
            frame_ids = None if rows.audio is None else rows.audio.segment_ids[:, :: model.choice.subsampling]
            scorers = beam.Scorers(ctc, frame_ids, aligned, language_model, asked.labels, asked.forbidden)
            given = (rows, encoded, prompts, lengths)
            found = beam.Beam(model, *given, search, scorers, max_steps=asked.steps).search()
        best_BEU = None if found is None or not asked.times else found.tokens[:, :, 0]
        return found, None if ctc is None else heard(ctc, rows, model.choice.subsampling, best_BEU)


def heard(
    logits: Float[Array, "B P V"], rows: batch.Batch, subsampling: int, tokens: Int[Array, "B E U"] | None
) -> Heard:
    """What the CTC head says, of these tokens of each segment too."""
    path_BP = logits.argmax(-1)
    if tokens is None or rows.audio is None:
        return Heard(path_BP, None, None)
    log_probs_BPV = jax.nn.log_softmax(logits)
    # A dead position has some segment's tokens, and is not read.
    lines_BP = jnp.maximum(rows.audio.segment_ids[:, ::subsampling] - 1, 0)
    tokens_BPU = jnp.take_along_axis(tokens, lines_BP[:, :, None], axis=1)
    labels_BPU = jnp.take_along_axis(log_probs_BPV, tokens_BPU, axis=-1)
    return Heard(path_BP, labels_BPU, log_probs_BPV[:, :, vocabulary.PAD])
