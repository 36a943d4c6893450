"""A checkpoint made ready for use: its model, weights, vocabulary and rows, from what stands beside them."""

import dataclasses
import math
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
from flax import nnx
from jax.sharding import Mesh

from speechlm_jax import (
    checkpoint_meta,
    checkpoint_steps,
    checkpoints,
    layout,
    low_rank,
    settings,
    sharding,
    vocabularies,
    vocabulary,
)
from speechlm_jax.data import config as data_config
from speechlm_jax.inference import config as search_config
from speechlm_jax.losses import heads as loss_heads
from speechlm_jax.models import config as model_config
from speechlm_jax.models import speech_text

ROWS = 8
"""Rows of a batch where nobody asks for more: training's may be those of a whole cluster."""


class Loaded(NamedTuple):
    """A trained model."""

    folder: str
    """Of the step."""
    step: int
    graphdef: nnx.GraphDef
    params: nnx.State
    """On every device of the mesh, the moving average where there is one."""
    mesh: Mesh
    """As many of this machine's devices as share Data.rows evenly, each with its own rows."""
    vocabulary: vocabulary.Vocabulary
    data: data_config.Data
    """What it was trained on; Data.vocabulary is the file that was found, and Data.rows what is computed at once."""
    heads: dict[str, loss_heads.Head]
    """The loss heads that it was trained with."""
    model: model_config.Model
    """What the graph is made of."""
    recipe: str
    """Its text."""

    @property
    def hears(self) -> bool:
        """Whether it has a CTC head, and that was trained."""
        return self.model.ctc and "ctc" in self.heads


def load(checkpoint: str, *, rows: int | None = None, enough: int = ROWS) -> Loaded:
    """A checkpoint by a run's folder, its checkpoints folder or one step.

    Args:
        rows: of a batch; None: those of training, but at most ROWS and at most `enough`.
        enough: so many rows hold all there is to do.

    Raises:
        ValueError: there is none, it was written by another version, or its vocabulary is neither in the run's folder
            nor where it was.
    """
    folder = checkpoint_steps.find(checkpoint)
    meta = checkpoint_meta.read(folder)
    versions = ", ".join(f"{library} {version}" for library, version in meta["versions"].items())
    doing = f"loading {folder}, written with {versions}"
    data: data_config.Data = describe(data_config.Data, meta["data"], doing=doing)
    described: model_config.Model = describe(model_config.Model, meta["model"], doing=doing)
    # There is no backward pass here, what its policies are called may change, and these may be other devices.
    model = dataclasses.replace(described, remat="none", attention_kernel="auto")
    rows = min(data.rows, ROWS, enough) if rows is None else rows
    if rows < 1:
        raise ValueError(f"loading {folder}: a batch has a row or more, found --rows={rows}.")
    devices = jax.local_devices()[: math.gcd(rows, jax.local_device_count())]
    mesh = sharding.make_mesh(layout.Layout(), devices)
    beside = pathlib.Path(folder).parents[1] / vocabulary.FILE
    words = vocabularies.load(beside if beside.exists() else data.vocabulary)
    checkpoint_meta.check_vocabulary(meta, words.hash, doing=f"loading {folder} with {words.path}")
    weights = checkpoints.restore_params(folder, mesh=mesh)
    return Loaded(
        folder=str(folder),
        step=weights.step,
        graphdef=graph_of(model),
        params=jax.jit(low_rank.merge)(weights.params),
        mesh=mesh,
        vocabulary=words,
        data=dataclasses.replace(data, vocabulary=str(words.path), rows=rows),
        # A checkpoint names no code that is run.
        heads=loss_heads.load(one for one in meta.get("losses", loss_heads.names()) if not loss_heads.is_foreign(one)),
        model=model,
        recipe=meta.get("recipe", ""),
    )


def graph_of(model: model_config.Model) -> nnx.GraphDef:
    """What parameters are merged with to be a model."""
    return nnx.split(nnx.eval_shape(lambda: speech_text.SpeechText(model, rngs=nnx.Rngs(0))))[0]


class Told(NamedTuple):
    """What a checkpoint has to say of itself to be loaded."""

    model: model_config.Model
    data: data_config.Data
    vocabulary: str
    """Its hash."""
    losses: Any
    """The loss heads, by their names."""
    recipe: str


def write(run: pathlib.Path, step: int, params: nnx.State, told: Told) -> None:
    """Writes the parameters of a model that was trained elsewhere as a run's only checkpoint, for `load`."""
    meta = {**told._asdict(), "model": dataclasses.asdict(told.model), "data": dataclasses.asdict(told.data)}
    kept = checkpoints.Folder(run)
    kept.save(step, {"params": params}, stream={}, meta=meta)
    kept.wait()
    kept.close()


def check_search(loaded: Loaded, search: search_config.Search) -> None:
    """Raises ValueError where a search asks a head that the model has not, or that was not trained."""
    if search.ctc and not loaded.hears:
        raise ValueError(
            f"searching with {loaded.folder}: it was trained with no CTC head, found Search.ctc = {search.ctc}. Leave "
            "it out."
        )


FORMER: dict[type, dict[str, Any]] = {
    model_config.Model: {
        "text_kernel": None,
        "decoder_kernel": None,
        "lookup_start": 0.0,
        "scan": True,
        "sinusoids": False,
        "ctc_tied": False,
        "matching": False,
        "masked_speech": None,
        "speech_out": None,
        "attention_kernel": "auto",
        "products": "full",
        "parts": "own",
        "audio_places": 1500,
        "text_places": 448,
    },
    model_config.SpeechOut: {"guided_heads": 0, "guide_width": 0.2},
}
"""What a checkpoint that does not name these fields was trained with. A new field of a model belongs here, because its
default may be another."""


def describe(kind: type, fields: Mapping[str, Any], *, doing: str) -> Any:
    """The frozen dataclass whose dataclasses.asdict, read back from JSON, is `fields`.

    Raises ValueError for a field that the dataclass has not, and for one of a model that is not told.
    """
    known = settings.of(kind)
    former = FORMER.get(kind)
    unknown = sorted(set(fields) - set(known))
    untold = [] if former is None else sorted(set(known) - set(fields) - set(former))
    for names, trouble in ((unknown, "names, and this version of the code has not"), (untold, "does not name")):
        if names:
            raise ValueError(
                f"{doing}: the checkpoint {trouble}: {', '.join(f'{kind.__name__}.{name}' for name in names)}. Use the "
                "version of the code that wrote it, or one that knows both."
            )
    values = dict(former or {})
    for name, value in fields.items():
        inner = next(settings.dataclasses_in(known[name].annotation), None)
        values[name] = _tuples(value) if inner is None or value is None else describe(inner, value, doing=doing)
    return kind(**values)


def _tuples(value: Any) -> Any:
    """JSON has lists where descriptions have tuples."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
