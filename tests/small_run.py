"""A small run from recordings of noise: its manifest, its recipe, and the losses that it told."""

import json
import pathlib

import numpy as np
import soundfile

WORDS = ["red", "green", "blue", "one", "two", "three", "four", "five", "six", "seven"]

RECIPE = """
from __gin__ import dynamic_registration
from speechlm_jax import batch
from speechlm_jax.data import config as data
from speechlm_jax.models import config as models
from speechlm_jax.training import config as training

include 'gin_configs/runs/run.gin'

data.Data.manifest = @data.Manifest()
data.Manifest.path = '{folder}/manifest.jsonl'
data.Manifest.objectives = (('recognition', 2.0), ('span_corruption', 1.0), ('masked_language_model', 1.0))
data.Data.task_modules = ()
data.Data.vocabulary = '{folder}/vocabulary.model'
data.Data.rows = 8
data.Stream.mixture = 'manifest'
batch.Row.audio_seconds = 3.2
batch.Row.inputs = 32
batch.Row.targets = 48
batch.Row.segments = 6
models.Model.vocabulary_size = 512
models.Model.width = 32
models.Model.num_heads = 2
models.Model.mlp_width = 64
models.Model.encoder_layers = 2
models.Model.decoder_layers = 1
models.Model.conv_kernel = 5
models.Model.stem_channels = 32
training.Recipe.run_dir = '{folder}/run'
training.Recipe.steps = 6
training.Recipe.log_every = 1
training.Schedule.warmup_steps = 2
training.Checkpoints.every = 2
training.Evaluation.every = 6
training.Evaluation.max_examples = 6
training.Evaluation.decode_steps = 8
training.Evaluation.shown = 0
"""


def write(folder: pathlib.Path) -> None:
    """Recordings, manifest.jsonl and recipe.gin; the vocabulary is left to be trained."""
    random = np.random.default_rng(0)
    lines = []
    for index in range(60):
        name = f"clip{index}.{'flac' if index % 2 else 'wav'}"
        noise = random.normal(0, 0.05, int(random.integers(8000, 20000)))
        soundfile.write(folder / name, noise, 16_000)
        text = " ".join(WORDS[(index * 3 + k) % 10] for k in range(2 + index % 3))
        split = "train" if index < 40 else "validation" if index < 50 else "test"
        lines.append({"id": f"clip{index}", "audio": name, "text": text, "lang": "en", "split": split})
    lines.append({"id": "lost", "audio": "lost.wav", "text": "never heard", "lang": "en", "split": "train"})
    (folder / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "recipe.gin").write_text(RECIPE.format(folder=folder))


def losses(run: pathlib.Path) -> dict[int, float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines if line["kind"] == "train"}
