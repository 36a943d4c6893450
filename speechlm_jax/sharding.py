"""Where arrays lie on the devices: the mesh, and the one table from the words of axes to its axes."""

import contextlib
import logging
import math
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from speechlm_jax import axes, batch, layout, parameters

_logger = logging.getLogger(__name__)

SLICE = "slice"
DATA = "data"
FSDP = "fsdp"
TENSOR = "tensor"
ROWS = (SLICE, DATA, FSDP)
"""Rows of a batch are cut along all three."""

PLACES: dict[str | None, str] = {
    axes.EMBED: FSDP,
    axes.MLP: TENSOR,
    axes.HEADS: TENSOR,
    axes.VOCABULARY: TENSOR,
    axes.CHANNELS: TENSOR,
}
"""Word -> mesh axis; every other word of axes.py stays whole. Of two axes of a parameter with one place, the first has
it."""
SPARE_PLACES: dict[str | None, tuple[str, ...]] = {
    axes.CHANNELS: (FSDP,),
    axes.MELS: (TENSOR, FSDP),
    axes.CODES: (TENSOR, FSDP),
}
"""Where a word lies that has no place yet: on the first of these that is free and divides the axis."""


SETTINGS: dict[str | None, str] = {
    axes.EMBED: "Model.width",
    axes.MLP: "Model.mlp_width",
    axes.HEADS: "Model.num_heads",
    axes.VOCABULARY: "Model.vocabulary_size",
    axes.CHANNELS: "Model.stem_channels, Model.width or SpeechOut.hidden",
}
"""Word -> what sets the size of such an axis."""


def make_mesh(shape: layout.Layout, devices: Any = None) -> Mesh:
    """The mesh of `devices` (all there are, if None).

    A mesh that does not factor the torus of a TPU slice is laid out all the same, and a warning tells of it: its
    neighbours are no neighbours on the wires.
    Raises ValueError where the layout does not use all devices, or asks for other slices than they lie in.
    """
    devices = jax.devices() if devices is None else list(devices)
    sizes = {SLICE: shape.slices, DATA: shape.data, FSDP: shape.fsdp, TENSOR: shape.tensor}
    asked = "mesh " + " ".join(f"{name}={size}" for name, size in sizes.items())
    mend = "Set Layout.slices, .data, .fsdp or .tensor."
    rest = [name for name, size in sizes.items() if size == -1]
    if len(rest) > 1 or any(size < 1 for size in sizes.values() if size != -1):
        raise ValueError(f"{asked}: sizes are 1 or more, and one may be -1. {mend}")
    fixed = math.prod(size for size in sizes.values() if size != -1)
    if rest:
        if len(devices) % fixed:
            raise ValueError(f"{asked} needs a multiple of {fixed} devices, found {len(devices)}. {mend}")
        sizes[rest[0]] = len(devices) // fixed
    elif fixed != len(devices):
        raise ValueError(f"{asked} needs {fixed} devices, found {len(devices)}. {mend}")
    there = {getattr(device, "slice_index", 0) for device in devices if device.platform == "tpu"}
    if len(there) > 1 and sizes[SLICE] != len(there):
        raise ValueError(
            f"{asked}: the devices lie in {len(there)} slices, between which only gradients are to pass. Set "
            f"Layout.slices = {len(there)}."
        )
    grids = [_grid(tuple(sizes.values())[1:], part, asked) for part in _by_slice(devices, sizes[SLICE])]
    return Mesh(np.stack(grids), tuple(sizes), axis_types=(AxisType.Auto,) * len(sizes))


