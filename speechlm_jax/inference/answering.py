"""Recordings and texts to a model's answers, from files to JSON lines."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from speechlm_jax import audio, label_metrics, runtime, vocabulary
from speechlm_jax import batch as batch_room
from speechlm_jax.data import batches, config
from speechlm_jax.inference import (
    aligning,
    alignment,
    entries,
    generate,
    going_on,
    hypotheses,
    languages,
    loading,
    matching,
    pieces,
    questions,
    speaking,
    told,
    transcripts,
    uses,
)
from speechlm_jax.inference.told import Line

Answers = Callable[[batches.Packed], Iterator[tuple[int, Line]]]
"""From a packed batch to the number and the line of each of its entries."""


class Asker:
    """A model, to be asked for one use of it."""

    def __init__(self, loaded: loading.Loaded, request: uses.Request, answers: Answers):
        """`answers`: of such a request. Raises ValueError for a vocabulary that lacks a language."""
        self._loaded, self._request = loaded, request
        self._cuts = questions.cuts(loaded, request)
        self._answers = answers
        if request.to is not None:
            loaded.vocabulary.language(request.to)

    def ask(self, found: Sequence[entries.Entry], out: told.Out, add: Callable[[int, Line], object]) -> None:
        """Hands `add` the line of each entry behind those of `out`, or of each of its pieces."""
        row, request = self._loaded.data.row, self._request
        takes_language = "language" in request.meaning.takes
        spoken = languages.of_each(found, self._loaded, request.language) if takes_language else [""] * len(found)
        examples = questions.examples(found, spoken, self._loaded, request, self._cuts, out, add)
        for packed in batches.pack(examples, row, rows=self._loaded.data.rows):
            for number, line in self._answers(packed):
                add(number, line)


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
    loaded = loading.load(checkpoint, rows=rows, enough=questions.rows_needed(found, request))
    asker = Asker(loaded, request, answers_of(loaded, request, decode_steps))
    unit = "inputs" if "text" in request.meaning.reads else "recordings"
    doing = request.meaning.doing
    does = None if out_path is None else _does(loaded.folder, request, decode_steps, found)
    lines = told.opened(out_path, does, request.format, request.out_dir)
    with lines as out, runtime.Progress(doing, total=len(found), unit=unit) as progress:
        progress.advance(out.entries)
        asker.ask(found, out, lambda number, line: progress.advance(out.add(number, line)))
    if not out.answered:
        raise ValueError(f"{doing}: none of the {len(found)} {unit} could be used; each line says why.")
    if failed := out.entries - out.answered:
        runtime.say(f"{doing}: {failed:,} of {len(found):,} {unit} could not be used; each line says why.")


def _does(
    checkpoint: str, request: uses.Request, decode_steps: int | None, found: Sequence[entries.Entry]
) -> list[Any]:
    """What is asked of which step, about which files."""
    about = [(entry.id, dict(entry.said), entry.files()) for entry in found]
    stamps = {file: going_on.stamp(file) for file in sorted({file for *_, own in about for file in own})}
    named = (checkpoint, request.language_model, request.aligner)
    models = [going_on.stamp_of_step(name) for name in named if name is not None]
    return [models, dataclasses.asdict(request), decode_steps, about, stamps]


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


def answers_of(loaded: loading.Loaded, request: uses.Request, decode_steps: int | None = None) -> Answers:
    """How the lines of a batch come about, for all requests of one `program`. Raises ValueError where the model has no
    such head."""
    _tell_untrained(loaded.data.manifest, request)
    if request.use == "speak":
        return _spoken(loaded, request)
    if request.use == "match":
        return _matched(loaded)
    return _written(loaded, request, decode_steps)


def _written(loaded: loading.Loaded, request: uses.Request, decode_steps: int | None) -> Answers:
    by_ctc = request.search == "ctc"
    if by_ctc and not loaded.hears:
        raise ValueError(f"transcribing with {loaded.folder}: it was trained with no CTC head. Use --search=decoder.")
    loading.check_search(loaded, request.decoding)
    words, timed = loaded.vocabulary, questions.hears_words(loaded, request)
    aligner = None if request.aligner is None else _aligner(request.aligner, loaded, request)
    generator = generate.Generator(
        loaded.graphdef,
        row=loaded.data.row,
        mesh=loaded.mesh,
        steps=0 if by_ctc else decode_steps,
        search=request.decoding,
        labels=_labels(loaded, request, decode_steps),
        language_model=None if request.language_model is None else language_model(request.language_model, loaded),
        forbidden=hypotheses.forbidden_of(words),
        times=timed and not by_ctc,
    )

    def answers(packed: batches.Packed) -> Iterator[tuple[int, Line]]:
        found = list(generator(loaded.params, packed))
        of_pieces = [one for one in found if one.example["piece"] is not None]
        heard = [_heard(one, loaded, by_ctc=by_ctc, timed=timed) for one in of_pieces]
        if aligner is not None:
            nearer = aligner([(one.example["audio"], had.text) for one, had in zip(of_pieces, heard, strict=True)])
            heard = [had._replace(words=one or had.words) for one, had in zip(nearer, heard, strict=True)]
        for decoded, had in zip(of_pieces, heard, strict=True):
            yield decoded.example["number"], _of_piece(decoded, had)
        for decoded in (one for one in found if one.example["piece"] is None):
            text = words.decode((decoded.ctc_tokens if by_ctc else decoded.tokens) or [])
            line = {"id": decoded.example["id"], "text": text, "seconds": _seconds(decoded.example["audio"])}
            if request.decoding.best > 1:
                line["texts"] = [
                    {"text": words.decode(one.tokens), "score": round(one.score, 4)} for one in decoded.texts
                ]
            yield decoded.example["number"], {**line, "cut": True} if decoded.cut else line

    return answers


class _Heard(NamedTuple):
    """What was heard in a piece of a recording."""

    text: str
    words: list[alignment.Word] | None
    """In seconds of the piece; None where nobody can tell when they were said."""
    loops: bool
    fell_back: bool


def _heard(decoded: generate.Decoded, loaded: loading.Loaded, *, by_ctc: bool, timed: bool) -> _Heard:
    """By the decoder, or where what it wrote cannot be, by the CTC head."""
    tokens, loops, fell_back, times = decoded.tokens, False, False, None
    if not by_ctc:
        times, loops = decoded.times(), transcripts.loops(tokens)
        fell_back = timed and (loops or decoded.cut or times is None)
    if by_ctc or fell_back:
        tokens, times = decoded.ctc_tokens or [], decoded.ctc_times
    decode = loaded.vocabulary.decode
    words = None if times is None else alignment.words(tokens, times, decode, loaded.data.row.position_seconds)
    return _Heard(decode(tokens), words, loops, fell_back)


def _of_piece(decoded: generate.Decoded, heard: _Heard) -> Line:
    """Its line, with times of the recording."""
    piece, found = decoded.example["piece"], None
    if heard.words is not None:
        at = piece.start / batch_room.SAMPLE_RATE
        told_at = [word._replace(start=at + word.start, end=at + word.end) for word in heard.words]
        found = alignment.settled(told_at, pieces.speech(piece))
    told_of = {"loops": heard.loops, "fell_back": heard.fell_back}
    line = told.of_piece(decoded.example["id"], piece, heard.text, found, decoded.example["sound"], **told_of)
    return {**line, "cut": True} if decoded.cut and not heard.fell_back else line


def _aligner(checkpoint: str, loaded: loading.Loaded, request: uses.Request) -> aligning.Aligner:
    """Raises ValueError for a checkpoint that cannot tell when words of the pieces were said."""
    found = aligning.Aligner(loading.load(checkpoint, rows=loaded.data.rows))
    cuts = questions.cuts(loaded, request)
    if cuts is not None and cuts.longest > found.longest:
        rate = batch_room.SAMPLE_RATE
        raise ValueError(
            f"aligning with {checkpoint}: it hears {found.longest / rate:g} s at once, and pieces have "
            f"{cuts.longest / rate:g}. Add --piece_seconds={found.longest / rate:g}, or less."
        )
    return found


def _labels(loaded: loading.Loaded, request: uses.Request, decode_steps: int | None) -> list[list[int]]:
    """The texts to choose among, as training wrote them. Raises ValueError for one that there is no room to write."""
    plain = questions.plainly(loaded.data.manifest) if request.use == "answer" else str.strip
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
