"""What a model is asked about: the recordings and texts that files, folders, manifests and the command line name."""

import collections
import dataclasses
import itertools
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from speechlm_jax import audio, batch
from speechlm_jax.data import fields, manifest
from speechlm_jax.inference import captions, uses

SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3")
MANIFESTS = (".jsonl", ".jsonl.gz", ".tsv", ".tsv.gz")


@dataclasses.dataclass(frozen=True)
class Entry:
    """One recording, one text, or one line of a manifest."""

    id: str
    path: str = ""
    """Of the recording, or of the manifest and the line's id; a text of the command line has none."""
    lines: manifest.Manifest | None = None
    index: int = 0
    """Of the line."""
    said: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """What the command line says in place of fields of text."""
    wave: np.ndarray | None = None
    """Its samples, int16 "N" at 16 kHz, where it is no file's."""

    def samples(self) -> np.ndarray | None:
        """int16 "N"; None where it has no recording. Raises ValueError for one that cannot be read."""
        if self.wave is not None:
            return audio.from_samples(self.wave, batch.SAMPLE_RATE, name=self.id, max_seconds=1 + len(self.wave))
        if self.lines is None:
            return audio.read(self.path) if self.path else None
        if not _has(self.lines, "audio"):
            return None
        samples = manifest.Reader(self.lines, [self.index]).values(0, ("audio",))["audio"]
        return samples if len(samples) else None

    def blocks(self) -> Iterator[np.ndarray] | None:
        """The same, block by block, of a file however long it is."""
        if (file := self._file()) is not None:
            return audio.blocks(file)
        samples = self.samples()
        return None if samples is None else iter((samples,))

    def is_short(self) -> bool:
        """Whether it is no file whose header tells of more than audio.MAX_SECONDS."""
        if (file := self._file()) is None:
            return True
        seconds = audio.told_seconds(file)
        return seconds is not None and seconds <= audio.MAX_SECONDS

    def files(self) -> list[str]:
        """What it is read from: recordings, and the manifest that names them."""
        if self.lines is None:
            return [self.path] if self.path else []
        folder, said = self.lines.path.parent, self._said_audio()
        clips = () if not said else (said,) if isinstance(said, str) else said[0]
        return [str(self.lines.path), *(str(folder / clip) for clip in clips)]

    def _file(self) -> str | None:
        """The file that its recording is; None where it has none, or has one of several clips."""
        if self.lines is None:
            return self.path or None
        said = self._said_audio()
        return str(self.lines.path.parent / said) if said and isinstance(said, str) else None

    def _said_audio(self) -> Any:
        """What the line of a manifest says of its recording, as manifest.Manifest has it."""
        lines = self.lines
        return lines.column("audio")[self.index] if lines is not None and _has(lines, "audio") else None

    def field(self, name: str) -> str:
        """What the line says in a field of text, else what the command line says; empty where neither does."""
        own = self.lines.column(name)[self.index] if self.lines is not None and _has(self.lines, name) else None
        return own or self.said.get(name, "")


def find(inputs: Sequence[str], request: uses.Request) -> list[Entry]:
    """Every entry that the command names, in order, each with an id of its own: a file's name, its path within the
    folder that was named, or what a manifest says; and where several would have the same, their paths below the folder
    that they share.

    Raises ValueError for an input that is not there, or is neither a recording, a folder nor a manifest; and for one
    that does not hold what the request is about.
    """
    use = request.meaning
    said = _said(request)
    texts = request.text if "text" in use.reads else ()
    wanted = " or ".join(_KINDS[kind] for kind in use.reads)
    if bool(inputs) == bool(texts):
        found = "both inputs and --text. Ask about one after the other" if inputs else "none. Name them"
        raise ValueError(f"{use.doing}: wanted {wanted}, found {found}.")
    if texts:
        _check_said("--text", request, said)
        return [Entry(f"text-{number}", said={**said, "text": text}) for number, text in enumerate(texts, 1)]
    found = [entry for name in inputs for entry in _named(name, request, said)]
    shared = collections.Counter(entry.id for entry in found)
    paths = [os.path.abspath(entry.path) for entry in found if shared[entry.id] > 1]
    above = os.path.commonpath([os.path.dirname(path) for path in paths]) if paths else ""
    ids = [os.path.relpath(entry.path, above) if shared[entry.id] > 1 else entry.id for entry in found]
    named: dict[str, Entry] = {}
    for entry, own in zip(found, ids, strict=True):
        name = unique = readable(own)
        copies = itertools.count(2)
        while unique in named:
            unique = f"{name} ({next(copies)})"
        named[unique] = dataclasses.replace(entry, id=unique)
    if len(named) > 1 and request.format in captions.TIMED and request.out_dir is None:
        raise ValueError(
            f"{use.doing}: --format={request.format} makes a file of each recording, found {len(named)} recordings. "
            "Name a folder for them with --out_dir."
        )
    return list(named.values())


