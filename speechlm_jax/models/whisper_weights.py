"""Whisper as transformers has it and as ours: how its description and its weights answer to those of a model here."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from speechlm_jax.models import config

Arrays = dict[str, np.ndarray]
"""Weights by path, float32; those of a stack have a first axis "layers"."""

_PREFIX = "model."
_TIED = "proj_out.weight"
"""The embedding once more, where a file has it."""


class _Turn(NamedTuple):
    """How a weight of ours lies as one of theirs, and back; `shape` is that of ours."""

    out: Callable[[np.ndarray], np.ndarray]
    back: Callable[[np.ndarray, tuple[int, ...]], np.ndarray]


_SAME = _Turn(lambda x: x, lambda x, shape: x)
_LINEAR = _Turn(lambda x: x.T, lambda x, shape: x.T)
_CONVOLUTION = _Turn(lambda x: x.transpose(2, 1, 0), lambda x, shape: x.transpose(2, 1, 0))
_INTO_HEADS = _Turn(lambda x: x.reshape(len(x), -1).T, lambda x, shape: x.T.reshape(shape))
_OUT_OF_HEADS = _Turn(lambda x: x.reshape(-1, x.shape[-1]).T, lambda x, shape: x.T.reshape(shape))
_BIAS_OF_HEADS = _Turn(lambda x: x.reshape(-1), lambda x, shape: x.reshape(shape))

_NORM = (("scale_D", "weight", _SAME), ("bias_D", "bias", _SAME))
_ATTENTION = (
    ("query_DHK", "q_proj.weight", _INTO_HEADS),
    ("query_bias_HK", "q_proj.bias", _BIAS_OF_HEADS),
    ("key_DHK", "k_proj.weight", _INTO_HEADS),
    ("value_DHK", "v_proj.weight", _INTO_HEADS),
    ("value_bias_HK", "v_proj.bias", _BIAS_OF_HEADS),
    ("out_HKD", "out_proj.weight", _OUT_OF_HEADS),
    ("out_bias_D", "out_proj.bias", _SAME),
)
_FEED_FORWARD = (
    ("into_DF", "fc1.weight", _LINEAR),
    ("into_bias_F", "fc1.bias", _SAME),
    ("out_FD", "fc2.weight", _LINEAR),
    ("out_bias_D", "fc2.bias", _SAME),
)
_BLOCK = (
    ("attention_norm", "self_attn_layer_norm", _NORM),
    ("attention", "self_attn", _ATTENTION),
    ("cross_norm", "encoder_attn_layer_norm", _NORM),
    ("cross_attention", "encoder_attn", _ATTENTION),
    ("norm", "final_layer_norm", _NORM),
    ("feed_forward", "", _FEED_FORWARD),
)
_EMBEDDING, _HEARD = "text/table_VD", "encoder/places/table_SD"
"""Tokens, and the places of speech: what does not come and go as it is."""
_OUTSIDE = (
    ("speech/near/kernel_3IC", "encoder.conv1.weight", _CONVOLUTION),
    ("speech/near/bias_C", "encoder.conv1.bias", _SAME),
    ("speech/half/kernel_3IC", "encoder.conv2.weight", _CONVOLUTION),
    ("speech/half/bias_C", "encoder.conv2.bias", _SAME),
    (_HEARD, "encoder.embed_positions.weight", _SAME),
    ("encoder/norm/scale_D", "encoder.layer_norm.weight", _SAME),
    ("encoder/norm/bias_D", "encoder.layer_norm.bias", _SAME),
    (_EMBEDDING, "decoder.embed_tokens.weight", _SAME),
    ("decoder/places/table_SD", "decoder.embed_positions.weight", _SAME),
    ("decoder/norm/scale_D", "decoder.layer_norm.weight", _SAME),
    ("decoder/norm/bias_D", "decoder.layer_norm.bias", _SAME),
)


class _Line(NamedTuple):
    """A weight of ours, or one layer of it, and theirs."""

    path: str
    layer: int | None
    name: str
    turn: _Turn


def _lines(model: config.Model) -> Iterator[_Line]:
    for path, name, turn in _OUTSIDE:
        yield _Line(path, None, _PREFIX + name, turn)
    for side, layers in (("encoder", model.encoder_layers), ("decoder", model.decoder_layers)):
        for part, theirs, weights in _BLOCK:
            if side == "encoder" and part.startswith("cross"):
                continue
            for path, name, turn in weights:
                for layer in range(layers):
                    whole = ".".join(filter(None, (side, "layers", str(layer), theirs, name)))
                    yield _Line(f"{side}/stack/{part}/{path}", layer, _PREFIX + whole, turn)


def described(told: Mapping[str, Any], where: str) -> config.Model:
    """The model that a config.json describes. Raises ValueError for one that ours cannot be."""
    kind = told.get("model_type")
    if kind != "whisper":
        raise ValueError(f"reading {where}: wanted a Whisper (model_type 'whisper'), found {kind!r}.")
    lacking = [name for name in _NUMBERS if not isinstance(told.get(name), int) or not 0 < told[name] <= _MOST]
    if lacking:
        raise ValueError(f"reading {where}: wanted a whole number, 1 to {_MOST:,}, for each of {', '.join(lacking)}.")
    if told["encoder_layers"] + told["decoder_layers"] > _MOST_LAYERS:
        raise ValueError(f"reading {where}: wanted {_MOST_LAYERS} layers at most.")
    for one, other in (
        ("encoder_attention_heads", "decoder_attention_heads"),
        ("encoder_ffn_dim", "decoder_ffn_dim"),
    ):
        if told[one] != told[other]:
            raise ValueError(
                f"reading {where}: wanted {one} and {other} to be the same, found {told[one]}, {told[other]}."
            )
    for name, wanted in (("activation_function", "gelu"), ("scale_embedding", False)):
        if told.get(name, wanted) != wanted:
            raise ValueError(f"reading {where}: wanted {name} = {wanted!r}, found {told[name]!r}.")
    return config.Model(
        parts="whisper",
        vocabulary_size=told["vocab_size"],
        width=told["d_model"],
        num_heads=told["encoder_attention_heads"],
        mlp_width=told["encoder_ffn_dim"],
        encoder_layers=told["encoder_layers"],
        decoder_layers=told["decoder_layers"],
        audio_places=told["max_source_positions"],
        text_places=told["max_target_positions"],
        mels=told["num_mel_bins"],
        encoder_block="transformer",
        subsampling=2,
        ctc=False,
        sinusoids=False,
        dropout=0.0,
    )


_NUMBERS = (
    *("vocab_size", "d_model", "encoder_layers", "decoder_layers", "num_mel_bins"),
    *("encoder_attention_heads", "decoder_attention_heads", "encoder_ffn_dim", "decoder_ffn_dim"),
    *("max_source_positions", "max_target_positions"),
)


_MOST, _MOST_LAYERS = 10**6, 1_000
"""A file of somebody's may say anything."""