def _by_slice(devices: Sequence[Any], slices: int) -> list[list[Any]]:
    """Devices of each slice; where the devices tell of none, such as pretended ones, equal parts in their order."""
    found: dict[int, list[Any]] = {}
    size = len(devices) // slices
    for place, device in enumerate(devices):
        found.setdefault(getattr(device, "slice_index", place // size), []).append(device)
    if len(found) != slices:
        return [list(devices[start : start + size]) for start in range(0, len(devices), size)]
    return [found[index] for index in sorted(found)]


def _grid(sizes: tuple[int, ...], devices: Sequence[Any], asked: str) -> np.ndarray:
    """The devices of one slice laid out so that those along an axis are neighbours on the wires, where they can be."""
    try:
        return mesh_utils.create_device_mesh(sizes, devices)
    except NotImplementedError:
        sides = "x".join(str(1 + max(place)) for place in zip(*(device.coords for device in devices), strict=True))
        _logger.warning(
            "%s does not factor the torus of %s %s devices: some of its axes run over shared wires, and collectives "
            "along them take longer. Sizes that are products of whole sides avoid it.",
            asked,
            sides,
            devices[0].device_kind,
        )
        return mesh_utils.create_device_mesh(sizes, devices, allow_split_physical_axes=True)


def replicated(mesh: Mesh) -> NamedSharding:
    """The whole array on every device."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Rows, the first axis of every array of a batch, cut over slices, data and fsdp."""
    return NamedSharding(mesh, PartitionSpec(ROWS))


def gather_outside_stacks(mesh: Mesh, params: Any) -> Any:
    """Parameters as a step uses them: what is no layer of a stack is gathered along fsdp, once; the layers of a stack
    are left to be gathered one by one. Without it the look-up in a table cut on both sides moves rows around."""

    def place(path: str, leaf: Any) -> Any:
        spec = _spec(mesh, path, leaf, statistics=False)
        if parameters.words(leaf)[:1] == (axes.LAYERS,):
            return parameters.array(leaf)
        whole = PartitionSpec(*(None if at == FSDP else at for at in spec))
        return jax.lax.with_sharding_constraint(parameters.array(leaf), NamedSharding(mesh, whole))

    return parameters.map_named(place, params)


def tracing_on(mesh: Mesh) -> contextlib.AbstractContextManager[None]:
    """While it is open inside a jitted function, `cut_rows` and `platform` know the mesh."""
    return jax.sharding.use_abstract_mesh(mesh.abstract_mesh)


@contextlib.contextmanager
def model_on(mesh: Mesh, graphdef: nnx.GraphDef, params: nnx.State) -> Iterator[Any]:
    """The model of a graph and its parameters, to be called inside a jitted function while this is open."""
    with tracing_on(mesh):
        yield nnx.merge(graphdef, gather_outside_stacks(mesh, params))


def platform() -> str:
    """What a step is being traced for, 'cpu', 'tpu', 'gpu' (NVIDIA's) or 'rocm': the devices of the mesh inside
    `tracing_on`, which may not be at hand; else those of this process."""
    device = jax.sharding.get_abstract_mesh().abstract_device or jax.devices()[0]
    return "rocm" if device.platform == "gpu" and "NVIDIA" not in device.device_kind else device.platform


def cut_rows(tree: Any) -> Any:
    """The arrays "B ..." of a pytree, pinned to lie as rows of a batch do; outside `tracing_on` the tree itself.

    Without it in every layer, the compiler may take the cut of the weights along fsdp for that of the activations, and
    gather the rows of the whole batch instead of the weights of one layer.
    """
    if jax.sharding.get_abstract_mesh().empty:
        return tree
    return jax.tree.map(lambda array: jax.lax.with_sharding_constraint(array, PartitionSpec(ROWS)), tree)


def param_shardings(mesh: Mesh, tree: Any, *, statistics: bool = False) -> Any:
    """A NamedSharding for each array of a pytree of parameters, moments or moving averages, by the words they bear.

    Args:
        tree: arrays or ShapeDtypeStructs; a bare array (a step, a count) is replicated.
        statistics: the tree is an optimizer's state, whose factored moments have lost an axis of their parameter
            but not its words.

    Raises:
        ValueError: an nnx Variable without words, an unknown word, two words on one mesh axis, or a dimension that
            does not divide. A dimension of 1 is left whole.
    """
    return parameters.map_named(lambda path, leaf: NamedSharding(mesh, _spec(mesh, path, leaf, statistics)), tree)


def _spec(mesh: Mesh, path: str, leaf: Any, statistics: bool) -> PartitionSpec:
    if not parameters.is_variable(leaf):
        return PartitionSpec()
    words, shape = parameters.words(leaf), parameters.array(leaf).shape
    if shape and not words:
        raise ValueError(f"parameter {path} {shape} bears no words for its axes. Make it nnx.Param(..., axes=(...)).")
    unknown = [word for word in words if word is not None and word not in axes.WORDS]
    if unknown:
        raise ValueError(f"parameter {path}: {unknown} are no words for axes. axes.py has {axes.WORDS}.")
    if statistics and len(words) != len(shape):
        words = _without_one(mesh, words, shape)
    if len(words) != len(shape):
        raise ValueError(f"parameter {path} has shape {shape}, and words for another number of axes: {words}.")
    places = _places(mesh, words, shape)
    for word, place, size in zip(words, places, shape, strict=True):
        if place is not None and size != 1 and size % mesh.shape[place]:
            raise ValueError(
                f"parameter {path}: axis {word!r} of {shape} is {size}, which does not divide by the mesh's "
                f"{place}={mesh.shape[place]}. Set Layout.{place}, or {SETTINGS[word]}."
            )
    return PartitionSpec(*(None if size == 1 else place for place, size in zip(places, shape, strict=True)))


def check_cut(mesh: Mesh, params: Any, most: float = 0.02) -> None:
    """Raises ValueError where more than `most` of the bytes of parameters lie whole on every device of a mesh that cuts
    weights: a word was forgotten, or the model's sizes do not divide."""
    if mesh.shape[FSDP] * mesh.shape[TENSOR] == 1:
        return
    leaves = parameters.by_path(params)
    arrays = {path: parameters.array(leaf) for path, leaf in leaves.items()}
    sizes = {path: array.size * array.dtype.itemsize for path, array in arrays.items()}
    whole = [path for path, leaf in leaves.items() if not any(_spec(mesh, path, leaf, statistics=False))]
    share = sum(sizes[path] for path in whole) / max(1, sum(sizes.values()))
    if share > most:
        largest = sorted(whole, key=lambda path: -sizes[path])[: parameters.MOST_LINES]
        raise ValueError(
            f"laying out parameters: {share:.1%} of their bytes lie whole on every device, wanted at most {most:.0%}: "
            + ", ".join(f"{path} ({sizes[path]:,} bytes)" for path in largest)
            + ". Give their axes words that sharding.PLACES knows, sizes that divide by Layout.fsdp or .tensor, or set "
            "Layout.data instead."
        )


def _places(mesh: Mesh, words: parameters.Words, shape: tuple[int, ...]) -> list[str | None]:
    """The mesh axis of each axis of a parameter."""
    places: list[str | None] = []
    for word in words:
        place = PLACES.get(word)
        places.append(place if place not in places and mesh.shape.get(place, 1) > 1 else None)
    for axis, (word, size) in enumerate(zip(words, shape, strict=True)):
        for spare in SPARE_PLACES.get(word, ()):
            if places[axis] is None and spare not in places and mesh.shape[spare] > 1 and size % mesh.shape[spare] == 0:
                places[axis] = spare
    return places


def _without_one(mesh: Mesh, words: parameters.Words, shape: tuple[int, ...]) -> parameters.Words:
    """The words of a factored moment: those of its parameter without one axis that leaves every cut even."""
    for out in range(len(words)):
        rest = words[:out] + words[out + 1 :]
        if len(rest) == len(shape) and all(
            size % mesh.shape.get(PLACES.get(word), 1) == 0 for word, size in zip(rest, shape, strict=True)
        ):
            return rest
    return (None,) * len(shape)


def local_rows(mesh: Mesh, num_rows: int) -> np.ndarray:
    """Which rows of a global batch of `num_rows` this process feeds, in the order `global_batch` wants them."""
    check_rows(mesh, num_rows)
    slices = batch_sharding(mesh).addressable_devices_indices_map((num_rows,)).values()
    return np.unique(np.concatenate([np.arange(num_rows)[index] for index in slices]))


def ways_of_rows(mesh: Mesh) -> int:
    """Into how many parts the rows of a batch are cut."""
    return math.prod(mesh.shape[place] for place in ROWS)


def check_rows(mesh: Mesh, num_rows: int, accumulate: int = 1) -> None:
    """Raises ValueError unless each of `accumulate` microbatches gives every device the same number of rows."""
    ways = ways_of_rows(mesh)
    if num_rows % (ways * accumulate):
        raise ValueError(
            f"{num_rows} rows do not divide into {accumulate} microbatches over "
            f"{' x '.join(f'{place}={mesh.shape[place]}' for place in ROWS)} devices. Set Data.rows to a multiple of "
            f"{ways * accumulate}, or Optimizer.accumulate, Layout.slices, .data or .fsdp."
        )


def global_batch(mesh: Mesh, local: batch.Batch) -> batch.Batch:
    """The global batch on the devices, from the rows that each process holds (numpy, in the order of `local_rows`)."""
    cut = batch_sharding(mesh)
    return jax.tree.map(lambda rows: jax.make_array_from_process_local_data(cut, rows), local)
