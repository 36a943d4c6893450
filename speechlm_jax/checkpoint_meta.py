"""What a checkpoint says of itself: versions, mesh, recipe, vocabulary, and each array's shape, dtype and words."""

from collections.abc import Mapping
from typing import Any

import jax
import orbax.checkpoint as ocp
from etils import epath

from speechlm_jax import checkpoint_steps, parameters, provenance, whole_files

SCHEMA = 2
"""The version of what stands in a step's folder."""


def read(folder: epath.Path) -> dict[str, Any]:
    """The meta of one step's folder. Raises ValueError where it was written by another version of this layer."""
    if missing := checkpoint_steps.missing(folder):
        raise ValueError(
            f"reading checkpoint {folder}: it is not there, or not whole ({checkpoint_steps.in_words(missing)})."
        )
    meta = read_json(folder / "meta")
    schema = meta.get("schema") if isinstance(meta, dict) else None
    if schema != SCHEMA:
        raise ValueError(f"reading checkpoint {folder}: wanted schema {SCHEMA}, found {schema}.")
    if wrong := _misfits(meta):
        raise ValueError(
            f"reading checkpoint {folder}: its meta is not what this project writes: "
            f"{checkpoint_steps.in_words(wrong)}. Bring back what it was."
        )
    return meta


_OWN = {"versions": dict, "mesh": dict, "processes": int, "leaves": dict}
_CALLERS = {"vocabulary": str, "recipe": str, "model": dict}
"""What stands in meta, and of what kind: always, and where the caller of `Folder.save` told it."""


def _misfits(meta: Mapping[str, Any]) -> list[str]:
    """What of a checkpoint's meta is missing, or of another kind than it is written as."""
    wanted = {**_OWN, **{name: kind for name, kind in _CALLERS.items() if name in meta}}
    found = [
        f"'{name}': wanted {kind.__name__}, found {type(meta.get(name)).__name__}"
        for name, kind in wanted.items()
        if not isinstance(meta.get(name), kind)
    ]
    if isinstance(meta.get("leaves"), dict):
        for path, leaf in meta["leaves"].items():
            try:
                fits = parameters.describe(parameters.described(leaf["array"])) == leaf["array"]
                fits = fits and all(word is None or isinstance(word, str) for word in leaf["axes"])
            except (KeyError, TypeError, ValueError, AttributeError):
                fits = False
            if not fits:
                found.append(f"'leaves': {path} is described as {leaf}")
    return found


def check_vocabulary(meta: Mapping[str, Any], wanted: str | None, *, doing: str) -> None:
    """Raises ValueError where a checkpoint was trained with another vocabulary than `wanted`; both are hashes."""
    found = meta.get("vocabulary")
    if wanted is not None and found != wanted:
        raise ValueError(
            f"{doing}: wanted a checkpoint of vocabulary {wanted}, found {found}. Bring back the vocabulary file that "
            "the checkpoint was trained with."
        )


def own(step: int, leaves: Mapping[str, Any]) -> dict[str, Any]:
    """What a step's meta says whoever saves it: of its arrays, by their paths, and of what wrote them."""
    meshes = [parameters.array(leaf).sharding for leaf in leaves.values()]
    mesh = next((dict(place.mesh.shape) for place in meshes if hasattr(place, "mesh")), {})
    return {
        "schema": SCHEMA,
        "step": step,
        "versions": provenance.versions(),
        "mesh": mesh,
        "processes": jax.process_count(),
        "leaves": {
            path: {"array": parameters.describe(leaf), "axes": parameters.words(leaf)} for path, leaf in leaves.items()
        },
    }


def read_json(folder: epath.Path) -> dict[str, Any]:
    """What an item of a step says that is JSON. Raises ValueError where it says nothing of the kind."""
    try:
        whole_files.check_size((folder / "metadata").stat().length)
    except ValueError as error:
        raise ValueError(f"reading {folder}: {error}. Bring back what it was.") from None
    with ocp.Checkpointer(ocp.JsonCheckpointHandler()) as reader:
        try:
            return reader.restore(folder)
        except ValueError as error:
            raise ValueError(f"reading {folder}: it is no JSON ({error}). Bring back what it was.") from error
