"""Scores of SeqIO tasks: the losses of a split, and the tasks' own metrics over greedily decoded text."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import seqio
from flax import nnx

from speechlm_jax import batch, sharding, vocabulary
from speechlm_jax.data import batches, config, one_pass, quarantine
from speechlm_jax.inference import generate
from speechlm_jax.models import speech_text


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
        self._generate = generate.Generator(graphdef, row=data.row, mesh=mesh, steps=decode_steps)
        self._losses = jax.jit(functools.partial(_losses, graphdef, heads), out_shardings=sharding.replicated(mesh))

    def score(self, params: Any, task: seqio.Task, split: str, *, limit: int | None = None) -> dict[str, Any]:
        """Losses by head, the task's metrics, and some samples, of the first `limit` records of a split."""
        bad = quarantine.Quarantine(self._data.stream.bad_records)
        totals = {name: np.zeros(2) for name in self._heads}
        decoded: list[generate.Decoded] = []
        examples = one_pass.examples(task, split, quarantine=bad, limit=limit)
        for packed in batches.pack(examples, self._data.row, rows=self._data.rows, quarantine=bad):
            rows = sharding.global_batch(self._mesh, packed.batch)
            for name, sums in jax.device_get(self._losses(params, rows)).items():
                totals[name] += sums
            if task.predict_metric_fns:
                decoded.extend(self._generate(params, packed))
        scores: dict[str, Any] = {f"loss/{name}": float(t / w) for name, (t, w) in totals.items() if w}
        scores["skipped"] = bad.skipped
        if decoded:
            scores |= self._metrics(task, decoded)
        return scores

    def _metrics(self, task: seqio.Task, decoded: Sequence[generate.Decoded]) -> dict[str, Any]:
        scores: dict[str, Any] = {"examples": len(decoded)}
        targets = [_postprocess(task, self._reference(d.example), d.example, True) for d in decoded]
        predictions = [_postprocess(task, self._vocabulary.decode(d.tokens), d.example, False) for d in decoded]
        scores |= _run_metrics(task, targets, predictions)
        chosen = np.linspace(0, len(decoded) - 1, min(5, len(decoded))).astype(int).tolist()
        scores["samples"] = [
            {"id": _text(decoded[i].example["id"]), "target": str(targets[i]), "prediction": str(predictions[i])}
            for i in chosen
        ]
        aligned = [index for index, d in enumerate(decoded) if d.ctc_tokens is not None]
        if aligned:
            paths = [self._vocabulary.decode(decoded[index].ctc_tokens or []) for index in aligned]
            ctc_scores = _run_metrics(task, [targets[index] for index in aligned], paths)
            scores |= {f"ctc/{name}": value for name, value in ctc_scores.items()}
            written = dict(zip(aligned, paths, strict=True))
            for sample, i in zip(scores["samples"], chosen, strict=True):
                sample["ctc_prediction"] = written.get(i, "")
        return scores

    def _reference(self, example: Mapping[str, Any]) -> str:
        if "targets_pretokenized" in example:
            return _text(example["targets_pretokenized"])
        return self._vocabulary.decode(example["targets"].tolist())


def _postprocess(task: seqio.Task, text: str, example: Mapping[str, Any], is_target: bool) -> Any:
    return task.postprocess_fn(text, example=example, is_target=is_target) if task.postprocessor else text


def _run_metrics(task: seqio.Task, targets: Sequence[Any], predictions: Sequence[Any]) -> dict[str, Any]:
    scores: dict[str, Any] = {}
    for function in task.predict_metric_fns:
        scores |= function(targets=targets, predictions=predictions)
    return scores


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def _losses(graphdef: nnx.GraphDef, heads: Mapping[str, Any], params: Any, rows: batch.Batch) -> dict[str, Any]:
    """(total, weight) of each head."""
    model: speech_text.SpeechText = nnx.merge(graphdef, params)
    outputs = model(rows)
    return {
        name: jnp.stack([head.totals(outputs, rows).sum(), head.weights(rows).sum()]) for name, head in heads.items()
    }