def heard(waves: Sequence[np.ndarray], request: uses.Request) -> list[Entry]:
    """An entry of each of these recordings, int16 "N" at 16 kHz. Raises ValueError for what is no such thing, or where
    the request lacks what has to be said of it."""
    said = _said(request)
    if request.text and "text" in request.meaning.reads:
        raise ValueError(
            f"{request.meaning.doing}: wanted samples or a text, found both. Ask about one after the other."
        )
    _check_said("samples", request, said)
    for wave in waves:
        if wave.dtype != np.int16 or wave.ndim != 1:
            raise ValueError(
                f"{request.meaning.doing}: wanted samples as int16 of rank 1, 16 kHz, found {wave.dtype} of rank "
                f"{wave.ndim}. Of floats: (32767 * wave).astype('int16')."
            )
    return [Entry(f"recording-{number}", said=said, wave=wave) for number, wave in enumerate(waves, 1)]


def _said(request: uses.Request) -> dict[str, str]:
    """What a request says in place of fields of text."""
    said = {name: value for name in ("question", "speaker") if (value := getattr(request, name))}
    if request.text and "text" not in request.meaning.reads:
        said["text"] = request.text[0]
    return said


def readable(name: str) -> str:
    """Text with names of files in it, whose bytes need be none: what is not UTF-8 in them becomes a mark."""
    return os.fsencode(name).decode("utf-8", "replace")


_KINDS = {"audio": "audio files, folders or a manifest", "text": "--text or a manifest"}


def _named(name: str, request: uses.Request, said: Mapping[str, str]) -> Iterator[Entry]:
    path, doing = pathlib.Path(name), request.meaning.doing
    if not path.exists():
        raise ValueError(f"{doing} '{name}': it does not exist.")
    if name.endswith(MANIFESTS) and not path.is_dir():
        lines = manifest.Manifest(name)
        _check_fields(lines, request, said)
        for index, line in enumerate(lines.column("id")):
            yield Entry(line, f"{name}: {line}", lines, index, said)
        return
    if "audio" not in request.meaning.reads:
        raise ValueError(f"{doing} '{name}': wanted {_KINDS['text']} ({', '.join(MANIFESTS)}), found another file.")
    _check_said(name, request, said)
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
        if not files:
            raise ValueError(f"{doing} the folder '{name}': wanted files of {', '.join(SUFFIXES)}, found none.")
        yield from (Entry(str(file.relative_to(path)), str(file), said=said) for file in files)
    else:
        yield Entry(path.name, name, said=said)


def _check_said(name: str, request: uses.Request, said: Mapping[str, str]) -> None:
    """Raises ValueError where what is no line of a manifest lacks what only the command line can say of it."""
    use = request.meaning
    if use.beside and use.beside not in said:
        raise ValueError(f"{use.doing} '{name}': wanted --{use.beside}, found none. Name it.")


def _check_fields(lines: manifest.Manifest, request: uses.Request, said: Mapping[str, str]) -> None:
    use = request.meaning
    doing = f"{use.doing} the manifest '{lines.path}'"
    there = sorted(lines.fields)
    if not any(_has(lines, name) for name in use.reads):
        names = " or ".join({"audio": "'audio'", "text": "'text' of text"}[name] for name in use.reads)
        raise ValueError(f"{doing}: wanted a field {names}, found {there}.")
    if use.beside and not _has(lines, use.beside) and use.beside not in said:
        raise ValueError(f"{doing}: wanted a field '{use.beside}' of text, or --{use.beside}, found {there}.")


def _has(lines: manifest.Manifest, name: str) -> bool:
    """Whether there is a field of recordings named `audio`, or one of text of another name."""
    return lines.fields.get(name) == (fields.AUDIO if name == "audio" else "text")