def description(model: config.Model) -> dict[str, Any]:
    """What config.json says of a model of ours. Raises ValueError for one that is no Whisper."""
    if not model.is_whisper:
        raise ValueError(
            "writing Whisper's format: it holds a model of Whisper's layers alone, found Model.parts = "
            f"{model.parts!r}. Train one with Model.parts = 'whisper', or export to another format."
        )
    if model.decoder_kernel:
        raise ValueError(
            "writing Whisper's format: its decoder has no convolutions, found Model.decoder_kernel = "
            f"{model.decoder_kernel}. Export to another format."
        )
    return {
        "architectures": ["WhisperForConditionalGeneration"],
        "model_type": "whisper",
        "activation_function": "gelu",
        "scale_embedding": False,
        "tie_word_embeddings": True,
        "vocab_size": model.vocabulary_size,
        "d_model": model.width,
        "encoder_layers": model.encoder_layers,
        "decoder_layers": model.decoder_layers,
        "num_hidden_layers": model.encoder_layers,
        "encoder_attention_heads": model.num_heads,
        "decoder_attention_heads": model.num_heads,
        "encoder_ffn_dim": model.mlp_width,
        "decoder_ffn_dim": model.mlp_width,
        "num_mel_bins": model.mels,
        "max_source_positions": model.audio_places,
        "max_target_positions": model.text_places,
        "is_encoder_decoder": True,
    }


def to_theirs(
    params: Mapping[str, np.ndarray], model: config.Model, tokens: np.ndarray
) -> Iterator[tuple[str, np.ndarray]]:
    """Their weights by name, from ours by path. tokens: of each of their rows of the embedding, ours.

    What an encoder of ours adds to speech as against text goes into its table of positions, for theirs hears alone.
    """
    for line in _lines(model):
        whole = params[line.path]
        if line.path == _EMBEDDING:
            whole = whole[tokens]
        if line.path == _HEARD and np.any(params["encoder/audio_D"]):
            whole = whole + params["encoder/audio_D"]
        yield line.name, np.ascontiguousarray(line.turn.out(whole if line.layer is None else whole[line.layer]))


def to_ours(
    theirs: Mapping[str, np.ndarray], model: config.Model, shapes: Mapping[str, tuple[int, ...]], tokens: np.ndarray
) -> Arrays:
    """Our weights by path, from theirs by name; `shapes` are those of ours, `tokens` as of `to_theirs`. Tokens that
    they lack have zeros. Raises ValueError where one is missing, has another shape, or is none of Whisper's."""
    found: Arrays = {}
    stacks: dict[str, list[np.ndarray]] = {}
    lines = list(_lines(model))
    missing = [line.name for line in lines if line.name not in theirs]
    strange = sorted({*theirs} - {line.name for line in lines} - {_TIED})
    for names, trouble in ((missing, "lacks"), (strange, "has, beside those of a Whisper,")):
        if names:
            raise ValueError(f"reading weights of a Whisper: the file {trouble} {', '.join(names[:3])}{_more(names)}.")
    if _TIED in theirs and not np.array_equal(theirs[_TIED], theirs[_PREFIX + "decoder.embed_tokens.weight"]):
        raise ValueError(f"reading weights of a Whisper: its {_TIED} is not its embedding, as it is in a Whisper.")
    for line in lines:
        shape = shapes[line.path] if line.layer is None else shapes[line.path][1:]
        given = theirs[line.name].astype(np.float32)
        if line.path == _EMBEDDING and len(given) == len(tokens) and len(given) <= shape[0]:
            placed = np.zeros((shape[0], given.shape[1]), np.float32)
            placed[tokens] = given
            given = placed
        if given.shape != line.turn.out(np.empty(shape, np.int8)).shape:
            raise ValueError(f"reading weights of a Whisper: {line.name} is {given.shape}, and {line.path} of {shape}.")
        turned = line.turn.back(given, shape)
        if line.layer is None:
            found[line.path] = turned
        else:
            stacks.setdefault(line.path, []).append(turned)
    return {**found, **{path: np.stack(layers) for path, layers in stacks.items()}}


def _more(names: list[str]) -> str:
    return f" and {len(names) - 3} more" if len(names) > 3 else ""


def held(model: config.Model) -> set[str]:
    """The paths of our weights that theirs hold."""
    return {line.path for line in _lines(model)} | {"encoder/audio_D"}
