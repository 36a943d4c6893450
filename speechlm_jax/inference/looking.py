"""Looks into a model at a few examples: where its decoder looks, and when its CTC head hears what is wanted. Attention
is written out for it, whatever kernel the model is trained with."""

import functools
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from speechlm_jax import batch, low_rank, sharding, vocabulary
from speechlm_jax.data import batches, config, one_pass
from speechlm_jax.inference import alignment, generate, kept_batches, shown, speaking
from speechlm_jax.models import looks


class Chosen(NamedTuple):
    """What is to be looked at, and why."""

    why: str
    what: kept_batches.Told | speaking.Spoken


def choose(
    told: Sequence[kept_batches.Told],
    spoken: Sequence[speaking.Spoken],
    count: int,
    ids: Collection[str] = (),
) -> list[Chosen]:
    """At most `count`: those of these ids, where there are any; else of what was written the least likely to have been
    wanted, the likeliest and others in their order, then of what was spoken."""
    if ids:
        asked = [one for one in (*told, *spoken) if one_pass.text_of(one.example["id"]) in ids]
        return [Chosen("asked for", one) for one in asked[:count]]
    if not count:
        return []
    ranked = sorted((one for one in told if one.log_likelihood is not None), key=_likelihood)
    ends = [Chosen("least likely", ranked[0])] if ranked else []
    if len(ranked) > 1:
        ends.append(Chosen("likeliest", ranked[-1]))
    taken = {id(one.what) for one in ends}
    others = [Chosen("one of the first", one) for one in (*told, *spoken) if id(one) not in taken]
    return (ends + others)[:count]


def _likelihood(one: kept_batches.Told) -> float:
    return (one.log_likelihood or 0.0) / max(len(one.example["targets"]), 1)


class _Seen(NamedTuple):
    """Of the first rows of a batch."""

    heard: generate.Heard | None
    looks: looks.Looks | None


class Looker:
    """In a run of several processes all of them call it, each with the same examples, and each gets all of it.

    count: of examples of a task.
    """

    def __init__(
        self,
        graphdef: nnx.GraphDef,
        *,
        vocabulary: vocabulary.Vocabulary,
        data: config.Data,
        mesh: jax.sharding.Mesh,
        count: int,
    ):
        self.count, self._vocabulary, self._shape, self._mesh = count, vocabulary, data.row, mesh
        # As few as there can be: looks take memory that a step of training has not kept free for them.
        self._rows = sharding.ways_of_rows(mesh)
        self._see = jax.jit(
            functools.partial(_see, graphdef, mesh, min(count, self._rows)), out_shardings=sharding.replicated(mesh)
        )

    def __call__(self, params: Any, task: str, chosen: Sequence[Chosen]) -> list[shown.Shown]:
        """What is to be shown of a task's examples, in their order."""
        examples = [{**one.what.example, _NUMBER: number} for number, one in enumerate(chosen)]
        found: dict[int, shown.Shown] = {}
        for packed in batches.pack(examples, self._shape, rows=self._rows):
            seen = jax.device_get(self._see(params, *generate.place(self._mesh, (packed.batch, self._wanted(packed)))))
            for row, members in enumerate(packed.rows):
                for line, example in enumerate(members):
                    own = _Own(packed.batch, seen, row, line, self._shape)
                    found[example[_NUMBER]] = self._shown(task, chosen[example[_NUMBER]], own)
        return [found[number] for number in sorted(found)]

    def _wanted(self, packed: batches.Packed) -> np.ndarray:
        """The tokens that every example is to say, "B E U"."""
        tokens = np.zeros((self._rows, self._shape.segments, max(self._shape.targets, 1)), np.int32)
        for index, members in enumerate(packed.rows):
            for line, example in enumerate(members):
                said = _said(example)
                tokens[index, line, : len(said)] = said
        return tokens

    def _shown(self, task: str, chosen: Chosen, own: "_Own") -> shown.Shown:
        what, example, words = chosen.what, chosen.what.example, self._vocabulary
        told = what if isinstance(what, kept_batches.Told) else None
        spoken = what if isinstance(what, speaking.Spoken) else None
        return shown.Shown(
            task=task,
            id=one_pass.text_of(example["id"]),
            why=chosen.why,
            wanted=self._text(example),
            written=None if told is None else told.text,
            by_ctc=None if told is None else told.ctc_text,
            likelihood=None if told is None or told.log_likelihood is None else _likelihood(told),
            heard=np.asarray(example["audio"], np.int16) if len(example["audio"]) else None,
            words=own.words(_said(example), words) if example["ctc"][0] else [],
            look=own.look(words),
            wanted_speech=None if spoken is None else np.asarray(example["target_audio"], np.int16),
            spoken=None if spoken is None else spoken.samples,
        )

    def _text(self, example: Mapping[str, Any]) -> str:
        for name in ("targets_pretokenized", "inputs_pretokenized"):
            if name in example and (text := one_pass.text_of(example[name])):
                return text
        return self._vocabulary.decode((example["targets"] if len(example["targets"]) else example["inputs"]).tolist())


