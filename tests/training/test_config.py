"""A number that cannot be meant is refused when the recipe is read, by its name."""

import types

import pytest

from speechlm_jax import batch, limits
from speechlm_jax.data import config as data_config
from speechlm_jax.models import config as models
from speechlm_jax.training import config

WRONG = [
    (config.Recipe, "steps", -1),
    (config.Recipe, "log_every", 0),
    (config.Recipe, "gradient_norms_every", 30),
    (config.Recipe, "task_slots", 0),
    (config.Recipe, "max_skipped_steps", 0),
    (config.Recipe, "run_dir", "gs://bucket/run"),
    (config.Checkpoints, "every", 0),
    (config.Checkpoints, "keep", 0),
    (config.Evaluation, "every", 0),
    (config.Evaluation, "max_examples", 0),
    (config.Evaluation, "decode_steps", -1),
    (config.Optimizer, "ema_decay", 3.0),
    (config.Optimizer, "ema_decay", float("nan")),
    (config.Optimizer, "b2", 1.0),
    (config.Optimizer, "accumulate", 0),
    (config.Optimizer, "clip_norm", -1.0),
    (config.Schedule, "warmup_steps", -1),
    (config.Lora, "rank", 0),
    (models.Model, "dropout", 3.0),
    (models.Model, "dropout", 1.0),
    (models.SpeechOut, "dropout", -0.1),
    (config.Finetune, "checkpoint", ""),
    (data_config.Data, "rows", 0),
    (data_config.Stream, "data_shards", 0),
    (data_config.Stream, "open_rows", 0),
    (data_config.Stream, "read_threads", 0),
    (data_config.Stream, "prefetch", 0),
    (data_config.BadRecords, "grace", -1),
    (data_config.Manifest, "limit", 0),
]


@pytest.mark.parametrize(("kind", "field", "value"), WRONG)
def test_a_number_that_cannot_be_meant_is_refused_by_name(kind, field, value):
    with pytest.raises(ValueError, match=rf"{kind.__name__}\.{field}"):
        kind(**{field: value})


def test_what_is_no_number_is_told_as_such():
    with pytest.raises(ValueError, match="wanted a number for SimpleNamespace.steps, found 'many'"):
        limits.at_least(types.SimpleNamespace(steps="many"), 1, "steps")


def test_a_row_has_room_for_an_example():
    with pytest.raises(ValueError, match=r"Row\.segments = 0"):
        batch.Row(inputs=8, segments=0)


def test_what_is_off_is_not_out_of_range():
    config.Optimizer(ema_decay=None, clip_norm=None)
    config.Evaluation(decode_steps=None)
