"""What is to be transcribed: the recordings that files, folders and manifests name, and the language spoken in them."""

import collections
import dataclasses
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np

from speechlm_jax import audio, runtime
from speechlm_jax.data import config, manifest
from speechlm_jax.inference import loading

SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3")
MANIFESTS = (".jsonl", ".jsonl.gz", ".tsv", ".tsv.gz")


@dataclasses.dataclass(frozen=True)
class Recording:
    """One recording: a file, or a line of a manifest."""

    id: str
    path: str
    """Of the file, or of the manifest and the line's id."""
    lines: manifest.Manifest | None = None
    index: int = 0
    """Of the line."""

    def samples(self) -> np.ndarray:
        """int16 "N". Raises ValueError for what cannot be read."""
        if self.lines is None:
            return audio.read(self.path)
        samples = manifest.Reader(self.lines, [self.index])[0]["audio"]
        if not len(samples):
            raise ValueError(f"{self.path}: the line names no recording")
        return samples

    def language(self, field: str) -> str:
        """What the manifest says in a field of languages; empty where it says nothing."""
        if self.lines is None or self.lines.fields.get(field) != "text":
            return ""
        return self.lines.column(field)[self.index] or ""


def find(inputs: Sequence[str]) -> list[Recording]:
    """Every recording that the inputs name, in order, each with an id of its own: a file's name, its path within the
    folder that was named, or what a manifest says; and where several would have the same, the whole path.

    Raises ValueError for an input that is not there, or is neither a recording, a folder nor a manifest.
    """
    if not inputs:
        raise ValueError("transcribing: wanted audio files, folders or a manifest, found none. Name them.")
    found = [recording for name in inputs for recording in _named(name)]
    shared = collections.Counter(recording.id for recording in found)
    ids = [recording.path if shared[recording.id] > 1 else recording.id for recording in found]
    taken: collections.Counter[str] = collections.Counter()
    for number, name in enumerate(ids):
        taken[name] += 1
        ids[number] = name if taken[name] == 1 else f"{name} ({taken[name]})"
    return [dataclasses.replace(recording, id=name) for recording, name in zip(found, ids, strict=True)]


def _named(name: str) -> Iterator[Recording]:
    path = pathlib.Path(name)
    if not path.exists():
        raise ValueError(f"transcribing '{name}': it does not exist.")
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
        if not files:
            raise ValueError(f"transcribing the folder '{name}': wanted files of {', '.join(SUFFIXES)}, found none.")
        yield from (Recording(str(file.relative_to(path)), str(file)) for file in files)
    elif name.endswith(MANIFESTS):
        lines = manifest.Manifest(name)
        if "audio" not in lines.fields:
            raise ValueError(
                f"transcribing the manifest '{name}': wanted a field 'audio', found {sorted(lines.fields)}."
            )
        for index, line in enumerate(lines.column("id")):
            yield Recording(line, f"{name}: {line}", lines, index)
    else:
        yield Recording(path.name, name)


def languages(recordings: Sequence[Recording], loaded: loading.Loaded, asked: str | None) -> list[str]:
    """The language of each recording: what its manifest says, else the one that is asked for, else that of training.

    Raises ValueError where it cannot be told, or the vocabulary lacks what is asked for.
    """
    trained_on = loaded.data.manifest
    field = "lang"
    if trained_on is not None and trained_on.language.startswith("{"):
        field = trained_on.language.strip("{}")
    own = [recording.language(field) for recording in recordings]
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
            f"transcribing with {loaded.folder}: wanted the language that is spoken, found {len(known)} that it may "
            f"be: {', '.join(known)}. Say it with --language."
        )
    runtime.say(f"taking the speech for English: the model knows {', '.join(known)}, and --language says nothing.")
    return "en"


def _heard(trained_on: config.Manifest) -> list[str]:
    """The languages of the manifest that a model was trained on; none where the file is not there any more."""
    if not trained_on.language.startswith("{"):
        return [trained_on.language]
    if not pathlib.Path(trained_on.path).is_file():
        return []
    lines, field = manifest.Manifest(trained_on.path), trained_on.language.strip("{}")
    return sorted({language for language in lines.column(field) if language}) if field in lines.fields else []