_NUMBER = "number_of_example"


def _said(example: Mapping[str, Any]) -> list[int]:
    """The tokens of what is wanted, without the end."""
    return [int(token) for token in example["targets"] if token != vocabulary.EOS]


def _see(
    graphdef: nnx.GraphDef,
    mesh: jax.sharding.Mesh,
    count: int,
    params: Any,
    rows: batch.Batch,
    wanted: jax.Array,
) -> _Seen:
    """Of the first rows alone, in which a few examples stand: the arrays of looks are large."""
    with sharding.model_on(mesh, graphdef, low_rank.merge(params)) as model:
        encoded = model.encode(rows)
        logits = model.ctc_logits(encoded)
        heard = None if logits is None else generate.heard(logits, rows, model.choice.subsampling, wanted)
        found = model.looks(rows, encoded)
        if found is not None:
            found = looks.Looks(found.shares[:, :count].astype(jnp.float16), *(one[:, :count] for one in found[1:]))
        return _Seen(jax.tree.map(lambda values: values[:count], heard), found)


class _Own:
    """What belongs to one segment."""

    def __init__(self, rows: batch.Batch, seen: Any, row: int, line: int, shape: batch.Row):
        """`seen`: as _Seen, fetched."""
        self._rows, self._seen, self._row, self._id, self._shape = rows, seen, row, line + 1, shape

    @property
    def _seconds(self) -> float:
        """Of a position of speech."""
        return self._shape.subsampling * batch.HOP / batch.SAMPLE_RATE

    def _alive(self, lane: Any, every: int = 1) -> np.ndarray:
        """Which places of a lane are the segment's."""
        return np.zeros(0, bool) if lane is None else lane.segment_ids[self._row, ::every] == self._id

    def words(self, tokens: list[int], vocabulary: vocabulary.Vocabulary) -> list[tuple[str, float, float]]:
        """When the CTC head hears each word; none where it cannot have."""
        heard = self._seen.heard
        if heard is None or self._rows.audio is None or heard.labels is None or heard.blanks is None:
            return []
        own = self._alive(self._rows.audio, self._shape.subsampling)
        labels = heard.labels[self._row][own][:, : len(tokens)]
        times = alignment.spans(tokens, labels, heard.blanks[self._row][own])
        found = [] if times is None else alignment.words(tokens, times, vocabulary.decode, self._seconds)
        return [(word.text.strip(), word.start, word.end) for word in found]

    def look(self, vocabulary: vocabulary.Vocabulary) -> shown.Look | None:
        """Where its steps look among its positions."""
        rows, found = self._rows, self._seen.looks
        text, speech = self._alive(rows.targets), self._alive(rows.target_audio, self._shape.reduction)
        audio, read = self._alive(rows.audio, self._shape.subsampling), self._alive(rows.inputs)
        steps, places = np.concatenate([text, speech]), np.concatenate([audio, read])
        if found is None or not steps.any() or not places.any():
            return None
        shares_LUS = found.shares[:, self._row][:, steps][:, :, places].astype(np.float32)
        layer = int(shares_LUS.max(-1).mean(-1).argmax())
        return shown.Look(
            shares=shares_LUS[layer],
            steps=list(_each(rows.targets, self._row, text, vocabulary)),
            places=list(_each(rows.inputs, self._row, read, vocabulary)),
            seconds=self._seconds,
            layer=layer,
            head=int(found.heads[layer, self._row]),
        )


def _each(lane: Any, row: int, own: np.ndarray, vocabulary: vocabulary.Vocabulary) -> Iterator[str]:
    """The tokens of a lane, for the eye."""
    return (vocabulary.show([token]) for token in (() if lane is None else lane.tokens[row][own].tolist()))
