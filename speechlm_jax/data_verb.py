"""Verb `data`: what a recipe's mixture yields, the row it wants, and its vocabulary."""

import argparse
import dataclasses
from typing import Any

from speechlm_jax import runtime, whole_files
from speechlm_jax.data import config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this verb."""
    parser.add_argument(
        "--train_vocabulary", type=int, metavar="SIZE", help="train Data.vocabulary with SIZE pieces, and end"
    )
    parser.add_argument(
        "--text_field",
        action="append",
        help="a field whose text the vocabulary is trained on (default: those that the tasks tokenize)",
    )
    parser.add_argument("--languages", help="language codes that get a token, comma-separated")
    parser.add_argument("--propose_row", action="store_true", help="propose the room of each lane for this mixture")
    parser.add_argument("--examples", type=int, help="examples to measure (default: 1000)")
    parser.add_argument("--show", type=int, help="examples to print (default: 3)")
    parser.add_argument(
        "--export", metavar="DIR", help="write the mixture's records to DIR as sound files and a manifest, and end"
    )
    parser.add_argument("--split", help="split to look at (default: the recipe's)")
    parser.add_argument("--task", help="a task or mixture to look at in place of the recipe's")
    parser.add_argument("--limit", type=int, help="export: at most this many records, from the first")
    parser.add_argument("--json", help="write the report here as JSON")
    parser.add_argument("--html", help="write it here as a page, with pictures and samples to listen to")


def run(
    *,
    data: config.Data,
    seed: int = 0,
    examples: int = 1000,
    show: int = 3,
    propose_row: bool = False,
    train_vocabulary: int | None = None,
    text_field: list[str] | tuple[str, ...] = (),
    languages: str = "",
    export: str | None = None,
    split: str | None = None,
    task: str | None = None,
    limit: int | None = None,
    json: str | None = None,
    html: str | None = None,
) -> dict[str, Any]:
    """Reports what a mixture yields: records, hours, lengths by lane, how many examples do not fit the row, rates asked
    and realised, useful share of each lane when packed, bad records, and a few examples in words; or trains the
    mixture's vocabulary; or exports its records, for `speechlm infer` and other recipes to read.

    Raises ValueError where the mixture or its vocabulary is not there.
    """
    from speechlm_jax import there

    if split is not None:
        data = dataclasses.replace(data, stream=dataclasses.replace(data.stream, split=split))
    if task is not None:
        data = dataclasses.replace(data, stream=dataclasses.replace(data.stream, mixture=task))
    if examples < 1:
        raise ValueError(f"looking at data: --examples={examples} is the number to measure, 1 or more.")
    if limit is not None and (export is None or limit < 1):
        raise ValueError(f"looking at data: --limit={limit} is the number of records to --export, 1 or more.")
    if train_vocabulary is not None:
        there.check_new_vocabulary(data.vocabulary)
    there.check_data(data, with_vocabulary=train_vocabulary is None and export is None)
    whole_files.check_folder(export, "--export")
    whole_files.check_file(json, "--json")
    whole_files.check_file(html, "--html")
    runtime.hide_accelerators_from_tensorflow()
    from speechlm_jax.data import report

    if export is not None:
        from speechlm_jax.data import exports

        return exports.export(data, export, limit=limit)
    if train_vocabulary is not None:
        codes = [code for code in languages.split(",") if code]
        return report.train_vocabulary(data, train_vocabulary, fields=list(text_field) or None, languages=codes)
    looked = report.report(data, seed=seed, examples=examples, show=show, propose_row=propose_row, json_path=json)
    if html is not None:
        from speechlm_jax.reporting import mixture, sheet

        sheet.keep(html, mixture.write(looked, data))
        runtime.say(f"wrote {html}")
    return looked.found
