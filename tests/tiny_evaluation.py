"""An evaluation small enough for a test; also a program, of which several processes evaluate together.

python tests/tiny_evaluation.py VOCABULARY prints the scores as JSON.
"""

import dataclasses
import json
import os
import pathlib
import sys
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import rows
import seqio
from flax import nnx

from speechlm_jax import batch, layout, metrics, runtime, sharding, vocabulary
from speechlm_jax.data import (
    batches,
    config,
    features,
    measures,
    objectives,
    one_pass,
    paired_objectives,
    quarantine,
    sources,
)
from speechlm_jax.inference import evaluation, kept_batches
from speechlm_jax.inference import matching as matchers
from speechlm_jax.inference import shown as shown_room
from speechlm_jax.losses import heads
from speechlm_jax.models import speech_text

ROW = batch.Row(audio_seconds=2.4, inputs=8, targets=24, segments=4)
ROWS, RECORDS = 4, 14


def log_likelihood(targets: list[str], scores: list[float]) -> dict[str, float]:
    """The mean of what the model thinks of its targets."""
    return {"log_likelihood": sum(scores) / len(targets)}


def task(*, claims: bool = False, weights: tuple[float, ...] = (1.0,)) -> seqio.Task:
    """Noise and made-up transcripts, more than a batch of them, which take turns with weights; or claims of what the
    noise says."""
    random = np.random.default_rng(0)
    lengths = random.integers(4000, 16_000, RECORDS)
    items = [
        {
            "id": f"clip{number}",
            "audio": random.normal(0, 3000, length).astype(np.int16),
            "text": "the small house",
            "other_text": ["you and me"],
            "weight": np.array([weights[number % len(weights)]], np.float32),
        }
        for number, length in enumerate(lengths)
    ]
    name = f"tiny_evaluation_of_{'claims' if claims else 'transcripts'}_{'_'.join(map(str, weights)).replace('.', '_')}"
    if name not in seqio.TaskRegistry.names():
        seqio.TaskRegistry.add(
            name,
            source=sources.SequenceSource({"test": items}),
            preprocessors=paired_objectives.matching() if claims else objectives.recognition("text", "en"),
            output_features=features.OUTPUT_FEATURES,
            metric_fns=measures.matching() if claims else [metrics.wer, log_likelihood],
        )
    return seqio.TaskRegistry.get(name)


def model(words: vocabulary.Vocabulary, *, matching: bool) -> tuple[nnx.GraphDef, Any, Any]:
    """The graph, parameters that have learned nothing, and the mesh of the first four devices there are.

    matching: whether the model has that head.
    """
    choice = dataclasses.replace(
        rows.MODEL,
        vocabulary_size=words.padded_size,
        encoder_layers=1,
        decoder_layers=1,
        spec_augment=None,
        matching=matching,
    )
    mesh = sharding.make_mesh(layout.Layout(data=2, fsdp=2), jax.devices()[:4])

    def first() -> nnx.State:
        return jax.tree.map(lambda leaf: 3 * leaf, nnx.state(speech_text.SpeechText(choice, rngs=nnx.Rngs(0))))

    graphdef, _ = nnx.split(nnx.eval_shape(lambda: speech_text.SpeechText(choice, rngs=nnx.Rngs(0))))
    places = sharding.param_shardings(mesh, jax.eval_shape(first))
    return graphdef, jax.jit(first, out_shardings=places)(), mesh


def scores(
    words: vocabulary.Vocabulary,
    decode_steps: int | None = None,
    *,
    claims: bool = False,
    matching: bool = True,
    ctc: bool = True,
    weights: tuple[float, ...] = (1.0,),
    row: batch.Row = ROW,
    between: Callable[[], None] = lambda: None,
    kept: kept_batches.Kept | None = None,
    shown: int = 0,
) -> dict:
    """Scores in all processes; see `task`, `model` and Evaluator.score. ctc: whether the run has that loss head. shown:
    of Evaluator. No record may be bad."""
    features.bind(words.path)
    graphdef, params, mesh = model(words, matching=matching)
    evaluator = evaluation.Evaluator(
        graphdef,
        vocabulary=words,
        data=config.Data(
            row=row,
            rows=ROWS,
            vocabulary=words.path,
            stream=config.Stream(bad_records=config.BadRecords(grace=0, max_share=0.0)),
        ),
        mesh=mesh,
        heads=heads.load(["targets", "masked_tokens", *(["ctc"] if ctc else []), *(["matching"] if matching else [])]),
        decode_steps=decode_steps,
        shown=shown,
    )
    return evaluator.score(params, task(claims=claims, weights=weights), "test", between=between, kept=kept)


def shares(words: vocabulary.Vocabulary) -> list[tuple[Any, float]]:
    """The examples of the task of claims, and how likely the model holds each."""
    features.bind(words.path)
    graphdef, params, mesh = model(words, matching=True)
    matcher, bad = matchers.Matcher(graphdef, mesh=mesh), quarantine.Quarantine(config.BadRecords())
    examples = one_pass.examples(task(claims=True), "test", quarantine=bad)
    return [told for packed in batches.pack(examples, ROW, rows=ROWS) for told in matcher(params, packed)]


def looks(found: list[shown_room.Shown]) -> list[Any]:
    """Examples that were looked into, as JSON: which, with what words, and where in its text each step looks most."""
    return [[one.id, one.why, one.words, one.look.shares.argmax(-1).tolist()] for one in found if one.look is not None]


if __name__ == "__main__":
    runtime.initialize()
    assert jax.process_count() == int(os.environ["SPEECHLM_PROCESSES"]) and jax.device_count() == 4
    found = scores(vocabulary.Vocabulary.load(pathlib.Path(sys.argv[1])), shown=2)
    print(json.dumps({**found, "shown": looks(found["shown"])}))
