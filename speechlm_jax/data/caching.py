"""The records of a task's source, written once into shards: by processes of this machine or workers of Apache Beam.

A folder holds, beside what `records` says, `source.json` (which task, fields and splits it was begun for), for each
shard a sidecar `{split}-00000-of-00004.json` (what is in it, and what is not, and why), and `bad.jsonl`. A sidecar is
written after its shard: a shard that has one is whole, and is not written again.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

import seqio

from speechlm_jax import provenance, runtime, whole_files
from speechlm_jax.data import config, one_shard, pipeline, quarantine, records, registration, spread
from speechlm_jax.data import fields as kinds

_RECORDS_PER_SHARD = 1000
_MOST_SHARDS = 256
"""A reader opens all files of a split."""


def cache(
    data: config.Data,
    *,
    splits: Sequence[str],
    out: str | os.PathLike,
    shards: int | None = None,
    workers: int | None = None,
    beam: tuple[str, Sequence[str]] | None = None,
    json_path: str | os.PathLike | None = None,
) -> dict[str, Any]:
    """Caches the splits of the task or mixture Stream.mixture; see `cache.run`. beam: its runner and its options.

    Raises ValueError for what a user can mend, TooManyBadRecords among it.
    """
    registration.register(data, bind_vocabulary=False)
    found = []
    with contextlib.ExitStack() as alone:
        folders: dict[pathlib.Path, list[one_shard.Part]] = {}
        for folder, tasks in _folders(data.stream.mixture, splits, pathlib.Path(out)).items():
            alone.enter_context(_alone(folder))
            folders[folder] = _parts(data, tasks[0], splits, folder, shards)
            found.append({"folder": str(folder), "tasks": [task.name for task in tasks]})
        wanted = [part for parts in folders.values() for part in parts if part.split in splits]
        _write_all(wanted, data.stream.bad_records, workers or provenance.cpus(), beam)
        for one, (folder, parts) in zip(found, folders.items(), strict=True):
            one["splits"] = _finish(folder, parts)
    counts = {"caches": found}
    print(json.dumps(counts, indent=1))
    if json_path is not None:
        whole_files.write_json(json_path, counts)
    return counts


def _folders(name: str, splits: Sequence[str], out: pathlib.Path) -> dict[pathlib.Path, list[seqio.Task]]:
    """Each folder to write, and the tasks that read its source."""
    found = pipeline.find(name)
    tasks = list(seqio.get_subtasks(found))
    there = sorted({split for task in tasks for split in task.splits})
    for split in splits:
        if split not in there:
            raise ValueError(f"caching '{name}': there is no split '{split}'. {kinds.nearest(split, there)}")
    alike: dict[int, list[seqio.Task]] = {}
    for task in tasks:
        if set(task.splits) & set(splits):
            alike.setdefault(id(task.source), []).append(task)
    return {out if found is one[0] else out / one[0].name: one for one in alike.values()}


@contextlib.contextmanager
def _alone(folder: pathlib.Path) -> Iterator[None]:
    """Holds a folder against other commands, and clears away what a killed one left half. Where the file system has no
    locks, the shards are still whole, if written twice."""
    with whole_files.alone(folder, "caching into"):
        for path in folder.iterdir():
            if whole_files.PART.fullmatch(path.name):
                path.unlink(missing_ok=True)
        yield


def _parts(
    data: config.Data, task: seqio.Task, splits: Sequence[str], folder: pathlib.Path, shards: int | None
) -> list[one_shard.Part]:
    """The shards of all splits of a folder, those of earlier commands too; `source.json` says then which they are."""
    doing = f"caching '{task.name}' into {folder}"
    told = _source_json(folder / "source.json") or {"task": task.name, "fields": {}, "splits": {}}
    if told["task"] != task.name:
        raise ValueError(f"{doing}: it holds records of '{told['task']}'. Name another folder: --out.")
    opened = {split: one_shard.open_split(task.source, split) for split in splits if split in task.splits}
    for split, reader in opened.items():
        now = {"fingerprint": reader.fingerprint, "records": reader.total}
        known = told["splits"].get(split) or {
            **now,
            "shards": shards or min(_MOST_SHARDS, max(1, -(-reader.total // _RECORDS_PER_SHARD))),
        }
        if known != {**known, **now}:
            raise ValueError(
                f"{doing}: split '{split}' there is of other records ({known['records']:,}, {known['fingerprint']}), "
                f"not of these ({now['records']:,}, {now['fingerprint']}). Remove the folder, or name another: --out."
            )
        if shards not in (None, known["shards"]):
            raise ValueError(
                f"{doing}: split '{split}' there has {known['shards']} shards, found --shards={shards}. Leave --shards "
                "out, or name another folder: --out."
            )
        told["splits"][split] = known
    told["fields"] = _joint_fields({split: reader.fields for split, reader in opened.items()}, told["fields"], doing)
    whole_files.write_json(folder / "source.json", told)
    return [
        one_shard.Part(
            data=data,
            task=task.name,
            split=split,
            fields=tuple(told["fields"].items()),
            fingerprint=known["fingerprint"],
            total=known["records"],
            folder=str(folder),
            index=index,
            count=known["shards"],
        )
        for split, known in told["splits"].items()
        for index in range(known["shards"])
    ]


def _joint_fields(fields: Mapping[str, Mapping[str, str]], before: Mapping[str, str], doing: str) -> dict[str, str]:
    """The fields of all splits of a cache. Raises ValueError where they cannot be joined, or not any more with those
    that were written before."""
    joint = dict(before)
    for split, found in fields.items():
        for name, kind in found.items():
            common = kinds.common((joint.get(name), kind))
            if common is None or (before and common != before.get(name)):
                raise ValueError(
                    f"{doing}: the field '{name}' is {kind} in split '{split}', and {joint.get(name, 'absent')} in "
                    "another. " + ("Cache both at once, into a new folder." if common else "Mend the data.")
                )
            joint[name] = common
    return joint


def _source_json(path: pathlib.Path) -> dict[str, Any] | None:
    """What it says; None where the folder is empty. Raises ValueError where the folder is no cache of this kind."""
    try:
        told = json.loads(whole_files.read_text(path))
        return {name: told[name] for name in ("task", "fields", "splits")}
    except FileNotFoundError:
        if not any(path.parent.iterdir()):
            return None
    except (ValueError, KeyError, TypeError):
        pass
    raise ValueError(
        f"caching into {path.parent}: it is not empty and has no source.json that says which records are in it. "
        "Remove it, or name another folder: --out."
    )


def _write_all(
    parts: Sequence[one_shard.Part], budget: config.BadRecords, workers: int, beam: tuple[str, Sequence[str]] | None
) -> None:
    """Writes the parts that are not whole. Raises TooManyBadRecords as soon as a split has more than the budget allows
    of all its records, whichever of them were read first."""
    bad: dict[tuple[str, str], quarantine.Quarantine] = {}
    for part in parts:
        one = bad.setdefault((part.folder, part.split), quarantine.Quarantine(budget))
        one.count_read(part.size)

    def settle(part: one_shard.Part, told: Mapping[str, Any]) -> None:
        one = bad[part.folder, part.split]
        for record in told["bad"]:
            one.add(part.task, record["id"], record["reason"])
        one.check()

    names = ", ".join(dict.fromkeys(f"{part.task}/{part.split}" for part in parts))
    total = sum(part.size for part in parts)
    with runtime.Progress(f"caching {names}", total=total, unit="records") as progress:
        pending = []
        for part in parts:
            if (told := part.told()) is None:
                pending.append(part)
            else:
                progress.advance(part.size)
                settle(part, told)
        written = (
            spread.over_processes(one_shard.write, pending, workers, progress)
            if beam is None
            else spread.over_beam(one_shard.write, pending, *beam)
        )
        # An error here must end the processes, which work ahead.
        with contextlib.closing(written):
            for place in written:
                progress.advance(0 if beam is None else pending[place].size)
                settle(pending[place], pending[place].told() or _lost(pending[place]))


def _lost(part: one_shard.Part) -> NoReturn:
    raise ValueError(
        f"caching '{part.task}' into {part.folder}: {part.path.name} was written, and is not there. Can all workers "
        "see this folder?"
    )


def _finish(folder: pathlib.Path, parts: Sequence[one_shard.Part]) -> dict[str, Any]:
    """Makes a cache of a folder's shards: says in `info.json` which splits are whole, and in `bad.jsonl` what is not in
    them. Returns the counts of these splits. Raises ValueError for a split without a single record."""
    told: dict[str, list[dict[str, Any] | None]] = {}
    for part in parts:
        told.setdefault(part.split, []).append(part.told())
    whole = {split: [one for one in of_split if one is not None] for split, of_split in told.items() if all(of_split)}
    bad = [{"split": split, **record} for split, shards in whole.items() for one in shards for record in one["bad"]]
    whole_files.write_text(folder / "bad.jsonl", "".join(json.dumps(record) + "\n" for record in bad))
    names = [field.name for field in dataclasses.fields(records.Shard)]
    described = {
        split: [records.Shard(**{name: one[name] for name in names}) for one in shards]
        for split, shards in whole.items()
    }
    for split, shards in described.items():
        if not sum(shard.records for shard in shards):
            reason = next((record["reason"] for record in bad if record["split"] == split), "it has none")
            raise ValueError(f"caching into {folder}: no record of split '{split}' could be used: {reason}.")
    records.write_info(folder, dict(parts[0].fields), described, order="consecutive")
    info = records.read_info(folder)["splits"]
    return {
        split: {
            "records": info[split]["records"],
            "bad": sum(len(one["bad"]) for one in shards),
            "hours": round(info[split]["audio_seconds"] / 3600, 4),
            "bytes": sum(one["bytes"] for one in shards),
            "shards": len(shards),
            "hash": info[split]["hash"],
        }
        for split, shards in whole.items()
    }
