"""The tasks of a manifest that a recipe names: recordings and text of one's own, without a line of code."""

import functools
from collections.abc import Callable
from typing import Any

import seqio

from speechlm_jax import metrics
from speechlm_jax.data import config, features, manifest, objectives, preprocessors, sources

MIXTURE = "manifest"
SHARES = {"train": (0.0, 0.9), "validation": (0.9, 0.95), "test": (0.95, 1.0)}
"""The part of a manifest without a field `split` that each split gets, by a hash of the id."""


def register(choices: config.Manifest, *, whole: str | None = None) -> None:
    """Registers the tasks and the mixture of a manifest, in place of those of an earlier one.

    whole: a split that has all lines of a manifest without a field `split`, which then has no other.
    Raises ValueError where the manifest cannot be read, lacks the field that is to be its text or language, or an
    objective is not known.
    """
    opened = manifest.Manifest(choices.path)
    _check_fields(opened, choices)
    splits = _lines(opened, choices, whole)
    speech = sources.ManifestSource(choices.path, splits, max_seconds=choices.max_seconds)
    text = sources.SequenceSource({split: functools.partial(_texts, opened, splits[split]) for split in splits})
    makers: dict[str, Callable[[], dict[str, Any]]] = {
        "recognition": lambda: {
            "source": speech,
            "preprocessors": objectives.recognition("text", choices.language),
            "metric_fns": [metrics.wer, metrics.cer],
        },
        "span_corruption": lambda: {"source": text, "preprocessors": objectives.span_corruption("text")},
        "masked_language_model": lambda: {"source": text, "preprocessors": objectives.masked_language_model("text")},
    }
    rename = [] if choices.text == "text" else [preprocessors.rename(text=choices.text)]
    plain = [preprocessors.normalize_text("text", lower=True, strip_punctuation=True)] if choices.plain else []
    rates = []
    for objective, rate in choices.objectives:
        if objective not in makers:
            raise ValueError(
                f"registering the tasks of {choices.path}: there is no objective '{objective}', wanted one of "
                f"{', '.join(makers)}. Set Manifest.objectives."
            )
        task = makers[objective]()
        task["preprocessors"] = [*rename, *plain, preprocessors.drop_empty("text"), *task["preprocessors"]]
        name = f"{MIXTURE}_{objective}"
        if name in seqio.TaskRegistry.names():
            seqio.TaskRegistry.remove(name)
        seqio.TaskRegistry.add(name, output_features=features.OUTPUT_FEATURES, **task)
        rates.append((name, rate))
    if MIXTURE in seqio.MixtureRegistry.names():
        seqio.MixtureRegistry.remove(MIXTURE)
    seqio.MixtureRegistry.add(MIXTURE, rates)


def _check_fields(opened: manifest.Manifest, choices: config.Manifest) -> None:
    language = choices.language.strip("{}") if choices.language.startswith("{") else None
    for binding, field in (("Manifest.text", choices.text), ("Manifest.language", language)):
        if field is not None and opened.fields.get(field) != "text":
            texts = [name for name, kind in opened.fields.items() if kind == "text"]
            raise ValueError(
                f"reading manifest {choices.path}: wanted a field '{field}' of text, found text in {texts}. Set "
                f"{binding}" + (", such as Manifest.language = 'en'." if field == language else ".")
            )


def _lines(opened: manifest.Manifest, choices: config.Manifest, whole: str | None) -> dict[str, manifest.Lines]:
    """The lines of each split."""
    if whole is not None and "split" not in opened.fields:
        return {whole: manifest.Lines()}
    exclude = dict(choices.held_out)
    if "split" in opened.fields:
        values = {"train": choices.train, "validation": choices.validation, "test": choices.test}
        there = set(opened.column("split"))
        lines = {
            name: manifest.Lines(where={"split": value}, exclude=exclude, limit=choices.limit)
            for name, value in values.items()
            if value in there or name == "train"
        }
    else:
        lines = {
            name: manifest.Lines(share=share, exclude=exclude, limit=choices.limit) for name, share in SHARES.items()
        }
    if choices.held_out:
        lines["held_out"] = manifest.Lines(where=exclude, limit=choices.limit)
    return lines


def _texts(opened: manifest.Manifest, lines: manifest.Lines) -> list[dict[str, Any]]:
    """The text fields of the chosen lines, without their recordings."""
    names = [name for name, kind in opened.fields.items() if kind == "text"]
    columns = {name: opened.column(name) for name in ("id", *names)}
    return [{name: column[index] for name, column in columns.items()} for index in opened.select(lines)]
