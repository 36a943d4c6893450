"""A model of ours for transformers: weights, and files of PyTorch code that need nothing of this project; both ways."""

import dataclasses
import pathlib
import re
import shutil
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from speechlm_jax import parameters, vocabularies, vocabulary, weight_files, whole_files
from speechlm_jax.data import config as config_of_data
from speechlm_jax.inference import loading
from speechlm_jax.losses import heads as loss_heads
from speechlm_jax.models import config, speech_text

LIBRARY = "transformers"
"""What reads it, as model cards name it."""
CODE = pathlib.Path(__file__).with_name("pytorch")
FILES = ("modeling_speechlm.py", "processing_speechlm.py")
CONFIG = "config.json"
_KIND = "speechlm_jax"
_STACK = re.compile(r"(encoder|decoder)/stack/")


def write(
    loaded: loading.Loaded, folder: pathlib.Path, *, dtype: str = "float32", shard_bytes: int = 5 * 10**9
) -> None:
    """Writes the folder. Raises ValueError for a model that the code does not describe."""
    arrays = {name: array.astype(dtype) for name, array in named(loaded)}
    weight_files.write(folder, arrays, shard_bytes=shard_bytes)
    for name in FILES:
        shutil.copyfile(CODE / name, folder / name)
    shutil.copyfile(loaded.vocabulary.path, folder / vocabulary.FILE)
    whole_files.write_json(folder / CONFIG, _description(loaded, dtype))
    whole_files.write_json(folder / "processor_config.json", {"auto_map": {"AutoProcessor": _PROCESSOR}})
    whole_files.write_json(folder / "generation_config.json", _of_generation(loaded))


_PROCESSOR = "processing_speechlm.SpeechLMProcessor"
_MODEL = "modeling_speechlm.SpeechLM"


def _description(loaded: loading.Loaded, dtype: str) -> dict[str, Any]:
    data = dataclasses.asdict(dataclasses.replace(loaded.data, vocabulary=vocabulary.FILE))
    return {
        "model_type": _KIND,
        "architectures": ["SpeechLM"],
        "auto_map": {
            "AutoConfig": "modeling_speechlm.SpeechLMConfig",
            "AutoModel": _MODEL,
            "AutoModelForSeq2SeqLM": _MODEL,
            "AutoModelForSpeechSeq2Seq": _MODEL,
        },
        "dtype": dtype,
        "vocab_size": loaded.model.vocabulary_size,
        "pad_token_id": vocabulary.PAD,
        "bos_token_id": vocabulary.BOS,
        "eos_token_id": vocabulary.EOS,
        "decoder_start_token_id": vocabulary.BOS,
        "model": dataclasses.asdict(loaded.model),
        "trained": {"step": loaded.step, "data": data, "losses": sorted(loaded.heads), "recipe": loaded.recipe},
    }


def _of_generation(loaded: loading.Loaded) -> dict[str, Any]:
    words = loaded.vocabulary
    told = {
        "pad_token_id": vocabulary.PAD,
        "bos_token_id": vocabulary.BOS,
        "eos_token_id": vocabulary.EOS,
        "decoder_start_token_id": vocabulary.BOS,
        "max_new_tokens": loaded.data.row.targets or 128,
    }
    # What lies behind the pieces has no text.
    forbidden = [*words.forbidden, *range(words.size, loaded.model.vocabulary_size)]
    return told | ({"suppress_tokens": forbidden} if words.forbidden else {})


def check(loaded: loading.Loaded, folder: pathlib.Path, *, dtype: str = "float32") -> None:
    """Raises ValueError where what stands in a folder is not what `write` was to write there."""
    doing = f"reading {folder} back"
    wanted = ((name, array.astype(dtype)) for name, array in named(loaded))
    weight_files.check_same(weight_files.read(folder, doing), wanted, doing, weight_files.WRITTEN)
    if weight_files.read_json(folder / CONFIG)["model"] != _description(loaded, dtype)["model"]:
        raise ValueError(f"{doing}: {CONFIG} describes another model. Export again.")


