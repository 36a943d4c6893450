"""Recordings and texts to a model's answers, from files to JSON lines."""

import contextlib
import dataclasses
import json
import pathlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TextIO

from speechlm_jax import audio, label_metrics, runtime, vocabulary
from speechlm_jax import batch as batch_room
from speechlm_jax.data import batches, config, packing
from speechlm_jax.inference import (
    asking,
    entries,
    generate,
    going_on,
    hypotheses,
    languages,
    loading,
    matching,
    speaking,
    uses,
)

Line = dict[str, Any]
Answers = Callable[[batches.Packed], Iterator[tuple[int, Line]]]
"""From a packed batch to the number and the line of each of its entries."""


def answer(
    checkpoint: str,
    found: Sequence[entries.Entry],
    request: uses.Request,
    *,
    out_path: str | None,
    decode_steps: int | None = None,
    rows: int | None = None,
) -> None:
    """Writes a line for each entry, in order; see `infer.run`. Raises ValueError where none could be used."""
    loaded = loading.load(checkpoint, rows=rows, enough=len(found))
    answers = _of_use(loaded, request, decode_steps)
    takes_language = "language" in request.meaning.takes
    told = languages.of_each(found, loaded, request.language) if takes_language else [""] * len(found)
    if request.to is not None:
        loaded.vocabulary.language(request.to)
    _tell_untrained(loaded.data.manifest, request)
    lines: dict[int, Line] = {}
    unit = "inputs" if "text" in request.meaning.reads else "recordings"
    doing = request.meaning.doing
    does = None if out_path is None else _does(loaded.folder, request, decode_steps, found)
    with _output(out_path, does) as (out, kept), runtime.Progress(doing, total=len(found), unit=unit) as progress:
        written, answered = len(kept), sum("error" not in line for line in kept)
        progress.advance(written)
        examples = _examples(found, told, loaded, request, lines, first=written)
        for packed in batches.pack(examples, loaded.data.row, rows=loaded.data.rows):
            for number, line in answers(packed):
                lines[number] = line
                answered += 1
                progress.advance()
            # Packing may finish a later entry first: a line waits for those before it.
            written = _write(lines, written, out)
        _write(lines, written, out)
    if not answered:
        raise ValueError(f"{doing}: none of the {len(found)} {unit} could be used; each line says why.")


@contextlib.contextmanager
def _output(path: str | None, does: Any) -> Iterator[tuple[TextIO, list[Line]]]:
    """Standard output, or a file that bears its name once it is whole; and the lines that stand already, of a command
    that does the same."""
    if path is None:
        yield sys.stdout, []
        return
    begun = going_on.Begun(path, does)
    with begun.opened() as out:
        yield out, begun.told
    begun.become(path)


def _does(
    checkpoint: str, request: uses.Request, decode_steps: int | None, found: Sequence[entries.Entry]
) -> list[Any]:
    """What is asked of which step, about which files."""
    told = [
        (entry.id, dict(entry.said), going_on.stamp(entry.path if entry.lines is None else entry.lines.path))
        for entry in found
    ]
    models = [going_on.stamp_of_step(name) for name in (checkpoint, request.language_model) if name is not None]
    return [models, dataclasses.asdict(request), decode_steps, told]


def _write(lines: dict[int, Line], number: int, out: Any) -> int:
    """Writes the lines from `number` on that are there; the number of the first that is not."""
    while number in lines:
        print(json.dumps(lines.pop(number), ensure_ascii=False), file=out, flush=True)
        number += 1
    return number


def _examples(
    found: Sequence[entries.Entry],
    told: Sequence[str],
    loaded: loading.Loaded,
    request: uses.Request,
    lines: dict[int, Line],
    *,
    first: int = 0,
) -> Iterator[asking.Example]:
    """What is asked of each entry from the `first` on, whose language is told; one that cannot be used becomes a line
    with its error."""
    plain = _plain(loaded.data.manifest)
    for number, entry in enumerate(found[first:], first):
        language = told[number]
        try:
            example = request.meaning.example(_given(entry, language, request, plain), loaded.vocabulary)
            if request.out_dir is not None:
                example["path"] = _sound_file(request.out_dir, entry.id)
            reason = packing.misfit(packing.demand(example, loaded.data.row), loaded.data.row)
        except ValueError as error:  # Of what the entry names or lacks, or a language that the vocabulary lacks.
            reason = str(error)
            example = {}
        if reason is None:
            yield {**example, "id": entry.id, "number": number, "origin": (0, number, 0)}
        else:
            lines[number] = {"id": entry.id, "error": entries.readable(reason)}


