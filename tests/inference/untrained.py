"""The folder of a run whose model has every head and has learned nothing: its weights are random."""

import dataclasses

import jax
import numpy as np
import rows
import tiny_text

from speechlm_jax import batch, checkpoints, vocabulary
from speechlm_jax.data import config
from speechlm_jax.models import speech_text

ROW = batch.Row(audio_seconds=2.4, inputs=48, targets=24, target_audio_seconds=0.4, segments=4)


def write(folder, noise=0.1, pieces=640, row=ROW, **changes):
    """Makes it; of another model with `changes`. noise: by how much the weights stray from where they begin. pieces:
    those of the vocabulary."""
    words = vocabulary.train(tiny_text.corpus(), folder / vocabulary.FILE, pieces, languages=["de", "en", "zh"])
    choice = dataclasses.replace(
        rows.MODEL,
        **{
            "vocabulary_size": words.padded_size,
            "encoder_layers": 1,
            "decoder_layers": 1,
            **rows.EVERY_HEAD,
            **changes,
        },
    )
    start = jax.jit(lambda: rows.nnx.state(speech_text.SpeechText(choice, rngs=rows.nnx.Rngs(0))))()
    # Scales and biases stand where they begin, and what it writes follows from what it hears.
    random = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: leaf + noise * random.normal(size=leaf.shape).astype(np.float32), start)
    meta = {
        "vocabulary": words.hash,
        "model": dataclasses.asdict(choice),
        "data": dataclasses.asdict(config.Data(row=row, vocabulary=str(words.path))),
    }
    kept = checkpoints.Folder(folder)
    kept.save(1, {"params": params}, stream={}, meta=meta)
    kept.close()
