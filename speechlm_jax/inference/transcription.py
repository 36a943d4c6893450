"""Recordings to text, from files to JSON lines."""

import contextlib
import json
import pathlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from speechlm_jax import batch as batch_room
from speechlm_jax import runtime
from speechlm_jax.data import batches, packing
from speechlm_jax.inference import generate, loading, recordings


def transcribe(
    checkpoint: str,
    inputs: Sequence[str],
    *,
    language: str | None,
    search: str,
    out_path: str | None,
    decode_steps: int | None = None,
    rows: int | None = None,
) -> None:
    """Writes a line for each recording, in order; see `infer.run`."""
    found = recordings.find(inputs)
    loaded = loading.load(checkpoint, rows=rows, enough=len(found))
    by_ctc = search == "ctc"
    if by_ctc and not loaded.model.ctc:
        raise ValueError(f"transcribing with {loaded.folder}: it has no CTC head. Use --search=decoder.")
    languages = recordings.languages(found, loaded, language)
    generator = generate.Generator(
        loaded.graphdef, row=loaded.data.row, mesh=loaded.mesh, steps=0 if by_ctc else decode_steps
    )
    lines: dict[int, dict[str, Any]] = {}
    written = 0
    with _output(out_path) as out, runtime.Progress("transcribing", total=len(found), unit="recordings") as progress:
        for packed in batches.pack(_examples(found, languages, loaded, lines), loaded.data.row, rows=loaded.data.rows):
            for decoded in generator(loaded.params, packed):
                lines[decoded.example["number"]] = _line(decoded, loaded, by_ctc)
                progress.advance()
            # Packing may finish a later recording first: a line waits for those before it.
            written = _write(lines, written, out)
        _write(lines, written, out)


@contextlib.contextmanager
def _output(path: str | None) -> Iterator[Any]:
    """Standard output, or a file that bears its name once it is whole, and ends in .part until then."""
    if path is None:
        yield sys.stdout
        return
    part = pathlib.Path(f"{path}.part")
    try:
        with part.open("w", encoding="utf-8") as out:
            yield out
    except BaseException:
        if part.exists():
            runtime.say(f"the lines that were done stand in {part}")
        raise
    part.replace(path)


def _write(lines: dict[int, dict[str, Any]], number: int, out: Any) -> int:
    """Writes the lines from `number` on that are there; the number of the first that is not."""
    while number in lines:
        print(json.dumps(lines.pop(number), ensure_ascii=False), file=out, flush=True)
        number += 1
    return number


def _line(decoded: generate.Decoded, loaded: loading.Loaded, by_ctc: bool) -> dict[str, Any]:
    tokens = decoded.ctc_tokens if by_ctc else decoded.tokens
    line = {
        "id": decoded.example["id"],
        "text": loaded.vocabulary.decode(tokens or []),
        "seconds": round(len(decoded.example["audio"]) / batch_room.SAMPLE_RATE, 3),
    }
    return {**line, "cut": True} if decoded.cut else line


def _examples(
    found: Sequence[recordings.Recording],
    languages: Sequence[str],
    loaded: loading.Loaded,
    lines: dict[int, dict[str, Any]],
) -> Iterator[dict[str, Any]]:
    """Examples with an empty target; a recording that cannot be used becomes a line with its error."""
    words = loaded.vocabulary
    nothing = np.zeros(0, np.int32)
    for number, (recording, language) in enumerate(zip(found, languages, strict=True)):
        try:
            example = {
                "id": recording.id,
                "number": number,
                "audio": recording.samples(),
                "inputs": nothing,
                "prompt": np.array([words.token("<task:transcribe>"), words.language(language)], np.int32),
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
        except ValueError as error:  # Of a recording, or a language that the vocabulary lacks.
            reason = str(error)
        if reason is None:
            yield example
        else:
            lines[number] = {"id": recording.id, "error": reason}
