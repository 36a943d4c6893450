"""Whisper as Hugging Face keeps it, both ways: a folder with config.json and model.safetensors, and weights of ours."""

import dataclasses
import pathlib
import re
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from speechlm_jax import batch, parameters, vocabulary, weight_files, whisper_vocabulary, whole_files
from speechlm_jax.data import config as config_of_data
from speechlm_jax.inference import loading
from speechlm_jax.models import config, speech_text, whisper_weights

CONFIG, GIN = "config.json", "model.gin"
LIBRARY = "transformers"
"""What reads it, as model cards name it."""
_SMALL = re.compile(
    r"(config|generation_config|preprocessor_config|processor_config|tokenizer|tokenizer_config|"
    r"special_tokens_map|added_tokens|normalizer)\.json"
)
"""What goes with the vocabulary of a model that is imported, and comes back with its export."""


def read(folder: pathlib.Path) -> tuple[config.Model, whisper_weights.Arrays]:
    """The model that a folder describes, and its weights by their names. Raises ValueError where there are none."""
    told = weight_files.read_json(folder / CONFIG)
    model = whisper_weights.described(told, str(folder / CONFIG))
    return model, weight_files.read(folder, "reading weights of a Whisper")


def write(
    loaded: loading.Loaded, folder: pathlib.Path, *, dtype: str = "float32", shard_bytes: int = 5 * 10**9
) -> None:
    """Writes config.json and the weights, in as many files as it takes, and beside them the files of tokens and
    settings that came with a model that was imported. Raises ValueError for a model that is no Whisper."""
    files = loaded.vocabulary.files if isinstance(loaded.vocabulary, whisper_vocabulary.WhisperVocabulary) else {}
    told = {**files.get(CONFIG, {}), **whisper_weights.description(loaded.model)}
    told |= {"vocab_size": len(tokens_of(loaded)), "dtype": dtype}
    told.pop("torch_dtype", None)  # What `dtype` was called before.
    if not files:
        end, first = vocabulary.EOS, vocabulary.BOS
        told |= {"bos_token_id": first, "decoder_start_token_id": first, "eos_token_id": end, "pad_token_id": end}
    arrays = {name: array.astype(dtype) for name, array in _theirs(loaded)}
    weight_files.write(folder, arrays, shard_bytes=shard_bytes)
    for name, content in {**files, CONFIG: told}.items():
        whole_files.write_json(folder / name, content)


def check(loaded: loading.Loaded, folder: pathlib.Path, *, dtype: str = "float32") -> None:
    """Raises ValueError where what stands in a folder is not what `write` was to write there."""
    model, theirs = read(folder)
    wanted = ((name, array.astype(dtype)) for name, array in _theirs(loaded))
    weight_files.check_same(theirs, wanted, f"reading {folder} back", weight_files.WRITTEN)
    told = whisper_weights.description(loaded.model) | {"vocab_size": len(tokens_of(loaded))}
    if model != whisper_weights.described(told, "what was written"):
        raise ValueError(f"reading {folder} back: {CONFIG} describes another model. Export again.")


def bring(folder: pathlib.Path, run: pathlib.Path) -> None:
    """Writes a run's folder: the weights of a Whisper, its tokens and settings as a vocabulary, and in GIN its numbers
    for recipes. What else a model of ours has starts anew. Raises ValueError for a folder that holds no Whisper."""
    model, theirs = read(folder)
    content = vocabulary_of(folder, model)
    words = whisper_vocabulary.WhisperVocabulary(content)
    model = dataclasses.replace(model, vocabulary_size=words.padded_size)
    # 20 ms a position; one more, for a slot ends with frames that belong to nobody.
    seconds = model.audio_places * 2 * batch.HOP / batch.SAMPLE_RATE
    row = batch.Row(
        audio_seconds=seconds + 2 * batch.HOP / batch.SAMPLE_RATE,
        targets=model.text_places,
        segments=1,
        subsampling=2,
        padded_seconds=seconds,
    )
    params = params_of(model, theirs, words.theirs)
    run.mkdir(parents=True, exist_ok=True)
    whole_files.write_text(run / vocabulary.FILE, content.decode())
    whole_files.write_text(run / GIN, _gin(folder, model, row, run / vocabulary.FILE))
    data = config_of_data.Data(row=row, rows=1, vocabulary=str(run / vocabulary.FILE))
    told = loading.Told(model, data, words.hash, losses=["targets"], recipe=f"# Weights of {folder}.")
    loading.write(run, 1, params, told)


