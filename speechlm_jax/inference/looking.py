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
    """Of the first row of a batch."""

    heard: generate.Heard | None
    looks: looks.Looks | None


class Looker:
    """Looks into a model at examples. In a run of several processes all of them call it, each with the same examples,
    and each gets all of it.

    hears: whether its CTC head was trained, and knows when words are said. count: of examples of a task.
    """

    def __init__(
        self,
        graphdef: nnx.GraphDef,
        *,
        vocabulary: vocabulary.Vocabulary,
        data: config.Data,
        mesh: jax.sharding.Mesh,
        hears: bool,
        count: int,
    ):
        self.count, self._vocabulary, self._shape, self._mesh = count, vocabulary, data.row, mesh
        # As few as there can be: looks take memory that a step of training has not kept free for them.
        self._rows = sharding.ways_of_rows(mesh)
        self._see = jax.jit(functools.partial(_see, graphdef, mesh, hears), out_shardings=sharding.replicated(mesh))

    def __call__(self, params: Any, task: str, chosen: Sequence[Chosen]) -> list[shown.Shown]:
        """What is to be shown of a task's examples, in their order."""
        return [self._of(params, task, one) for one in chosen]

    def _of(self, params: Any, task: str, chosen: Chosen) -> shown.Shown:
        """An example in a row of its own: the head that is most decided is so for this one."""
        (packed,) = batches.pack([dict(chosen.what.example)], self._shape, rows=self._rows)
        given = generate.place(self._mesh, (packed.batch, self._wanted(chosen.what.example)))
        seen = jax.device_get(self._see(params, *given))
        return self._shown(task, chosen, _Own(packed.batch, seen, self._shape))

    def _wanted(self, example: Mapping[str, Any]) -> np.ndarray:
        """The tokens that it is to say, "B E U"."""
        tokens = np.zeros((self._rows, self._shape.segments, max(self._shape.targets, 1)), np.int32)
        said = _said(example)
        tokens[0, 0, : len(said)] = said
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


def _said(example: Mapping[str, Any]) -> list[int]:
    """The tokens of what is wanted, without the end."""
    return [int(token) for token in example["targets"] if token != vocabulary.EOS]


def _see(
    graphdef: nnx.GraphDef, mesh: jax.sharding.Mesh, hears: bool, params: Any, rows: batch.Batch, wanted: jax.Array
) -> _Seen:
    with sharding.model_on(mesh, graphdef, low_rank.merge(params)) as model:
        encoded = model.encode(rows)
        logits = model.ctc_logits(encoded) if hears else None
        heard = None if logits is None else generate.heard(logits, rows, model.choice.subsampling, wanted)
        found = model.looks(rows, encoded)
        if found is not None:
            found = looks.Looks(found.shares[:, :1].astype(jnp.float16), *(one[:, :1] for one in found[1:]))
        return _Seen(jax.tree.map(lambda values: values[:1], heard), found)


class _Own:
    """What belongs to the one segment of the first row."""

    def __init__(self, rows: batch.Batch, seen: Any, shape: batch.Row):
        """`seen`: as _Seen, fetched."""
        self._rows, self._seen, self._shape = rows, seen, shape

    def _alive(self, lane: Any, every: int = 1) -> np.ndarray:
        """Which places of a lane are the segment's."""
        return np.zeros(0, bool) if lane is None else lane.segment_ids[0, ::every] > 0

    def words(self, tokens: list[int], vocabulary: vocabulary.Vocabulary) -> list[tuple[str, float, float]]:
        """When the CTC head hears each word; none where it cannot have."""
        heard = self._seen.heard
        if heard is None or self._rows.audio is None or heard.labels is None or heard.blanks is None:
            return []
        own = self._alive(self._rows.audio, self._shape.subsampling)
        labels = heard.labels[0][own][:, : len(tokens)]
        times = alignment.spans(tokens, labels, heard.blanks[0][own])
        found = [] if times is None else alignment.words(tokens, times, vocabulary.decode, self._shape.position_seconds)
        return [(word.text.strip(), word.start, word.end) for word in found]

    def look(self, vocabulary: vocabulary.Vocabulary) -> shown.Look | None:
        """Where its steps look among its positions."""
        rows, found = self._rows, self._seen.looks
        text, speech = self._alive(rows.targets), self._alive(rows.target_audio, self._shape.reduction)
        audio, read = self._alive(rows.audio, self._shape.subsampling), self._alive(rows.inputs)
        steps, places = np.concatenate([text, speech]), np.concatenate([audio, read])
        if found is None or not steps.any() or not places.any():
            return None
        shares_LUS = found.shares[:, 0][:, steps][:, :, places].astype(np.float32)
        layer = int(found.decided[:, 0].argmax())
        return shown.Look(
            shares=shares_LUS[layer],
            steps=list(_each(rows.targets, text, vocabulary)),
            places=list(_each(rows.inputs, read, vocabulary)),
            seconds=self._shape.position_seconds,
            layer=layer,
            head=int(found.heads[layer, 0]),
        )


def _each(lane: Any, own: np.ndarray, vocabulary: vocabulary.Vocabulary) -> Iterator[str]:
    """The tokens of a lane, for the eye."""
    return (vocabulary.show([token]) for token in (() if lane is None else lane.tokens[0][own].tolist()))
