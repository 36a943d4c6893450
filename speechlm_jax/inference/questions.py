"""What is asked of a model about each entry, as examples that fit a row: a long recording in pieces."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from speechlm_jax import batch, runtime
from speechlm_jax.data import config, packing
from speechlm_jax.inference import asking, entries, loading, pieces, told, uses


class Cuts(NamedTuple):
    """How long recordings are cut, in samples."""

    longest: int
    margin: int


def cuts(loaded: loading.Loaded, request: uses.Request) -> Cuts | None:
    """How recordings are cut that a row does not hold; None for a use that has to hear all at once, and for a model
    that hears nothing. Raises ValueError where a row does not hold what is asked for."""
    row = loaded.data.row
    if not request.meaning.by_pieces or not row.audio_positions:
        return None
    room = row.longest_samples
    longest = room if request.piece_seconds is None else round(request.piece_seconds * batch.SAMPLE_RATE)
    if longest > room:
        raise ValueError(
            f"{request.meaning.doing} with {loaded.folder}: wanted --piece_seconds of {room / batch.SAMPLE_RATE:g} at "
            f"most, which a row holds (Row.audio_seconds), found {request.piece_seconds:g}."
        )
    margin = round(pieces.MARGIN_SECONDS * batch.SAMPLE_RATE) if hears_words(loaded, request) else 0
    return Cuts(longest, min(margin, (longest - 1) // 8))


def hears_words(loaded: loading.Loaded, request: uses.Request) -> bool:
    """Whether the model can tell when each word was said."""
    return request.use == "transcribe" and loaded.hears


def rows_needed(found: Sequence[entries.Entry], request: uses.Request) -> int:
    """As many rows as hold all there is to do, or more."""
    if len(found) >= loading.ROWS or not request.meaning.by_pieces:
        return len(found)
    return len(found) if all(entry.is_short() for entry in found) else loading.ROWS


def examples(
    found: Sequence[entries.Entry],
    languages: Sequence[str],
    loaded: loading.Loaded,
    request: uses.Request,
    cut: Cuts | None,
    out: told.Out,
    add: Callable[[int, told.Line], object],
) -> Iterator[asking.Example]:
    """What is asked of each entry, or of each of its pieces, behind those whose lines are out; numbered as lines are.

    `add` gets the line of what is not asked: an error of an entry that cannot be used, and a piece without a sound.
    """
    plain = plainly(loaded.data.manifest)
    number, first, done = out.written, out.entries, out.pieces
    for place in range(first, len(found)):
        entry = found[place]
        try:
            named = {} if request.out_dir is None else {"path": told.file_in(request.out_dir, entry.id, ".wav")}
            parts = enumerate(_parts(entry, cut))
            for count, piece in itertools.islice(parts, done if place == first else 0, None):
                alone = piece is None or (piece.last and not piece.start and not request.tells_times)
                sound = [] if piece is None or alone else pieces.sound(piece)
                if piece is not None and not alone and not sound:
                    add(number, told.of_piece(entry.id, piece, "", [], sound))
                else:
                    given = _given(entry, piece, languages[place], request, plain)
                    example = request.meaning.example(given, loaded.vocabulary)
                    reason = packing.misfit(packing.demand(example, loaded.data.row), loaded.data.row)
                    if reason:
                        raise ValueError(reason)
                    own = {"id": entry.id, "number": number, "origin": (0, place, count)}
                    yield {**example, **own, **named, "piece": None if alone else piece, "sound": sound}
                number += 1
        except ValueError as error:  # Of what the entry names or lacks, or a language that the vocabulary lacks.
            add(number, {"id": entry.id, "error": entries.readable(str(error))})
            number += 1


def plainly(trained_on: config.Manifest | None) -> Callable[[str], str]:
    """Texts as the tasks of the manifest made them that a model was trained on."""
    if trained_on is None or not trained_on.plain:
        return lambda text: text
    with runtime.without_loading_notes():
        runtime.hide_accelerators_from_tensorflow()
        from speechlm_jax.data import manifest_objectives

    return manifest_objectives.plain


def _parts(entry: entries.Entry, cut: Cuts | None) -> Iterator[pieces.Piece | None]:
    """The pieces of a recording; None for what is asked about as a whole."""
    blocks = None if cut is None else entry.blocks()
    if cut is None or blocks is None:
        yield None
    else:
        yield from pieces.cut(blocks, longest=cut.longest, margin=cut.margin)


def _given(
    entry: entries.Entry,
    piece: pieces.Piece | None,
    language: str,
    request: uses.Request,
    plain: Callable[[str], str],
) -> asking.Given:
    audio = piece.samples if piece is not None else entry.samples() if "audio" in request.meaning.reads else None
    return asking.Given(
        audio=audio,
        text=plain(entry.field("text")),
        language=language,
        to=request.to or "",
        about=request.about or "",
        question=plain(entry.field("question")),
        speaker=entry.field("speaker"),
    )
