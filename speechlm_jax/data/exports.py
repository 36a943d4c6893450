"""Records of a mixture as sound files and a manifest: to listen to, to ask a model about, to train on elsewhere."""

import json
import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from speechlm_jax import audio, runtime, storage
from speechlm_jax.data import config, manifest, others, patient, pipeline, registration, sources
from speechlm_jax.data import fields as kinds

MANIFEST = "manifest.jsonl"


def export(data: config.Data, folder: str | os.PathLike, *, limit: int | None = None) -> dict[str, Any]:
    """Writes all records of the sources that Data.stream's mixture reads, of its split and in their order: those of a
    source that several tasks share once, and those too that no task of it draws. Of sounds, those that a
    manifest can name are written: `audio` and `target_audio`.

    limit: at most so many of each source. Returns {"manifest", "records", "bad"}. A record that cannot be read is
    told and left out. Raises ValueError for a folder that has other files, and storage.NoAnswer.
    """
    path = pathlib.Path(folder) / MANIFEST
    if path.parent.exists() and (there := sorted(file.name for file in path.parent.iterdir())):
        raise ValueError(
            f"exporting records: wanted a folder that is new or empty, found '{there[0]}' in {folder}. Name another."
        )
    registration.register(data, bind_vocabulary=False)
    tasks, _ = pipeline.tasks_and_rates(data.stream.mixture, data.stream.split)
    drawn_from = {id(source): source for source in map(_of_records, map(pipeline.source_of, tasks))}
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    ids, stems, bad = set[str](), set[str](), 0
    with part.open("w", encoding="utf-8") as lines:
        for source in drawn_from.values():
            reader = source.reader(data.stream.split)
            number = min(limit or len(reader), len(reader))
            with runtime.Progress("exporting", total=number, unit="records") as progress:
                for index in range(number):
                    progress.advance()
                    try:
                        record = {"id": reader.name(index), **kinds.conform(patient.read(reader, index), reader.fields)}
                    except storage.NoAnswer:
                        raise
                    except Exception as error:
                        runtime.say(f"{reader.name(index)} is left out: {' '.join(str(error).split())}")
                        bad += 1
                        continue
                    record["id"] = _free(str(record["id"]), ids)
                    stem = _free(re.sub(r"[^\w.-]+", "_", record["id"]), stems)
                    line = _line(record, reader.fields, path.parent, stem)
                    print(json.dumps(line, ensure_ascii=False), file=lines)
    part.replace(path)
    runtime.say(f"wrote {len(ids)} records to {path}")
    return {"manifest": str(path), "records": len(ids), "bad": bad}


def _of_records(source: sources.RandomAccessSource) -> sources.RandomAccessSource:
    """The source of whose records a task draws some, or all with others beside them."""
    while isinstance(source, sources.Having | others.WithOthers):
        source = source.source
    return source


def _free(name: str, taken: set[str]) -> str:
    """A name that no record before has."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}-{number}"
    taken.add(free)
    return free


def _line(record: Mapping[str, Any], fields: Mapping[str, str], folder: pathlib.Path, stem: str) -> dict[str, Any]:
    """A line of the manifest; its recordings are written beside it."""
    line: dict[str, Any] = {}
    for name, value in record.items():
        if fields.get(name) != kinds.AUDIO:
            line[name] = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
        elif name in manifest.AUDIO_FIELDS and len(value):
            line[name] = f"{stem}.wav" if name == "audio" else f"{stem}-{name}.wav"
            audio.write(folder / line[name], value)
    return line
