"""The rows of a stream, packed and written ahead: see `written_rows` for what lies in the folder.

A data shard is written by one process, in files of consecutive steps. Beside a file lies a sidecar (`.json`) that says
how many steps are in it and where the shard stands after them: a file that has one is whole, and the next begins there.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

from array_record.python import array_record_module  # pyright: ignore[reportAttributeAccessIssue]

from speechlm_jax import runtime, vocabularies, whole_files
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

    def told(self, first: int) -> dict[str, Any] | None:
        """What the sidecar says of the file that begins with step `first`; None where it is not whole."""
        path = pathlib.Path(self.folder) / self.name(first)
        try:
            told = json.loads(whole_files.read_text(path.with_suffix(".json")))
            return told if told["bytes"] == path.stat().st_size else None
        except (FileNotFoundError, ValueError, KeyError):
            return None

    def files(self) -> dict[str, dict[str, Any]]:
        """Name -> sidecar of the whole files that follow each other from the first step on."""
        found: dict[str, dict[str, Any]] = {}
        first = 0
        while (told := self.told(first)) is not None:
            found[self.name(first)] = told
            first += told["steps"]
        return found

    def next_whole(self, after: int) -> int:
        """The first step of the next whole file behind step `after`, or the last step that is wanted."""
        names = pathlib.Path(self.folder).glob(f"{self.name(0).rpartition('-')[0]}-*.array_record")
        firsts = (int(path.stem.rpartition("-")[2]) for path in names)
        return min([first for first in firsts if first > after and self.told(first)], default=max(self.steps, after))


def write(part: Part, tell: Callable[[int], None]) -> None:
    """Writes what is missing of a data shard's steps. tell: told how many steps were written since it was told last;
    what it raises ends the work. Raises ValueError where the records cannot be served."""
    registration.register(part.data)
    done, state = 0, None
    while done < part.steps:
        told = part.told(done)
        if told is None:
            done, state = _write_on(part, done, part.next_whole(done), state, tell)
        else:
            tell(min(told["steps"], part.steps - done))
            done, state = done + told["steps"], told["state"]


def _write_on(part: Part, done: int, until: int, state: Any, tell: Callable[[int], None]) -> tuple[int, Any]:
    """Writes the steps from `done`, where the shard stands at `state`, to `until`; returns both after them."""
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
    try:
        while done < until:
            steps = min(part.steps_per_file, until - done)
            path = pathlib.Path(part.folder) / part.name(done)
            with whole_files.whole(path) as unfinished:
                state = _write_file(unfinished, rows, steps, tell)
                size = unfinished.stat().st_size
            # Readers are ahead, and may add to it meanwhile.
            met = bad[:]
            del bad[: len(met)]
            told = {"steps": steps, "bytes": size, "state": state, "bad": [dataclasses.asdict(one) for one in met]}
            whole_files.write_json(path.with_suffix(".json"), told)
            done += steps
    finally:
        rows.close()
        rows.free()
    return done, state


def _write_file(path: pathlib.Path, rows: stream.Stream, steps: int, tell: Callable[[int], None]) -> Any:
    """Writes the next steps of a stream of one shard; returns where the shard stands after them."""
    state: Any = None
    with _told_of(path):
        writer = array_record_module.ArrayRecordWriter(str(path), records.WRITER_OPTIONS)
    for _ in range(steps):
        made = next(rows)
        (state,) = made.state.values()
        with _told_of(path):
            writer.write(written_rows.encode(made.batch, state))
        tell(1)
    with _told_of(path):
        writer.close()
    return state


@contextlib.contextmanager
def _told_of(path: pathlib.Path) -> Iterator[None]:
    """What goes wrong with a file is the user's to mend."""
    try:
        yield
    except RuntimeError as error:
        raise ValueError(f"writing rows: {path} could not be written ({' '.join(str(error).split())}).") from error


def materialise(
    data: config.Data, *, seed: int, steps: int, steps_per_file: int, out: str | os.PathLike[str], workers: int
) -> dict[str, Any]:
    """Writes the rows of the first `steps` steps of a run; see `materialise.run`."""
    folder = pathlib.Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    registration.register(data)
    words = vocabularies.load(data.vocabulary)
    fingerprint = stream.fingerprint(data, seed=seed, vocabulary=words.hash)
    _begin(folder, fingerprint)
    parts = [Part(data, seed, shard, steps, steps_per_file, str(folder)) for shard in range(data.stream.data_shards)]
    total = steps * len(parts)
    with (
        runtime.Progress(f"writing rows into {folder}", total=total, unit="shard steps") as progress,
        contextlib.closing(spread.over_processes(write, parts, workers, progress)) as written,
    ):
        for _ in written:
            pass
    files = [part.files() for part in parts]
    every = {name: told for of_shard in files for name, told in of_shard.items()}
    info = written_rows.Info(
        mixture=data.stream.mixture,
        split=data.stream.split,
        tasks_from=written_rows.tasks_from(data),
        fingerprint=fingerprint,
        steps=min(sum(told["steps"] for told in of_shard.values()) for of_shard in files),
        files={name: told["steps"] for name, told in every.items()},
    )
    whole_files.write_json(folder / written_rows.INFO, info._asdict())
    bad = {(one["task"], one["id"]): json.dumps(one) + "\n" for told in every.values() for one in told["bad"]}
    whole_files.write_text(folder / "bad_records.jsonl", "".join(bad.values()))
    return {
        "folder": str(folder),
        "steps": info.steps,
        "files": len(every),
        "bytes": sum(told["bytes"] for told in every.values()),
        "bad_records": len(bad),
    }


def _begin(folder: pathlib.Path, fingerprint: dict[str, Any]) -> None:
    """Says in the folder which rows belong there. Raises ValueError where others do, or it holds something else."""
    begun = folder / "begun.json"
    if not begun.exists():
        if any(folder.iterdir()):
            raise ValueError(
                f"writing rows into {folder}: it is not empty, and no rows were begun there. Name another: --out."
            )
        whole_files.write_json(begun, fingerprint)
    else:
        stream_position.check(
            json.loads(whole_files.read_text(begun)),
            fingerprint,
            f"writing rows into {folder}: what was begun there is of other rows",
            "Remove the folder, or name another: --out.",
        )