def _tell_untrained(trained_on: config.Manifest | None, request: uses.Request) -> None:
    """Says it where the manifest that a model was trained on last asks for something else; what came before it is not
    known."""
    if trained_on is None:
        return
    objectives = [name.removeprefix("spoken_").removeprefix("speech_") for name, _ in trained_on.objectives]
    doing, objective = request.meaning.doing, request.meaning.objective
    if objective not in objectives:
        runtime.say(f"{doing}: the model's last training had no {objective}; what it says may mean nothing.")
        return
    for flag, asked, trained in (
        ("--about", request.about, trained_on.about),
        ("--to", request.to, trained_on.target_language),
        ("--language", request.language, trained_on.language),
        ("--speaker", request.speaker, trained_on.speaker and f"{{{trained_on.speaker}}}"),
    ):
        # What stood in a field, in braces, may have been anything.
        if asked not in (None, trained) and not trained.startswith("{"):
            with_what = f"with {flag}={trained}" if trained else f"without {flag}"
            runtime.say(f"{flag}={asked}: the model was last trained {with_what}; what it says may mean nothing.")


def _plain(trained_on: config.Manifest | None) -> Callable[[str], str]:
    """Texts as the tasks of the manifest made them that a model was trained on."""
    if trained_on is None or not trained_on.plain:
        return lambda text: text
    with runtime.without_loading_notes():
        from speechlm_jax.data import manifest_objectives

    return manifest_objectives.plain


def _given(entry: entries.Entry, language: str, request: uses.Request, plain: Callable[[str], str]) -> asking.Given:
    return asking.Given(
        audio=entry.samples() if "audio" in request.meaning.reads else None,
        text=plain(entry.field("text")),
        language=language,
        to=request.to or "",
        about=request.about or "",
        question=plain(entry.field("question")),
        speaker=entry.field("speaker"),
    )


def _sound_file(folder: str, name: str) -> pathlib.Path:
    """Where what is spoken for the entry of this id is written. Raises ValueError for an id that is no file's name."""
    relative = pathlib.PurePosixPath(f"{name}.wav")
    strange = str(relative) != f"{name}.wav" or relative.is_absolute() or ".." in relative.parts or "\0" in name
    if strange or max(len(part.encode()) for part in relative.parts) > _NAME_BYTES:
        raise ValueError(f"naming a file in {folder} after it: the id {name!r} is not a path below a folder")
    return pathlib.Path(folder, relative)


_NAME_BYTES = 255
"""The longest name of a file that common file systems take."""


def _of_use(loaded: loading.Loaded, request: uses.Request, decode_steps: int | None) -> Answers:
    """How the lines of a batch come about. Raises ValueError for a model that has no such head."""
    if request.use == "speak":
        return _spoken(loaded, request)
    if request.use == "match":
        return _matched(loaded)
    return _written(loaded, request, decode_steps)