_OF_MODEL = (
    *("parts", "vocabulary_size", "width", "num_heads", "mlp_width", "encoder_layers", "decoder_layers"),
    *("audio_places", "text_places", "mels", "encoder_block", "subsampling", "ctc", "sinusoids"),
)
_OF_ROW = ("audio_seconds", "padded_seconds", "targets", "segments", "subsampling")


def _gin(folder: pathlib.Path, model: config.Model, row: batch.Row, words: pathlib.Path) -> str:
    """What a recipe has to say to have a model of this size, in its rows, of its vocabulary."""
    lines = [f"models.Model.{name} = {getattr(model, name)!r}" for name in _OF_MODEL]
    lines += [f"batch.Row.{name} = {getattr(row, name)!r}" for name in _OF_ROW]
    return f"""# The size of {folder}, and its rows: given behind a recipe, it wins.

from __gin__ import dynamic_registration

from speechlm_jax import batch
from speechlm_jax.data import config as data
from speechlm_jax.models import config as models
from speechlm_jax.training import config as training

data.Data.vocabulary = {str(words)!r}
training.Finetune.checkpoint = {str(words.parent)!r}
{chr(10).join(lines)}
"""


def vocabulary_of(folder: pathlib.Path, model: config.Model) -> bytes:
    """The vocabulary file of a Whisper's folder. Raises ValueError where its tokens are none of Whisper's."""
    files = {
        path.name: weight_files.read_json(path) for path in sorted(folder.iterdir()) if _SMALL.fullmatch(path.name)
    }
    return whisper_vocabulary.content(files, model.vocabulary_size)


def params_of(model: config.Model, theirs: whisper_weights.Arrays, tokens: np.ndarray) -> nnx.State:
    """The parameters of a model of ours, from their weights by name; see whisper_weights.to_ours."""

    def first() -> nnx.State:
        return nnx.state(speech_text.SpeechText(model, rngs=nnx.Rngs(0)))

    # What does not fit is told before anything is made.
    leaves = parameters.by_path(jax.eval_shape(first))
    shapes = {path: parameters.array(leaf).shape for path, leaf in leaves.items()}
    arrays = whisper_weights.to_ours(theirs, model, shapes, tokens)
    return parameters.map_named(
        lambda path, leaf: jnp.asarray(arrays.get(path, parameters.array(leaf))), jax.jit(first)()
    )


def check_against(loaded: loading.Loaded, folder: pathlib.Path) -> None:
    """Raises ValueError where a loaded checkpoint does not hold the weights of a folder, bit for bit."""
    _, theirs = read(folder)
    found = {name: np.asarray(array, np.float32) for name, array in theirs.items()}
    doing, otherwise = f"reading {loaded.folder} back", f"what {folder} holds. Import it again."
    weight_files.check_same(found, _theirs(loaded), doing, otherwise)


def tokens_of(loaded: loading.Loaded) -> np.ndarray:
    """Of each of their rows of the embedding, ours: in their order where the vocabulary is a Whisper's."""
    words = loaded.vocabulary
    return words.theirs if isinstance(words, whisper_vocabulary.WhisperVocabulary) else np.arange(words.size)


def _theirs(loaded: loading.Loaded) -> Iterator[tuple[str, np.ndarray]]:
    """A checkpoint's weights by their names."""
    return whisper_weights.to_theirs(parameters.arrays(loaded.params), loaded.model, tokens_of(loaded))


def left_out(loaded: loading.Loaded) -> list[str]:
    """The parts of a model that the format has no room for. Raises ValueError for a model that is no Whisper."""
    whisper_weights.description(loaded.model)
    held = whisper_weights.held(loaded.model)
    lost = [path for path in parameters.by_path(loaded.params) if path not in held]
    return sorted({path if path.startswith("encoder/") else path.split("/")[0] for path in lost})
