"""Verb `cache`: the records of a task or a mixture, written once into shards that are read by index."""

import argparse
import dataclasses
import importlib.util
from typing import Any

from speechlm_jax import runtime, whole_files
from speechlm_jax.data import config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this verb."""
    parser.add_argument("--task", help="a SeqIO task or mixture (default: Stream.mixture)")
    parser.add_argument("--split", help="splits, comma-separated (default: train)")
    parser.add_argument("--out", help="the folder to write; of a mixture, one in it for each source")
    parser.add_argument("--task_module", action="append", help="a module that registers tasks, beside the recipe's")
    parser.add_argument("--manifest", help="take the tasks `manifest_...` from this manifest")
    parser.add_argument(
        "--shards", type=int, help="files of each split (default: one for each 1000 records, up to 256)"
    )
    parser.add_argument("--workers", type=int, help="processes that write (default: one for each processor)")
    parser.add_argument("--beam_runner", help="write on Apache Beam instead: DirectRunner, DataflowRunner ...")
    parser.add_argument("--beam_option", action="append", help="an option of Beam's, such as project=my-project")
    parser.add_argument("--json", help="write the counts here as JSON")


def run(
    *,
    data: config.Data,
    out: str,
    task: str = "",
    split: str = "train",
    task_module: list[str] | tuple[str, ...] = (),
    manifest: str | None = None,
    shards: int | None = None,
    workers: int | None = None,
    beam_runner: str | None = None,
    beam_option: list[str] | tuple[str, ...] = (),
    json: str | None = None,
) -> dict[str, Any]:
    """Writes the records of a task's source, in its order, for speechlm_jax.data.sources.RecordsSource to read, and
    prints what was written. Started again, it goes on with the shards that are not whole; the bytes do not depend on
    that, nor on the number of workers. Records that cannot be used are listed in bad.jsonl, within BadRecords.

    out: a folder of a task's records, or of a mixture one folder for each source that its tasks read, named after the
    first such task.

    shards: the files of each split. Fixed for the life of the folder.

    Raises ValueError for a task or split that is not there, or where `out` holds something else.
    """
    from speechlm_jax import there

    name = task or data.stream.mixture
    splits = list(dict.fromkeys(part.strip() for part in split.split(",") if part.strip()))
    if not name or not splits:
        raise ValueError(
            f"caching records: wanted a task and a split, found '{name}' and '{split}'. Give --task and --split."
        )
    for flag, count in (("--shards", shards), ("--workers", workers)):
        if count is not None and count < 1:
            raise ValueError(f"caching records: wanted {flag} of 1 or more, found {count}.")
    if beam_option and beam_runner is None:
        raise ValueError("caching records: --beam_option is for Apache Beam. Give --beam_runner, too.")
    if beam_runner is not None and importlib.util.find_spec("apache_beam") is None:
        raise ValueError(
            "caching records: --beam_runner wants apache-beam, and it is not installed. Install the extra [beam], as "
            "docs/cache.md says."
        )
    data = dataclasses.replace(
        data,
        task_modules=tuple(dict.fromkeys((*data.task_modules, *task_module))),
        manifest=data.manifest if manifest is None else (data.manifest or config.Manifest()).at(manifest, name),
        stream=dataclasses.replace(data.stream, mixture=name),
    )
    there.check_data(data, with_vocabulary=False)
    whole_files.check_folder(out, "--out")
    whole_files.check_file(json, "--json")
    runtime.hide_accelerators_from_tensorflow()
    from speechlm_jax.data import caching

    return caching.cache(
        data,
        splits=splits,
        out=out,
        shards=shards,
        workers=workers,
        beam=None if beam_runner is None else (beam_runner, list(beam_option)),
        json_path=json,
    )