def _written(loaded: loading.Loaded, request: uses.Request, decode_steps: int | None) -> Answers:
    by_ctc = request.search == "ctc"
    if by_ctc and not (loaded.model.ctc and "ctc" in loaded.heads):
        raise ValueError(f"transcribing with {loaded.folder}: it was trained with no CTC head. Use --search=decoder.")
    loading.check_search(loaded, request.decoding)
    words = loaded.vocabulary
    generator = generate.Generator(
        loaded.graphdef,
        row=loaded.data.row,
        mesh=loaded.mesh,
        steps=0 if by_ctc else decode_steps,
        search=request.decoding,
        labels=_labels(loaded, request, decode_steps),
        language_model=None if request.language_model is None else language_model(request.language_model, loaded),
        forbidden=hypotheses.Forbidden(words.forbidden, words.forbidden_first),
    )

    def answers(packed: batches.Packed) -> Iterator[tuple[int, Line]]:
        for decoded in generator(loaded.params, packed):
            text = words.decode((decoded.ctc_tokens if by_ctc else decoded.tokens) or [])
            line = {"id": decoded.example["id"], "text": text, "seconds": _seconds(decoded.example["audio"])}
            if request.decoding.best > 1:
                found = [{"text": words.decode(one.tokens), "score": round(one.score, 4)} for one in decoded.texts]
                line["texts"] = found
            yield decoded.example["number"], {**line, "cut": True} if decoded.cut else line

    return answers


def _labels(loaded: loading.Loaded, request: uses.Request, decode_steps: int | None) -> list[list[int]]:
    """The texts to choose among, as training wrote them. Raises ValueError for one that there is no room to write."""
    plain = _plain(loaded.data.manifest) if request.use == "answer" else str.strip
    tokens = [loaded.vocabulary.encode(plain(label)) for label in request.label]
    room = loaded.data.row.targets if decode_steps is None else decode_steps
    for label, own in zip(request.label, tokens, strict=True):
        if not 0 < len(own) < room:
            raise ValueError(
                f"{request.meaning.doing}: wanted a --label of 1 to {room - 1} tokens, found {len(own)} in {label!r}."
            )
    return tokens


def language_model(checkpoint: str, loaded: loading.Loaded) -> generate.LanguageModel:
    """A checkpoint that is to say how likely the texts of another one are. Raises ValueError where it has another
    vocabulary."""
    found = loading.load(checkpoint, rows=loaded.data.rows)
    vocabulary.check_same(found.vocabulary.hash, loaded.vocabulary, f"the language model {found.folder}")
    if found.model.vocabulary_size != loaded.model.vocabulary_size:
        raise ValueError(
            f"asking the language model {found.folder} beside {loaded.folder}: wanted embeddings of one size, found "
            f"Model.vocabulary_size = {found.model.vocabulary_size} and {loaded.model.vocabulary_size}."
        )
    return generate.LanguageModel(found.graphdef, found.params)


def _matched(loaded: loading.Loaded) -> Answers:
    if not loaded.model.matching:
        raise ValueError(
            f"matching with {loaded.folder}: the model does not say whether a text was spoken. Name one that was "
            "trained with Model.matching = True."
        )
    matcher = matching.Matcher(loaded.graphdef, mesh=loaded.mesh)

    def answers(packed: batches.Packed) -> Iterator[tuple[int, Line]]:
        for example, share in matcher(loaded.params, packed):
            text = label_metrics.MATCH if share > 0.5 else label_metrics.MISMATCH
            line = {"id": example["id"], "text": text, "seconds": _seconds(example["audio"]), "score": round(share, 4)}
            yield example["number"], line

    return answers


def _spoken(loaded: loading.Loaded, request: uses.Request) -> Answers:
    speech, steps = loaded.model.speech_out, loaded.data.row.target_audio_steps
    if speech is None or not steps:
        raise ValueError(
            f"speaking with {loaded.folder}: the model writes no speech. Name one that was trained with "
            "Model.speech_out and Row.target_audio_seconds."
        )
    speaker = speaking.Speaker(
        loaded.graphdef, speech, mesh=loaded.mesh, steps=steps, temperature=request.temperature, seed=request.seed
    )

    def answers(packed: batches.Packed) -> Iterator[tuple[int, Line]]:
        for example, samples, cut in speaker(loaded.params, packed):
            example["path"].parent.mkdir(parents=True, exist_ok=True)
            audio.write(example["path"], samples)
            line = {"id": example["id"], "audio": str(example["path"]), "seconds": _seconds(samples)}
            yield example["number"], {**line, "cut": True} if cut else line

    return answers


def _seconds(samples: Any) -> float:
    return round(len(samples) / batch_room.SAMPLE_RATE, 3)
