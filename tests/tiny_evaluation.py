"""An evaluation small enough for a test; also a program, of which several processes evaluate together.

python tests/tiny_evaluation.py VOCABULARY prints the scores as JSON.
"""

import dataclasses
import json
import os
import pathlib
import sys

import jax
import numpy as np
import rows
import seqio
from flax import nnx

from speechlm_jax import batch, layout, metrics, runtime, sharding, vocabulary
from speechlm_jax.data import config, features, measures, objectives, paired_objectives, sources
from speechlm_jax.inference import evaluation
from speechlm_jax.losses import heads
from speechlm_jax.models import speech_text

ROW = batch.Row(audio_seconds=2.4, inputs=8, targets=24, segments=4)
ROWS, RECORDS = 4, 14


def task(*, claims: bool = False) -> seqio.Task:
    """Noise and made-up transcripts, more than a batch of them; or claims of what the noise says."""
    random = np.random.default_rng(0)
    lengths = random.integers(4000, 16_000, RECORDS)
    items = [
        {
            "id": f"clip{number}",
            "audio": random.normal(0, 3000, length).astype(np.int16),
            "text": "the small house",
            "other_text": ["you and me"],
        }
        for number, length in enumerate(lengths)
    ]
    name = "tiny_evaluation_of_claims" if claims else "tiny_evaluation"
    if name not in seqio.TaskRegistry.names():
        seqio.TaskRegistry.add(
            name,
            source=sources.SequenceSource({"test": items}),
            preprocessors=paired_objectives.matching() if claims else objectives.recognition("text", "en"),
            output_features=features.OUTPUT_FEATURES,
            metric_fns=measures.matching() if claims else [metrics.wer],
        )
    return seqio.TaskRegistry.get(name)


def scores(
    words: vocabulary.Vocabulary, decode_steps: int | None = None, *, claims: bool = False, matching: bool = True
) -> dict:
    """Scores of a model that has learned nothing, on the first four devices there are, in all processes.

    matching: whether it has that head.
    """
    features.bind(words.path)
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
    evaluator = evaluation.Evaluator(
        graphdef,
        vocabulary=words,
        data=config.Data(row=ROW, rows=ROWS, vocabulary=words.path),
        mesh=mesh,
        heads=heads.load(["targets", "ctc", "masked_tokens", *(["matching"] if matching else [])]),
        decode_steps=decode_steps,
    )
    return evaluator.score(jax.jit(first, out_shardings=places)(), task(claims=claims), "test")


if __name__ == "__main__":
    runtime.initialize()
    assert jax.process_count() == int(os.environ["SPEECHLM_PROCESSES"]) and jax.device_count() == 4
    print(json.dumps(scores(vocabulary.Vocabulary.load(pathlib.Path(sys.argv[1])))))
