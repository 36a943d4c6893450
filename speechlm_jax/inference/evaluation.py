"""Scores of SeqIO tasks: the losses of a split, and the tasks' own metrics over greedily decoded text."""

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import seqio
from flax import nnx

from speechlm_jax import batch as batch_room
from speechlm_jax import sharding, vocabulary
from speechlm_jax.data import config, one_pass, quarantine
from speechlm_jax.inference import decoding
from speechlm_jax.models import speech_text

PROMPT_TOKENS = 16
"""Room for a decoder prompt while decoding."""


class Decoded(NamedTuple):
    """What the model wrote for one example."""

    example: dict[str, Any]
    tokens: list[int]
    ctc_tokens: list[int] | None
    """The CTC head's best path, where the example is speech with a transcript."""


class Evaluator:
    """Evaluates parameters of one model on packed rows of `data`.

    heads: loss heads by name. decode_steps: tokens that greedy decoding may write.
    """

    def __init__(
        self,
        graphdef: nnx.GraphDef,
        *,
        vocabulary: vocabulary.Vocabulary,
        data: config.Data,
        mesh: jax.sharding.Mesh,
        heads: Mapping[str, Any],
        decode_steps: int,
    ):
        self._vocabulary, self._data, self._mesh, self._heads = vocabulary, data, mesh, heads
        everywhere = sharding.replicated(mesh)
        self._losses = jax.jit(functools.partial(_losses, graphdef, heads), out_shardings=everywhere)
        self._decode = jax.jit(functools.partial(_decode, graphdef, decode_steps), out_shardings=everywhere)

    def score(self, params: Any, task: seqio.Task, split: str, *, limit: int | None = None) -> dict[str, Any]:
        """Losses by head, the task's metrics, and some samples, of the first `limit` records of a split."""
        bad = quarantine.Quarantine(self._data.stream.bad_records)
        totals = {name: np.zeros(2) for name in self._heads}
        decoded: list[Decoded] = []
        generates = bool(task.predict_metric_fns)
        examples = one_pass.examples(task, split, quarantine=bad, limit=limit)
        for packed in one_pass.pack(examples, self._data.row, rows=self._data.rows, quarantine=bad):
            rows = sharding.global_batch(self._mesh, packed.batch)
            for name, sums in jax.device_get(self._losses(params, rows)).items():
                totals[name] += sums
            if generates:
                decoded.extend(self.decode(params, packed, rows))
        scores: dict[str, Any] = {f"loss/{name}": float(t / w) for name, (t, w) in totals.items() if w}
        scores["skipped"] = bad.skipped
        if generates and decoded:
            scores |= self._metrics(task, decoded)
        return scores

    def decode(self, params: Any, packed: one_pass.Packed, rows: batch_room.Batch | None = None) -> Iterator[Decoded]:
        """Greedy text of every example of a packed batch."""
        rows = sharding.global_batch(self._mesh, packed.batch) if rows is None else rows
        prompts, prompt_lengths = _prompts(packed, self._data.row.segments)
        tokens, lengths, ctc_paths = jax.device_get(self._decode(params, rows, prompts, prompt_lengths))
        for index, members in enumerate(packed.rows):
            for line, example in enumerate(members):
                written = tokens[index, line, : lengths[index, line]].tolist()
                ctc_tokens = None
                if ctc_paths is not None and example["ctc"][0]:
                    ctc_tokens = self._collapse(packed.batch, ctc_paths[index], index, line + 1)
                yield Decoded(example, written, ctc_tokens)

    def _collapse(self, rows: batch_room.Batch, path: np.ndarray, index: int, segment: int) -> list[int]:
        assert rows.audio is not None
        segment_ids = rows.audio.segment_ids[index, :: self._data.row.subsampling]
        return decoding.collapse(path[segment_ids == segment])

    def _metrics(self, task: seqio.Task, decoded: list[Decoded]) -> dict[str, Any]:
        scores: dict[str, Any] = {"examples": len(decoded)}
        targets = [self._postprocess(task, self._reference(d.example), d.example, True) for d in decoded]
        texts = [self._vocabulary.decode(d.tokens) for d in decoded]
        predictions = [
            self._postprocess(task, text, d.example, False) for text, d in zip(texts, decoded, strict=True)
        ]
        scores |= _run_metrics(task.predict_metric_fns, targets, predictions)
        aligned = [i for i, d in enumerate(decoded) if d.ctc_tokens is not None]
        if aligned:
            paths = [self._vocabulary.decode(decoded[i].ctc_tokens or []) for i in aligned]
            ctc_scores = _run_metrics(task.predict_metric_fns, [targets[i] for i in aligned], paths)
            scores |= {f"ctc/{name}": value for name, value in ctc_scores.items()}
        scores["samples"] = [
            {"id": _text(decoded[i].example["id"]), "target": str(targets[i]), "prediction": str(predictions[i])}
            for i in np.linspace(0, len(decoded) - 1, min(5, len(decoded))).astype(int)
        ]
        return scores

    def _reference(self, example: Mapping[str, Any]) -> str:
        if "targets_pretokenized" in example:
            return _text(example["targets_pretokenized"])
        return self._vocabulary.decode(example["targets"].tolist())

    @staticmethod
    def _postprocess(task: seqio.Task, text: str, example: Mapping[str, Any], is_target: bool) -> Any:
        if task.postprocessor is None:
            return text
        return task.postprocess_fn(text, example=example, is_target=is_target)


def _run_metrics(functions: Any, targets: list[Any], predictions: list[Any]) -> dict[str, Any]:
    scores: dict[str, Any] = {}
    for function in functions:
        scores |= function(targets=targets, predictions=predictions)
    return scores


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def _prompts(packed: one_pass.Packed, segments: int) -> tuple[np.ndarray, np.ndarray]:
    """The decoder prompts of a batch: "B E P" and their lengths "B E"."""
    prompts = np.zeros((len(packed.rows), segments, PROMPT_TOKENS), np.int32)
    lengths = np.zeros((len(packed.rows), segments), np.int32)
    for index, members in enumerate(packed.rows):
        for line, example in enumerate(members):
            prompt = example["prompt"]
            if len(prompt) > PROMPT_TOKENS:
                raise ValueError(
                    f"decoding example '{_text(example['id'])}': its prompt has {len(prompt)} tokens, "
                    f"wanted at most {PROMPT_TOKENS}."
                )
            prompts[index, line, : len(prompt)] = prompt
            lengths[index, line] = len(prompt)
    return prompts, lengths


def _losses(graphdef: nnx.GraphDef, heads: Mapping[str, Any], params: Any, rows: batch_room.Batch) -> dict[str, Any]:
    model: speech_text.SpeechText = nnx.merge(graphdef, params)
    outputs = model(rows)
    return {
        name: jax.numpy.stack([head.totals(outputs, rows).sum(), head.weights(rows).sum()])
        for name, head in heads.items()
    }


def _decode(
    graphdef: nnx.GraphDef, steps: int, params: Any, rows: batch_room.Batch, prompts: jax.Array, lengths: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array | None]:
    """Greedy tokens "B E U", their number "B E", and the best CTC token of each audio position "B P"."""
    model: speech_text.SpeechText = nnx.merge(graphdef, params)
    encoded = model.encode(rows)
    tokens, written = decoding.greedy(model, rows, encoded, prompts, lengths, steps)
    ctc = model.ctc_logits(encoded)
    return tokens, written, None if ctc is None else ctc.argmax(-1)


