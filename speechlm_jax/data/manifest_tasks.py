"""The tasks of a manifest that a recipe names: recordings and text of one's own, without a line of code."""

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from typing import Any

import seqio

from speechlm_jax import runtime
from speechlm_jax.data import config, features, manifest, others, sources
from speechlm_jax.data import fields as kinds
from speechlm_jax.data import manifest_objectives as known

MIXTURE = "manifest"
SHARES = {"train": (0.0, 0.9), "validation": (0.9, 0.95), "test": (0.95, 1.0)}
"""The part of a manifest without a field `split` that each split gets, by a hash of the id."""


@dataclasses.dataclass(frozen=True)
class Part:
    """The lines of a split, and the manifest that they stand in."""

    opened: manifest.Manifest
    lines: manifest.Lines


def register(choices: config.Manifest, *, whole: str | None = None) -> None:
    """Registers the tasks and the mixture of a manifest, in place of those of an earlier one.

    whole: a split that has all lines of a manifest without a field `split`, which then has no other; the files of
    single splits are not read. Raises ValueError where a manifest cannot be read, lacks a field that an objective
    reads, or an objective is not known.
    """
    names = [objective for objective, _ in choices.objectives]
    if len({*names}) < len(names) or not any(rate for _, rate in choices.objectives):
        raise ValueError(
            f"registering the tasks of {choices.path}: wanted objectives, each once, and some at a rate above 0, found "
            f"{choices.objectives}. Set Manifest.objectives."
        )
    parts = _parts(choices, whole)
    for objective, _ in choices.objectives:
        if objective not in known.OBJECTIVES:
            raise ValueError(
                f"registering the tasks of {choices.path}: there is no objective '{objective}', wanted one of "
                f"{', '.join(known.OBJECTIVES)}. Set Manifest.objectives."
            )
        for opened in dict.fromkeys(part.opened for part in parts.values()):
            _check_fields(opened, choices, objective)
    labels, languages = _labels(parts, choices), _target_languages(parts, choices)
    speech = sources.ManifestSource(
        {split: part.opened for split, part in parts.items()},
        {split: part.lines for split, part in parts.items()},
        max_seconds=choices.max_seconds,
    )
    text = sources.SequenceSource({split: functools.partial(_texts, part, choices) for split, part in parts.items()})
    for objective, _ in choices.objectives:
        wanted = known.OBJECTIVES[objective]
        source = speech if wanted.lane else text
        read = known.fields(wanted, choices).values()
        # A label that is a number is in every line.
        needed = [field for field in read if all(part.opened.fields.get(field) == "text" for part in parts.values())]
        source = sources.Having(source, *needed) if needed else source
        name = _name(objective)
        if name in seqio.TaskRegistry.names():
            seqio.TaskRegistry.remove(name)
        seqio.TaskRegistry.add(
            name,
            source=others.WithOthers(source, (choices.text,), count=known.CLAIMS) if wanted.others else source,
            preprocessors=known.preprocess(wanted, choices, labels),
            output_features=features.OUTPUT_FEATURES,
            metric_fns=wanted.measures(labels, languages),
        )
    if MIXTURE in seqio.MixtureRegistry.names():
        seqio.MixtureRegistry.remove(MIXTURE)
    seqio.MixtureRegistry.add(MIXTURE, [(_name(objective), rate) for objective, rate in choices.objectives])


def _name(objective: str) -> str:
    return f"{MIXTURE}_{objective}"


def _check_fields(opened: manifest.Manifest, choices: config.Manifest, objective: str) -> None:
    doing = f"reading manifest {opened.path}: the objective '{objective}'"
    wanted = known.OBJECTIVES[objective]
    if wanted.lane and opened.fields.get("audio") != kinds.AUDIO:
        raise ValueError(
            f"{doing} wants a field 'audio', the path of a recording, found {sorted(opened.fields)}. Name that field "
            "so in the manifest, or leave the objective out of Manifest.objectives."
        )
    for binding, field in known.fields(wanted, choices).items():
        kind = opened.fields.get(field)
        if kind == "text" or (kind == "int" and binding == "label" and None not in opened.column(field)):
            continue
        if kind == "int" and binding == "label":
            raise ValueError(
                f"{doing} reads numbers in the field '{field}', wanted one in every line, found lines without: they "
                f"would be 0. Write labels as text, or set Manifest.label to another field."
            )
        texts = [name for name, kind in opened.fields.items() if kind == "text"]
        own = f"'{field}' is {kind}, and text is" if kind is not None else "text"
        code = f", or a language itself, such as --gin.Manifest.{binding}=en" if binding in known.LANGUAGES else ""
        raise ValueError(
            f"{doing} wants text in the field '{field}', found {own} in {texts}. Name the field that holds it: "
            f"--gin.Manifest.{binding}=FIELD{code}."
        )


