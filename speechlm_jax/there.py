"""Whether what a command names is there: asked before anything slow is imported."""

import os

from speechlm_jax import vocabularies, whole_files
from speechlm_jax.data import config


def check_data(data: config.Data, *, with_vocabulary: bool = True, with_manifest: bool = True) -> None:
    """Raises ValueError where the vocabulary or the manifest of a run is not there; neither is read whole."""
    if with_manifest:
        _check_manifest(data)
    if with_vocabulary:
        vocabularies.load(data.vocabulary)


def _check_manifest(data: config.Data) -> None:
    wants_manifest = data.manifest is not None or data.stream.mixture == "manifest"
    if wants_manifest and (data.manifest is None or not data.manifest.path):
        raise ValueError(
            "reading a manifest: none is named. Set Manifest.path; the recipes for recordings of one's own take "
            "--gin.MANIFEST=PATH."
        )
    for name in ("path", "validation_path", "test_path") if data.manifest is not None else ():
        path = getattr(data.manifest, name)
        if path and not os.path.isfile(path):
            found = "it is a folder" if os.path.isdir(path) else "there is no such file"
            raise ValueError(f"manifest {path}: {found}. Set Manifest.{name} to a .jsonl, .tsv or .txt file.")


def check_run_dir(run_dir: str) -> None:
    """Raises ValueError where no folder is named for a run, or it could not be written to."""
    if not run_dir:
        raise ValueError(
            "starting a run: wanted a folder for it, found none. Give a recipe, "
            "--gin_file=gin_configs/recipes/NAME.gin, or set Recipe.run_dir."
        )
    whole_files.check_folder(run_dir, "Recipe.run_dir")


def has_checkpoints(run_dir: str) -> bool:
    """Whether a run of this folder has begun to save."""
    return os.path.exists(os.path.join(run_dir, "checkpoints"))


def check_new_vocabulary(path: str) -> None:
    """Raises ValueError where a vocabulary that is to be trained is that of a run with checkpoints, which mean nothing
    without it."""
    if os.path.exists(path) and has_checkpoints(os.path.dirname(path)):
        raise ValueError(
            f"training a vocabulary: {path} is there, and the checkpoints beside it were trained with it. Leave "
            "--train_vocabulary out to go on with that run, or set Recipe.run_dir and Data.vocabulary anew."
        )


def check_checkpoint(path: str) -> None:
    """Raises ValueError where nothing bears the name of a checkpoint."""
    if os.path.isfile(path):
        raise ValueError(f"looking for a checkpoint: '{path}' is a file. Name a run's folder, or one step of it.")
    if not os.path.exists(path):
        raise ValueError(f"looking for a checkpoint: '{path}' does not exist. Name a run's folder, or one step of it.")
