"""Scores of SeqIO tasks: the losses of a split, and the tasks' own metrics over what the model writes or speaks."""

import hashlib
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import seqio
from flax import nnx

from speechlm_jax import label_metrics, metrics, runtime, vocabulary
from speechlm_jax.data import batches, config, one_pass, quarantine
from speechlm_jax.inference import config as decoding_config
from speechlm_jax.inference import eval_step, generate, hypotheses, kept_batches, listening, looking, speaking
from speechlm_jax.models import config as model_config


class Evaluator:
    """Evaluates parameters of one model on packed rows of `data`. In a run of several processes all of them read and
    pack the same records, compute their own rows, and know all scores.

    heads: loss heads by name. model: what the graph is made of; only one that writes speech needs it. decode_steps:
    tokens that the decoder may write; None: as many as a row's targets. decoding: how its text is looked for.
    listener: what writes down the speech that is made of texts. shown: how many examples of a task are looked into;
    shown_ids: which, where it is not left to looking.choose.
    """

    def __init__(
        self,
        graphdef: nnx.GraphDef,
        *,
        vocabulary: vocabulary.Vocabulary,
        data: config.Data,
        mesh: jax.sharding.Mesh,
        heads: Mapping[str, Any],
        model: model_config.Model | None = None,
        decode_steps: int | None = None,
        decoding: decoding_config.Search = decoding_config.GREEDY,
        listener: listening.Listener | None = None,
        shown: int = 0,
        shown_ids: Collection[str] = (),
    ):
        self._vocabulary, self._data, self._mesh, self._heads = vocabulary, data, mesh, heads
        self._listener = listener
        self._speak = None
        if model is not None and model.speech_out is not None and data.row.target_audio_steps:
            self._speak = speaking.Speaker(graphdef, model.speech_out, mesh=mesh, steps=data.row.target_audio_steps)
        self._generate = generate.Generator(
            graphdef,
            row=data.row,
            mesh=mesh,
            steps=decode_steps,
            search=decoding,
            forbidden=hypotheses.forbidden_of(vocabulary),
        )
        self._losses = eval_step.make(graphdef, heads, mesh=mesh)
        self._shown_ids = shown_ids
        self._looker = looking.Looker(
            graphdef, vocabulary=vocabulary, data=data, mesh=mesh, hears="ctc" in heads, count=shown
        )

    def score(
        self,
        params: Any,
        task: seqio.Task,
        split: str,
        *,
        limit: int | None = None,
        between: Callable[[], None] = lambda: None,
        kept: kept_batches.Kept | None = None,
        resamples: bool = False,
    ) -> dict[str, Any]:
        """Of the first `limit` records of a split: losses by head, of tokens with their perplexity, the share of single
        guesses that are right, the use of codebooks, the task's metrics with some samples, and in how many examples the
        decoder wrote no end token, `cut_off`. Where nothing of it can be scored, `not_scored` says why.

        Predictions are what the decoder writes; of claims, what a model that matches holds them for; of tasks with
        speech to come out, the speech (int16), sampled at uses.TEMPERATURE, beside the true one. A metric function with
        an argument `scores` is given log P(target) of each example. Where examples say of what kind they are, metrics
        are told by kind as well. Examples of weight 0 are left out of metrics, as they are of losses. `between` is
        called before every batch. kept: batches that need not be scored again, and that are to be kept. resamples: the
        scores of a bootstrap's resamples are told, too, and `examples_hash` which examples they are of. `shown`: those
        that were looked into (shown.Shown), where the evaluator is to.
        """
        try:
            scores = self._scores(params, task, split, limit, between, kept)
            if resamples:
                return scores
            return {
                name: value
                for name, value in scores.items()
                if not name.endswith(metrics.RESAMPLES) and name != metrics.EXAMPLES
            }
        except quarantine.TooManyBadRecords as error:
            # The budget guards what is trained on: the other tasks are scored all the same.
            return {"not_scored": str(error)}

    def _scores(
        self,
        params: Any,
        task: seqio.Task,
        split: str,
        limit: int | None,
        between: Callable[[], None],
        kept: kept_batches.Kept | None,
    ) -> dict[str, Any]:
        reasons: list[str] = []
        bad = quarantine.Quarantine(self._data.stream.bad_records, lambda record: reasons.append(record.reason))
        sums, count = {name: _Sums() for name in self._heads}, 0
        told: list[kept_batches.Told] = []
        spoken: list[speaking.Spoken] = []
        headless = ""
        examples = one_pass.examples(task, split, quarantine=bad, limit=limit)
        rows = batches.pack(examples, self._data.row, rows=self._data.rows, quarantine=bad)
        for number, packed in enumerate(rows):
            between()
            found = None if kept is None else kept.of(task.name, number, packed)
            if found is None:
                found = self._found(params, task, packed)
                if kept is not None:
                    kept.add(task.name, number, packed, found)
            count += sum(map(len, packed.rows))
            for name, head in found.measured.items():
                sums[name].add(head, packed)
            told += found.told if self._looker.count else map(_without_recordings, found.told)
            spoken += found.spoken
            headless = found.headless or headless
        scores: dict[str, Any] = {}
        for name, own in sums.items():
            scores |= own.scores(name)
        scores |= {"skipped": bad.skipped, "examples": count}
        if not count:
            why = f"; the first: {reasons[0]}" if reasons else ""
            scores["not_scored"] = (
                f"of {bad.read} records {bad.skipped} were skipped, and the others became no example{why}"
            )
        elif headless and not told and not spoken:
            runtime.say(
                f"{task.name}/{split}: its metrics are left out: the model was trained with no head that {headless}."
            )
        # Not by where rows had room: another model's rows are others.
        told.sort(key=lambda one: one_pass.text_of(one.example["id"]))
        spoken.sort(key=lambda one: one_pass.text_of(one.example["id"]))
        scores |= self._text_metrics(task, list(map(_without_recordings, told))) | self._speech_metrics(task, spoken)
        if chosen := looking.choose(told, spoken, self._looker.count, self._shown_ids):
            scores["shown"] = self._looker(params, task.name, chosen)
        return scores

    def _found(self, params: Any, task: seqio.Task, packed: batches.Packed) -> kept_batches.Found:
        """What the model says of the examples of a batch."""
        measured = jax.device_get(self._losses(params, generate.place(self._mesh, packed.batch)))
        found = kept_batches.Found(measured, [], [])
        if not task.metric_fns:
            return found
        if packed.batch.target_audio is not None and np.any(packed.batch.target_audio.segment_ids):
            if self._speak is None:
                return found._replace(headless="speaks (Model.speech_out)")
            return found._replace(spoken=[one for one in self._speak(params, packed) if weight_of(one.example)])
        if not np.any(packed.batch.segments.claims):
            return found._replace(told=list(self._written(params, packed, measured)))
        if "matching" in measured:
            return found._replace(told=list(_judged(packed, measured["matching"])))
        return found._replace(headless="judges claims (Model.matching)")

    def _written(
        self, params: Any, packed: batches.Packed, measured: Mapping[str, eval_step.Measured]
    ) -> Iterator[kept_batches.Told]:
        losses = iter(_of_examples(measured["targets"].totals, packed) if "targets" in measured else ())
        for decoded in self._generate(params, packed):
            loss, weight = next(losses, None), weight_of(decoded.example)
            if not weight:
                continue
            text = self._vocabulary.decode(decoded.tokens)
            # A head that was not trained has nothing to say.
            heard = decoded.ctc_tokens if "ctc" in self._heads else None
            by_ctc = None if heard is None else self._vocabulary.decode(heard)
            yield kept_batches.Told(
                decoded.example, text, None if loss is None else -loss / weight, decoded.cut, by_ctc
            )

    def _speech_metrics(self, task: seqio.Task, spoken: Sequence[speaking.Spoken]) -> dict[str, Any]:
        if not spoken:
            return {}
        targets = [one.example["target_audio"] for one in spoken]
        scores = run_metrics(task, targets, [one.samples for one in spoken]) | _hashed(spoken, targets)
        if self._listener is not None and "targets_pretokenized" in spoken[0].example:
            words = self._vocabulary
            scores |= self._listener.scores(spoken, {words.language(code): code for code in words.languages})
        return scores

    def _text_metrics(self, task: seqio.Task, told: Sequence[kept_batches.Told]) -> dict[str, Any]:
        if not told:
            return {}
        scores: dict[str, Any] = {"cut_off": sum(one.cut for one in told)}
        targets = [wanted(task, self._reference(one.example), one.example) for one in told]
        predictions = [postprocess(task, one.text, one.example, False) for one in told]
        scores |= run_metrics(task, targets, predictions) | _hashed(told, targets)
        likelihoods = [one.log_likelihood for one in told if one.log_likelihood is not None]
        for function in task.score_metric_fns if likelihoods else ():
            scores |= function(targets=targets, scores=likelihoods)
        kinds = [one_pass.text_of(one.example.get("kind", "")) for one in told]
        for kind in sorted({*kinds} - {""}):
            own = [index for index, found in enumerate(kinds) if found == kind]
            found = run_metrics(task, [targets[index] for index in own], [predictions[index] for index in own])
            scores |= {f"{kind}/{name}": value for name, value in found.items()}
        chosen = metrics.some(len(told))
        scores["samples"] = [
            {
                "id": one_pass.text_of(told[i].example["id"]),
                "target": str(targets[i]),
                "prediction": str(predictions[i]),
            }
            for i in chosen
        ]
        aligned = {
            index: postprocess(task, one.ctc_text, one.example, False)
            for index, one in enumerate(told)
            if one.ctc_text is not None
        }
        if aligned:
            ctc_scores = run_metrics(task, [targets[index] for index in aligned], list(aligned.values()))
            scores |= {f"ctc/{name}": value for name, value in ctc_scores.items()}
            for sample, i in zip(scores["samples"], chosen, strict=True):
                sample["ctc_prediction"] = str(aligned.get(i, ""))
        return scores

    def _reference(self, example: Mapping[str, Any]) -> str:
        if "targets_pretokenized" in example:
            return one_pass.text_of(example["targets_pretokenized"])
        return self._vocabulary.decode(example["targets"].tolist())


