"""Transcripts as people and players read them: text, SubRip (SRT) and WebVTT. Needs no JAX."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Line = Mapping[str, Any]


def plain(line: Line) -> str:
    """The text, in a line."""
    return " ".join(line["text"].split()) + "\n"


def srt(line: Line) -> str:
    """SubRip: numbered, a comma before the thousandths."""
    cues = [
        f"{number}\n{_span(segment, ',')}\n{_shown(segment['text'])}\n"
        for number, segment in enumerate(line["segments"], 1)
    ]
    return "\n".join(cues)


def vtt(line: Line) -> str:
    """WebVTT (https://www.w3.org/TR/webvtt1/)."""
    cues = [f"{_span(segment, '.')}\n{_escaped(_shown(segment['text']))}\n" for segment in line["segments"]]
    return "\n".join(["WEBVTT\n", *cues])


FORMATS: Mapping[str, Callable[[Line], str]] = {"text": plain, "srt": srt, "vtt": vtt}
"""--format -> a line of an answer in it; beside these there is jsonl, the lines themselves."""
ENDINGS: Mapping[str, str] = {"text": ".txt", "srt": ".srt", "vtt": ".vtt"}
"""Of their files."""
TIMED = ("srt", "vtt")
"""Those that say when."""


def _span(segment: Line, point: str) -> str:
    return f"{_time(segment['start'], point)} --> {_time(segment['end'], point)}"


def _time(seconds: float, point: str) -> str:
    thousandths = round(seconds * 1000)
    minutes, thousandths = divmod(thousandths, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{thousandths // 1000:02}{point}{thousandths % 1000:03}"


_WIDTH = 42


def _shown(text: str) -> str:
    """In two lines where it is too long for one, parted at the space that leaves the longer one the shortest. A line
    that is empty would end the cue, and no text has one."""
    text = " ".join(text.split())
    spaces: Sequence[int] = [place for place, letter in enumerate(text) if letter == " "]
    if len(text) <= _WIDTH or not spaces:
        return text
    place = min(spaces, key=lambda space: max(space, len(text) - space - 1))
    return f"{text[:place]}\n{text[place + 1 :]}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
