"""A checkpoint made ready for use: its model, weights, vocabulary and rows, from what stands beside them."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
from flax import nnx

from speechlm_jax import batch, checkpoints, low_rank, vocabulary
from speechlm_jax.data import config as data_config
from speechlm_jax.models import config as model_config
from speechlm_jax.models import speech_text


class Loaded(NamedTuple):
    """A trained model."""

    folder: str
    """Of the step."""
    step: int
    graphdef: nnx.GraphDef
    params: nnx.State
    """On one device, the moving average where there is one."""
    vocabulary: vocabulary.Vocabulary
    data: data_config.Data
    """What it was trained on; Data.vocabulary is the file that was found."""
    has_ctc: bool


def load(checkpoint: str) -> Loaded:
    """A checkpoint by a run's folder, its checkpoints folder or one step.

    Raises ValueError where there is none, or its vocabulary is neither in the run's folder nor where it was.
    """
    folder = checkpoints.find(checkpoint)
    weights = checkpoints.restore_params(folder)
    data = describe(data_config.Data, weights.meta["data"])
    beside = pathlib.Path(folder).parents[1] / vocabulary.FILE
    words = vocabulary.Vocabulary.load(beside if beside.exists() else data.vocabulary)
    checkpoints.check_vocabulary(weights.meta, words.hash, doing=f"loading {folder} with {words.path}")
    model = describe(model_config.Model, weights.meta["model"])
    graphdef, _ = nnx.split(nnx.eval_shape(lambda: speech_text.SpeechText(model, rngs=nnx.Rngs(0))))
    data = dataclasses.replace(data, vocabulary=str(words.path))
    params = jax.jit(low_rank.merge)(weights.params)
    return Loaded(str(folder), weights.step, graphdef, params, words, data, model.ctc)


_NESTED: dict[type, dict[str, type]] = {
    data_config.Data: {"row": batch.Row, "stream": data_config.Stream, "manifest": data_config.Manifest},
    data_config.Stream: {"bad_records": data_config.BadRecords},
    model_config.Model: {"spec_augment": model_config.SpecAugment},
}


def describe(kind: type, fields: Mapping[str, Any]) -> Any:
    """The frozen dataclass whose dataclasses.asdict, read back from JSON, is `fields`."""
    values = {}
    for name, value in fields.items():
        inner = _NESTED.get(kind, {}).get(name)
        values[name] = describe(inner, value) if inner is not None and value is not None else _tuples(value)
    return kind(**values)


def _tuples(value: Any) -> Any:
    """JSON has lists where descriptions have tuples."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
