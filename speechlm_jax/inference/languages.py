"""The language of each entry that a model is asked about, from what is said and from what the model was trained on."""

import pathlib
from collections.abc import Sequence

from speechlm_jax import runtime
from speechlm_jax.data import config, manifest
from speechlm_jax.inference import entries, loading


def of_each(found: Sequence[entries.Entry], loaded: loading.Loaded, asked: str | None) -> list[str]:
    """The language of each entry: what its manifest says, else the one that is asked for, else that of training.

    Raises ValueError where it cannot be told, or the vocabulary lacks what is asked for.
    """
    trained_on = loaded.data.manifest
    field = "lang"
    if trained_on is not None and trained_on.language.startswith("{"):
        field = trained_on.language.strip("{}")
    own = [entry.field(field) for entry in found]
    if asked is None and not all(own):
        asked = _of_training(loaded)
    if asked is not None:
        loaded.vocabulary.language(asked)
    return [language or asked or "" for language in own]


def _of_training(loaded: loading.Loaded) -> str:
    known = (_heard(loaded.data.manifest) if loaded.data.manifest is not None else []) or [*loaded.vocabulary.languages]
    if len(known) == 1:
        return known[0]
    if loaded.data.manifest is not None or "en" not in known:
        raise ValueError(
            f"asking {loaded.folder}: wanted the language of what it is given, found {len(known)} that it may be: "
            f"{', '.join(known)}. Say it with --language."
        )
    runtime.say(f"taking it for English: the vocabulary has {len(known)} languages, and --language says nothing.")
    return "en"


def _heard(trained_on: config.Manifest) -> list[str]:
    """The languages of the manifest that a model was trained on; none where the file is not there any more."""
    if not trained_on.language.startswith("{"):
        return [trained_on.language]
    if not pathlib.Path(trained_on.path).is_file():
        return []
    lines, field = manifest.Manifest(trained_on.path), trained_on.language.strip("{}")
    return sorted({language for language in lines.column(field) if language}) if field in lines.fields else []
