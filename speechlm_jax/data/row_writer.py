"""The rows of a stream, packed and written ahead: see `written_rows` for what lies in the folder.

A data shard is written by one process, in files of consecutive steps. Beside a file lies a sidecar (`.json`) that says
how many steps are in it and where the shard stands after them: a file that has one is whole, and the next begins there.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
from collections.abc import Callable
from typing import Any

from array_record.python import array_record_module  # pyright: ignore[reportAttributeAccessIssue]

from speechlm_jax import runtime, vocabulary, whole_files
from speechlm_jax.data import config, quarantine, records, registration, spread, stream, stream_position, written_rows


@dataclasses.dataclass(frozen=True)
class Part:
    """One data shard to write, and all that a process must know to write it."""

    data: config.Data
    seed: int
    shard: int
    steps: int
    steps_per_file: int
    """What is lost at most where the writing is cut off."""
    folder: str

    def name(self, first: int) -> str:
        """The file that begins with step `first`."""
        return written_rows.file_name(self.shard, self.data.stream.data_shards, first)

    def files(self) -> list[tuple[str, dict[str, Any]]]:
        """(name, sidecar) of the files that are whole, in their order."""
        found: list[tuple[str, dict[str, Any]]] = []
        first = 0
        while True:
            path = pathlib.Path(self.folder) / self.name(first)
            try:
                told = json.loads(path.with_suffix(".json").read_text("utf-8"))
                if told["bytes"] != path.stat().st_size:
                    return found
            except (FileNotFoundError, ValueError, KeyError):
                return found
            found.append((path.name, told))
            first += told["steps"]


def write(part: Part, tell: Callable[[int], None]) -> None:
    """Writes what is missing of a data shard's steps. tell: told how many steps were written since it was told last;
    what it raises ends the work. Raises ValueError where the records cannot be served."""
    registration.register(part.data)
    there = part.files()
    done, state = sum(told["steps"] for _, told in there), there[-1][1]["state"] if there else None
    tell(min(done, part.steps))
    if done < part.steps:
        _write_on(part, done, state, tell)


def _write_on(part: Part, done: int, state: Any, tell: Callable[[int], None]) -> None:
    """Writes the steps after `done`, where the shard stands at `state`."""
    bad: list[quarantine.BadRecord] = []
    rows = stream.Stream(
        part.data.stream,
        part.data.row,
        rows=part.data.rows,
        seed=part.seed,
        shards=[part.shard],
        state=None if state is None else {str(part.shard): state},
        augmentation=part.data.augmentation,
        on_bad=bad.append,
    )
    with contextlib.closing(rows):
        while done < part.steps:
            steps = min(part.steps_per_file, part.steps - done)
            path = pathlib.Path(part.folder) / part.name(done)
            with whole_files.whole(path) as unfinished:
                state = _write_file(unfinished, rows, steps, tell)
                size = unfinished.stat().st_size
            told = {"steps": steps, "bytes": size, "state": state, "bad": [dataclasses.asdict(one) for one in bad]}
            whole_files.write_json(path.with_suffix(".json"), told)
            bad.clear()
            done += steps
    rows.free()


def _write_file(path: pathlib.Path, rows: stream.Stream, steps: int, tell: Callable[[int], None]) -> Any:
    """Writes the next steps of a stream of one shard; returns where the shard stands after them."""
    state: Any = None
    try:
        writer = array_record_module.ArrayRecordWriter(str(path), records.WRITER_OPTIONS)
        for _ in range(steps):
            made = next(rows)
            (state,) = made.state.values()
            writer.write(written_rows.encode(made.batch, state))
            tell(1)
        writer.close()
    except RuntimeError as error:
        raise ValueError(f"writing rows: {path} could not be written ({' '.join(str(error).split())}).") from error
    return state


def materialise(
    data: config.Data, *, seed: int, steps: int, steps_per_file: int, out: str | os.PathLike[str], workers: int
) -> dict[str, Any]:
    """Writes the rows of the first `steps` steps of a run; see `materialise.run`."""
    folder = pathlib.Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    registration.register(data)
    fingerprint = stream.fingerprint(
        data.stream,
        data.row,
        rows=data.rows,
        seed=seed,
        vocabulary=vocabulary.Vocabulary.load(data.vocabulary).hash,
        augmentation=data.augmentation,
    )
    before = _before(folder, fingerprint)
    parts = [Part(data, seed, shard, steps, steps_per_file, str(folder)) for shard in range(data.stream.data_shards)]
    total = steps * len(parts)
    with (
        runtime.Progress(f"writing rows into {folder}", total=total, unit="shard steps") as progress,
        contextlib.closing(spread.over_processes(write, parts, workers, progress)) as written,
    ):
        for _ in written:
            pass
    files = {name: told for part in parts for name, told in part.files()}
    info = written_rows.Info(
        mixture=data.stream.mixture,
        split=data.stream.split,
        fingerprint=fingerprint,
        steps=max(steps, before),
        files={name: told["steps"] for name, told in files.items()},
    )
    whole_files.write_json(folder / written_rows.INFO, info._asdict())
    bad = {(record["task"], record["id"]) for told in files.values() for record in told["bad"]}
    return {
        "folder": str(folder),
        "steps": info.steps,
        "files": len(files),
        "bytes": sum(told["bytes"] for told in files.values()),
        "bad_records": len(bad),
    }


def _before(folder: pathlib.Path, fingerprint: dict[str, Any]) -> int:
    """How many steps the folder has. Raises ValueError where they are of other rows, or it holds something else."""
    begun = folder / "begun.json"
    if not begun.exists():
        if any(folder.iterdir()):
            raise ValueError(
                f"writing rows into {folder}: it is not empty, and no rows were begun there. Name another: --out."
            )
        whole_files.write_json(begun, fingerprint)
    else:
        stream_position.check(
            json.loads(begun.read_text("utf-8")),
            fingerprint,
            f"writing rows into {folder}: what was begun there is of other rows",
            "Remove the folder, or name another: --out.",
        )
    return written_rows.read_info(folder).steps if (folder / written_rows.INFO).exists() else 0
