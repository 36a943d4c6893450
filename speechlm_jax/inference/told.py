"""Answers on their way out: in the order of what was asked, the pieces of a recording joined, in the format that is
wanted, and behind those that a former life of the command has written."""

import contextlib
import json
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from speechlm_jax import batch, runtime, whole_files
from speechlm_jax.inference import alignment, captions, going_on, pieces, transcripts

Line = dict[str, Any]
"""An answer, or what was heard in a piece of a recording: {"id", "seconds", "heard", "last"}."""


def of_piece(
    name: str,
    piece: pieces.Piece,
    text: str,
    words: list[alignment.Word] | None,
    sound: list[tuple[float, float]],
    *,
    loops: bool = False,
    fell_back: bool = False,
) -> Line:
    """The line of a piece of the recording of this id."""
    own = piece.own[0] / batch.SAMPLE_RATE, piece.own[1] / batch.SAMPLE_RATE
    heard = transcripts.Heard(text, own, words, sound, loops, fell_back)
    return {"id": name, "seconds": round(piece.end / batch.SAMPLE_RATE, 3), "heard": heard, "last": piece.last}


def is_last(line: Line) -> bool:
    """Whether nothing more comes of its entry."""
    return line.get("last", True)


def answers(lines: Iterable[Line]) -> Iterator[Line]:
    """An answer of each entry, of lines in order."""
    heard: list[transcripts.Heard] = []
    cut = False
    for line in lines:
        if "heard" in line:
            heard.append(_heard(line["heard"]))
        cut = cut or line.get("cut", False)
        if not is_last(line):
            continue
        told = {name: value for name, value in line.items() if name not in ("heard", "last", "cut")}
        yield told | (_transcript(heard) if heard else {}) | ({"cut": True} if cut else {})
        heard, cut = [], False


def _heard(told: Iterable[Any]) -> transcripts.Heard:
    """As it was, where it has been JSON."""
    heard = transcripts.Heard(*told)
    words = None if heard.words is None else [alignment.Word(*word) for word in heard.words]
    return heard._replace(own=tuple(heard.own), words=words)


def _transcript(heard: list[transcripts.Heard]) -> Line:
    found = transcripts.segments(heard)
    return {
        "text": transcripts.text(found),
        "segments": [segment.as_json() for segment in found],
        "coverage": transcripts.coverage(heard, found),
    }


class Out:
    """Where lines go. Each bears a number, from `written` on, and waits for those before it."""

    def __init__(self, write: Callable[[Line], None], before: Iterable[Line] = ()):
        """`before`: lines that are written already."""
        self._write, self._waiting = write, dict[int, Line]()
        self.written = self.entries = self.answered = self.pieces = 0
        """Lines; entries of which all are written; those that are no errors; and lines of the entry that is begun."""
        for line in before:
            self._count(line)

    def add(self, number: int, line: Line) -> int:
        """Writes the line once all before it are there; returns how many entries that ends."""
        before = self.entries
        self._waiting[number] = line
        while self.written in self._waiting:
            line = self._waiting.pop(self.written)
            self._write(line)
            self._count(line)
        return self.entries - before

    def _count(self, line: Line) -> None:
        self.written += 1
        self.pieces += 1
        if is_last(line):
            self.entries, self.pieces = self.entries + 1, 0
            self.answered += "error" not in line


@contextlib.contextmanager
def opened(path: str | None, does: Any, form: str, folder: str | None) -> Iterator[Out]:
    """To standard output, to a file of each answer in a folder, or to a file that bears its name once it is whole,
    which goes on behind what a command that `does` the same has written."""
    if path is not None and folder is not None and form in captions.FORMATS:
        raise ValueError(f"writing answers: wanted --out={path} or --out_dir={folder}, found both. Name one of them.")
    if path is None:
        begun: list[Line] = []

        def write(line: Line) -> None:
            begun.append(line)
            if is_last(line):
                for answer in answers(begun):
                    _tell(answer, form, folder)
                begun.clear()

        yield Out(write)
        return
    lines = going_on.Begun(path, does)
    with lines.opened() as file:
        yield Out(lambda line: print(json.dumps(line, ensure_ascii=False), file=file, flush=True), lines.told)
    with whole_files.whole(pathlib.Path(path)) as part, part.open("w", encoding="utf-8") as file:
        for answer in answers(lines.read()):
            file.write(show(answer, form))
    lines.remove()


def _tell(answer: Line, form: str, folder: str | None) -> None:
    if folder is None or form not in captions.FORMATS:
        print(show(answer, form), end="", flush=True)
        return
    told = show(answer, form)
    # Of a recording that is damaged there is what was heard until there.
    if "error" not in answer or answer.get("text"):
        file = file_in(folder, answer["id"], captions.ENDINGS[form])
        file.parent.mkdir(parents=True, exist_ok=True)
        whole_files.write_text(file, told)


def show(answer: Mapping[str, Any], form: str) -> str:
    """An answer in a format; what could not be answered is told to the terminal where the format has no place for it,
    and leaves an empty line in a text, or what was heard before a recording's damage."""
    if form == "jsonl":
        return json.dumps(answer, ensure_ascii=False) + "\n"
    if "error" in answer:
        runtime.say(f"{answer['id']}: {answer['error']}")
    return captions.FORMATS[form]({"text": "", "segments": [], **answer})


def file_in(folder: str, name: str, ending: str) -> pathlib.Path:
    """Where what belongs to the entry of this id is written. Raises ValueError for an id that is no file's name."""
    relative = pathlib.PurePosixPath(f"{name}{ending}")
    strange = str(relative) != f"{name}{ending}" or relative.is_absolute() or ".." in relative.parts or "\0" in name
    if strange or max(len(part.encode()) for part in relative.parts) > _NAME_BYTES:
        raise ValueError(f"naming a file in {folder} after it: the id {name!r} is not a path below a folder")
    return pathlib.Path(folder, relative)


_NAME_BYTES = 255
"""The longest name of a file that common file systems take."""