def _without_recordings(one: kept_batches.Told) -> kept_batches.Told:
    """What the model says of an example that is not looked into: recordings of a large split are many gigabytes."""
    kept = {name: value for name, value in one.example.items() if name not in ("audio", "target_audio")}
    return one._replace(example=kept)


def _hashed(found: Sequence[kept_batches.Told] | Sequence[speaking.Spoken], targets: Sequence[Any]) -> dict[str, str]:
    told = hashlib.sha256()
    for one, target in zip(found, targets, strict=True):
        told.update(one_pass.text_of(one.example["id"]).encode())
        told.update(target.tobytes() if isinstance(target, np.ndarray) else repr(target).encode())
    return {metrics.EXAMPLES: told.hexdigest()[:16]}


def _judged(packed: batches.Packed, measured: eval_step.Measured) -> Iterator[kept_batches.Told]:
    """What the model holds claims for."""
    assert measured.hits is not None
    examples = [example for members in packed.rows for example in members]
    columns = (_of_examples(values, packed) for values in measured[:3])
    for example, total, weight, hit in zip(examples, *columns, strict=True):
        if not weight:
            continue
        holds_true = (example["claim"][0] > 0) == (hit > 0)
        text = label_metrics.MATCH if holds_true else label_metrics.MISMATCH
        yield kept_batches.Told(example, text, -total / weight)


