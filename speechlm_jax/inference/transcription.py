"""Recordings to text, from files to JSON lines."""

import contextlib
import json
import pathlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from speechlm_jax import audio, layout, runtime, sharding
from speechlm_jax import batch as batch_room
from speechlm_jax.data import batches, manifest, packing
from speechlm_jax.inference import generate, loading

SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3")
MANIFESTS = (".jsonl", ".jsonl.gz", ".tsv", ".tsv.gz")


def transcribe(
    checkpoint: str,
    inputs: Sequence[str],
    *,
    language: str,
    search: str,
    out_path: str | None,
    decode_steps: int,
) -> None:
    """Writes a line for each recording, in order; see `infer.run`."""
    recordings = list(find(inputs))
    loaded = loading.load(checkpoint)
    if search == "ctc" and not loaded.has_ctc:
        raise ValueError(f"transcribing with {loaded.folder}: it has no CTC head. Use --search=decoder.")
    generator = generate.Generator(
        loaded.graphdef,
        row=loaded.data.row,
        mesh=sharding.make_mesh(layout.Layout(data=1), devices=jax.local_devices()[:1]),
        steps=decode_steps,
    )
    lines: dict[int, dict[str, Any]] = {}
    written = 0
    with contextlib.ExitStack() as stack:
        out = stack.enter_context(open(out_path, "w", encoding="utf-8")) if out_path else sys.stdout
        progress = stack.enter_context(runtime.Progress("transcribing", total=len(recordings), unit="recordings"))
        examples = _examples(recordings, loaded, language, lines)
        for packed in batches.pack(examples, loaded.data.row, rows=loaded.data.rows):
            for decoded in generator(loaded.params, packed):
                tokens = decoded.ctc_tokens if search == "ctc" else decoded.tokens
                example = decoded.example
                lines[example["number"]] = {
                    "id": example["id"],
                    "text": loaded.vocabulary.decode(tokens or []),
                    "seconds": round(len(example["audio"]) / batch_room.SAMPLE_RATE, 3),
                }
                progress.advance()
            # Packing may finish a later recording first: a line waits for those before it.
            while written in lines:
                print(json.dumps(lines.pop(written), ensure_ascii=False), file=out, flush=True)
                written += 1
        while written in lines:
            print(json.dumps(lines.pop(written), ensure_ascii=False), file=out, flush=True)
            written += 1


def find(inputs: Sequence[str]) -> Iterator[dict[str, Any]]:
    """{"id", "path" or "manifest" and "index", "lang"} of every recording that the inputs name, in order.

    Raises ValueError for an input that is not there, or is neither a recording, a folder nor a manifest.
    """
    if not inputs:
        raise ValueError("transcribing: wanted audio files, folders or a manifest, found none. Name them.")
    for name in inputs:
        path = pathlib.Path(name)
        if not path.exists():
            raise ValueError(f"transcribing '{name}': it does not exist.")
        if path.is_dir():
            found = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
            if not found:
                raise ValueError(
                    f"transcribing the folder '{name}': wanted files of {', '.join(SUFFIXES)}, found none."
                )
            yield from ({"id": str(file.relative_to(path)), "path": file} for file in found)
        elif name.endswith(MANIFESTS):
            yield from _of_manifest(name)
        else:
            yield {"id": path.name, "path": path}


def _of_manifest(path: str) -> Iterator[dict[str, Any]]:
    opened = manifest.Manifest(path)
    if "audio" not in opened.fields:
        raise ValueError(f"transcribing the manifest '{path}': wanted a field 'audio', found {sorted(opened.fields)}.")
    reader = manifest.Reader(opened, range(len(opened)))
    languages = opened.column("lang") if opened.fields.get("lang") == "text" else [""] * len(opened)
    for index, lang in enumerate(languages):
        yield {"id": reader.name(index), "reader": reader, "index": index, "lang": lang}


def _examples(
    recordings: Sequence[dict[str, Any]], loaded: loading.Loaded, language: str, lines: dict[int, dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Examples with an empty target; a recording that cannot be used becomes a line with its error."""
    words = loaded.vocabulary
    nothing = np.zeros(0, np.int32)
    for number, recording in enumerate(recordings):
        prompt = [words.token("<task:transcribe>"), words.language(recording.get("lang") or language)]
        try:
            if "reader" in recording:
                samples = recording["reader"][recording["index"]]["audio"]
            else:
                samples = audio.read(recording["path"])
            example = {
                "id": recording["id"],
                "number": number,
                "audio": samples,
                "inputs": nothing,
                "prompt": np.array(prompt, np.int32),
                "targets": nothing,
                "target_audio": np.zeros(0, np.int16),
                "masked_tokens": nothing,
                "masked_weights": np.zeros(0, np.float32),
                "ctc": np.ones(1, np.int32),
                "mask_share": np.zeros(1, np.float32),
                "weight": np.ones(1, np.float32),
                "origin": (0, number, 0),
            }
            reason = packing.misfit(packing.demand(example, loaded.data.row), loaded.data.row)
        except audio.AudioError as error:
            reason = str(error)
        if reason is None:
            yield example
        else:
            lines[number] = {"id": recording["id"], "error": reason}
