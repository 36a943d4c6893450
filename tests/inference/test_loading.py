"""What a checkpoint says of itself, read by another version of the code."""

import dataclasses

import jax
import pytest
import rows

from speechlm_jax import batch
from speechlm_jax.data import config as data_config
from speechlm_jax.inference import loading
from speechlm_jax.losses import heads
from speechlm_jax.models import config

FIRST_MODEL = {
    "vocabulary_size": 1024,
    "width": 128,
    "num_heads": 4,
    "mlp_width": 256,
    "encoder_layers": 3,
    "decoder_layers": 1,
    "encoder_block": "conformer",
    "conv_kernel": 11,
    "mels": 80,
    "subsampling": 4,
    "stem_channels": 96,
    "ctc": True,
    "dropout": 0.05,
    "spec_augment": {"time_masks": 2, "max_time_share": 0.05, "mel_masks": 2, "max_mels": 8},
    "remat": "none",
    "dtype": "float32",
}
"""What the first checkpoints say of their model."""


def as_json(value):
    """Descriptions come back from JSON with lists where they had tuples."""
    if isinstance(value, dict):
        return {name: as_json(inner) for name, inner in value.items()}
    return [as_json(inner) for inner in value] if isinstance(value, tuple) else value


@pytest.mark.parametrize(
    "choice",
    [
        dataclasses.replace(rows.MODEL, **rows.EVERY_HEAD, spec_augment=None),
        data_config.Data(
            row=batch.Row(audio_seconds=3.0, targets=8),
            manifest=data_config.Manifest(path="m.jsonl", held_out=(("speaker", "theo"),)),
            augmentation=data_config.Augmentation(speed=(0.9, 1.1)),
        ),
    ],
    ids=["model", "data"],
)
def test_a_description_comes_back_as_it_was_written(choice):
    told = as_json(dataclasses.asdict(choice))
    assert loading.describe(type(choice), told, doing="loading") == choice


def test_the_first_checkpoints_mean_what_they_meant():
    """A field that a model has gained since then stands in loading.FORMER with what its absence meant."""
    model = loading.describe(config.Model, FIRST_MODEL, doing="loading")
    assert not model.sinusoids and not model.matching and model.masked_speech is None and model.speech_out is None
    assert model.spec_augment == config.SpecAugment(2, 0.05, 2, 8)


@pytest.mark.parametrize(
    ("kind", "told", "message"),
    [
        (config.Model, {**FIRST_MODEL, "widht": 3, "depth": 4}, r"names, and .*: Model\.depth, Model\.widht\. Use"),
        (config.Model, {**FIRST_MODEL, "spec_augment": {"masks": 2}}, r"SpecAugment\.masks"),
        (config.Model, {k: v for k, v in FIRST_MODEL.items() if k != "width"}, r"does not name: Model\.width\. Use"),
        (data_config.Data, {"rows": 4, "stream": {"mix": "x"}}, r"Stream\.mix"),
    ],
)
def test_fields_that_the_code_does_not_share_are_named_beside_the_versions(kind, told, message):
    with pytest.raises(ValueError, match=rf"^loading run/4, written with jax 0\.9: .*{message}"):
        loading.describe(kind, told, doing="loading run/4, written with jax 0.9")


def test_every_head_there_is_has_an_output_of_its_name():
    """Scoring asks a model for the heads whose output is there, and knows them by their names."""
    graphdef, params = rows.model(**rows.EVERY_HEAD)
    room = batch.Row(audio_seconds=1.0, inputs=8, targets=8, target_audio_seconds=1.0)
    outputs = jax.eval_shape(rows.nnx.merge(graphdef, params), batch.empty(room, 1))
    assert {name for name in heads.names() if getattr(outputs, name) is not None} == set(heads.names())