def bring(folder: pathlib.Path, run: pathlib.Path) -> None:
    """Writes a run's folder with the weights and the vocabulary of what `write` has written. Raises ValueError for any
    other folder."""
    doing = f"importing {folder}"
    told = weight_files.read_json(folder / CONFIG)
    trained = told.get("trained")
    if told.get("model_type") != _KIND or not isinstance(told.get("model"), dict) or not isinstance(trained, dict):
        raise ValueError(
            f"{doing}: wanted a folder of speechlm export --exporter=transformers, found model_type = "
            f"{told.get('model_type')!r}. Name its own --exporter."
        )
    model = loading.describe(config.Model, told["model"], doing=doing)
    data = loading.describe(config_of_data.Data, trained.get("data", {}), doing=doing)
    words = vocabularies.load(folder / vocabulary.FILE)
    theirs = weight_files.read(folder, doing)
    run.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(folder / vocabulary.FILE, run / vocabulary.FILE)
    data = dataclasses.replace(data, vocabulary=str(run / vocabulary.FILE))
    losses, recipe = trained.get("losses", loss_heads.names()), str(trained.get("recipe", ""))
    params = _ours(theirs, model, doing)
    loading.write(run, int(trained.get("step", 1)), params, loading.Told(model, data, words.hash, losses, recipe))


def check_against(loaded: loading.Loaded, folder: pathlib.Path) -> None:
    """Raises ValueError where a loaded checkpoint does not hold the weights of a folder, bit for bit."""
    theirs = weight_files.read(folder, f"reading {folder}")
    found = {name: np.asarray(array, np.float32) for name, array in theirs.items()}
    doing, otherwise = f"reading {loaded.folder} back", f"what {folder} holds. Import it again."
    weight_files.check_same(found, named(loaded), doing, otherwise)


def left_out(loaded: loading.Loaded) -> list[str]:
    """Nothing: it holds all. Raises ValueError for a model that its code does not describe."""
    if loaded.model.is_whisper:
        raise ValueError(
            f"exporting {loaded.folder}: wanted a model with Model.parts = 'own', found 'whisper', for which "
            "transformers has code of its own. Use --exporter=whisper."
        )
    return []


def named(loaded: loading.Loaded) -> Iterator[tuple[str, np.ndarray]]:
    """A checkpoint's weights by the names of PyTorch's modules, each layer of a stack by itself."""
    for path, array in parameters.arrays(loaded.params).items():
        for layer in range(len(array)) if _STACK.match(path) else (None,):
            yield _name(path, layer), array if layer is None else array[layer]


def _name(path: str, layer: int | None) -> str:
    placed = path if layer is None else _STACK.sub(rf"\1/stack/{layer}/", path)
    return placed.replace("/", ".")


def _ours(theirs: Mapping[str, np.ndarray], model: config.Model, doing: str) -> Any:
    """Parameters of ours. Raises ValueError for what is missing, is too much, or of another shape."""
    abstract = jax.eval_shape(lambda: nnx.state(speech_text.SpeechText(model, rngs=nnx.Rngs(0))))
    shapes = {path: parameters.array(leaf).shape for path, leaf in parameters.by_path(abstract).items()}
    names = {
        path: [_name(path, layer) for layer in (range(shape[0]) if _STACK.match(path) else (None,))]
        for path, shape in shapes.items()
    }
    wanted = {name for own in names.values() for name in own}
    if wanted != theirs.keys():
        lacks, strange = sorted(wanted - theirs.keys()), sorted(theirs.keys() - wanted)
        raise ValueError(f"{doing}: the weights lack {lacks[:5]}, and there are {strange[:5]} which no such model has.")
    found = {}
    for path, shape in shapes.items():
        stacked = np.stack([np.asarray(theirs[name], np.float32) for name in names[path]])
        found[path] = stacked if _STACK.match(path) else stacked[0]
        if found[path].shape != shape:
            raise ValueError(f"{doing}: wanted {path} of shape {shape}, found {found[path].shape}.")
    return parameters.map_named(lambda path, leaf: jnp.asarray(found[path]), abstract)