def _labels(parts: Mapping[str, Part], choices: config.Manifest) -> list[str]:
    """All labels there are, if any objective looks at them; those that a test holds and training does not are told."""
    if not any("label" in known.OBJECTIVES[objective].reads for objective, _ in choices.objectives):
        return []

    def among(opened: manifest.Manifest, lines: Iterable[int]) -> set[str]:
        column = opened.column(choices.label)
        return {str(column[line]).strip() for line in lines if column[line] is not None} - {""}

    found = set().union(*(among(part.opened, range(len(part.opened))) for part in parts.values()))
    if not found:
        raise ValueError(
            f"reading manifest {choices.path}: the field '{choices.label}' is empty in every line. Set Manifest.label."
        )
    if len(found) == 1:
        _say_once(
            f"manifest {choices.path}: every line has the same {choices.label}, {found.copy().pop()}: there is nothing "
            "to tell apart."
        )
    if "train" in parts:
        taught = among(parts["train"].opened, _chosen(parts["train"]))
        for split, part in parts.items():
            if taught and (strange := sorted(among(part.opened, _chosen(part)) - taught)):
                _say_once(
                    f"manifest {part.opened.path}: no line of the split 'train' has the "
                    f"{choices.label} {', '.join(strange)} of '{split}': nothing teaches it."
                )
    return sorted(found)


_say_once = functools.lru_cache(runtime.say)


def _chosen(part: Part) -> list[int]:
    """The lines of a split; none where there are none, which is told of when it is read."""
    try:
        return part.opened.select(part.lines).tolist()
    except ValueError:
        return []


def _target_languages(parts: Mapping[str, Part], choices: config.Manifest) -> list[str]:
    """What is translated into, if any objective translates."""
    if not any("target_language" in known.OBJECTIVES[objective].reads for objective, _ in choices.objectives):
        return []
    if not choices.target_language.startswith("{"):
        return [choices.target_language]
    columns = [part.opened.column(choices.target_language.strip("{}")) for part in parts.values()]
    return sorted({language for column in columns for language in column if language})


def _parts(choices: config.Manifest, whole: str | None) -> dict[str, Part]:
    """The lines of each split."""
    opened = manifest.Manifest(choices.path)
    if whole is not None:
        choices = dataclasses.replace(choices, validation_path="", test_path="")
        if "split" not in opened.fields:
            return {whole: Part(opened, manifest.Lines())}
    own = {"validation": choices.validation_path, "test": choices.test_path}
    _check_split_names(opened, choices)
    exclude = dict(choices.held_out)
    select = functools.partial(manifest.Lines, exclude=exclude, limit=choices.limit)
    if "split" in opened.fields:
        values = {"train": choices.train, "validation": choices.validation, "test": choices.test}
        there = set(opened.column("split"))
        for name, value in values.items():
            if whole is None and value not in there | {getattr(config.Manifest, name)}:
                raise ValueError(
                    f"manifest {choices.path}: Manifest.{name} = {value!r}, and no line has that split. "
                    f"{kinds.nearest(value, there - {None})}"
                )
        if strange := sorted(map(repr, there - {*values.values()} - {None})):
            _say_once(
                f"manifest {choices.path}: lines whose split is {', '.join(strange)} are in none of its splits; "
                "Manifest.train, .validation and .test say what these are called."
            )
        lines = {
            name: select(where={"split": value}) for name, value in values.items() if value in there or name == "train"
        }
    elif any(own.values()):
        lines = {"train": select()}
    else:
        lines = {name: select(share=share) for name, share in SHARES.items()}
    if choices.held_out:
        lines["held_out"] = manifest.Lines(where=exclude, limit=choices.limit)
    parts = {split: Part(opened, chosen) for split, chosen in lines.items()}
    of_files = {
        split: Part(manifest.Manifest(path), manifest.Lines(limit=choices.limit)) for split, path in own.items() if path
    }
    return parts | of_files


def _check_split_names(opened: manifest.Manifest, choices: config.Manifest) -> None:
    """Raises ValueError where splits are given names, and the manifest names none."""
    changed = [name for name in SHARES if getattr(choices, name) != getattr(config.Manifest, name)]
    if changed and "split" not in opened.fields:
        raise ValueError(
            f"manifest {opened.path}: Manifest.{changed[0]} = {getattr(choices, changed[0])!r} is a value of the field "
            "'split', and there is no such field. Add it, or give splits their own files: Manifest.validation_path, "
            "Manifest.test_path."
        )


def _texts(part: Part, choices: config.Manifest) -> list[dict[str, Any]]:
    """The text fields of the chosen lines and a label that is a number, without their recordings."""
    opened = part.opened
    names = [name for name, kind in opened.fields.items() if kind == "text" or (name, kind) == (choices.label, "int")]
    columns = {name: opened.column(name) for name in ("id", *names)}
    return [{name: column[index] for name, column in columns.items()} for index in opened.select(part.lines)]