class _Sums:
    """What a head tells of the examples of a split."""

    def __init__(self):
        # Of each example; no hits of a head that does not count them.
        self._totals: list[float] = []
        self._weights: list[float] = []
        self._hits: list[float] = []
        self._codes_QZ: np.ndarray | None = None

    def add(self, head: eval_step.Measured, packed: batches.Packed) -> None:
        """One more batch."""
        self._totals += _of_examples(head.totals, packed)
        self._weights += _of_examples(head.weights, packed)
        if head.hits is not None:
            self._hits += _of_examples(head.hits, packed)
        if head.codes is not None:
            self._codes_QZ = np.asarray(head.codes) + (0.0 if self._codes_QZ is None else self._codes_QZ)

    def scores(self, name: str) -> dict[str, float]:
        """What there is to say under a head's name; nothing where no example weighs."""
        weight = sum(self._weights)
        if not weight:
            return {}
        loss = sum(self._totals) / weight
        found = {f"loss/{name}": loss}
        if name in _OF_TOKENS:
            found[f"perplexity/{name}"] = math.exp(min(loss, 700.0))
        if self._hits:
            low, high = metrics.interval(self._hits, self._weights)
            found |= {f"hits/{name}": sum(self._hits) / weight, f"hits/{name}_low": low, f"hits/{name}_high": high}
        if self._codes_QZ is not None and self._codes_QZ.sum():
            found["code_perplexity"] = metrics.least_perplexity(self._codes_QZ)
            found["commonest_code_share"] = float((self._codes_QZ.max(-1) / self._codes_QZ.sum(-1)).mean())
        return found


_OF_TOKENS = ("targets", "masked_tokens")
"""Heads whose loss is one of tokens of the vocabulary, so that its exponential is a perplexity."""


def _of_examples(values: Any, packed: batches.Packed) -> list[float]:
    """The value "B E" of each example of a packed batch, in the order in which they are decoded."""
    return [float(values[index, line]) for index, members in enumerate(packed.rows) for line in range(len(members))]


def weight_of(example: Mapping[str, Any]) -> float:
    """How much an example counts; losses are sums of it, what is likely is not."""
    return float(example["weight"][0])


def postprocess(task: seqio.Task, text: str, example: Mapping[str, Any], is_target: bool) -> Any:
    """A text as the task's own metrics take it."""
    return task.postprocess_fn(text, example=example, is_target=is_target) if task.postprocessor else text


def wanted(task: seqio.Task, text: str, example: Mapping[str, Any]) -> Any:
    """What an example's metrics compare with: its text, or all that are as right."""
    if not len(example.get("accepted", ())):
        return postprocess(task, text, example, True)
    return [postprocess(task, one_pass.text_of(one), example, True) for one in example["accepted"]]


def check_metrics(task: seqio.Task) -> None:
    """Raises ValueError where a metric function of a task does not take what it would be given."""
    try:
        _ = task.predict_metric_fns, task.score_metric_fns
    except ValueError as error:
        raise ValueError(f"scoring task '{task.name}': {error}") from error


def run_metrics(task: seqio.Task, targets: Sequence[Any], predictions: Sequence[Any]) -> dict[str, Any]:
    """What the task's own metrics say of predictions."""
    scores: dict[str, Any] = {}
    for function in task.predict_metric_fns:
        name = getattr(function, "__name__", repr(function))
        try:
            found = function(targets=targets, predictions=predictions)
        except Exception as error:
            error.add_note(f"That was the metric {name} of the task '{task.name}'.")
            raise
        if not isinstance(found, Mapping):
            raise ValueError(
                f"scoring task '{task.name}': wanted a score by name of its metric {name}, found {found!r:.60}. Have "
                "it return {name: score}."
            )
        scores |= found
    return scores
