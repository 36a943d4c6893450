"""The pictures of docs/how_it_works.md.

    python benchmarks/pictures.py [--into docs]

packing.svg: utterances padded, and packed by the packer that training uses. shards.svg: eight data shards dealt to one,
two and four processes. restart.svg: a made-up run that is killed, told to stop, and done.
"""

import argparse
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import packing as benchmark

from speechlm_jax import batch
from speechlm_jax.data import packing

COLOURS = ("#3b82c4", "#e07b39", "#4a9d5b", "#b4549c", "#8a6bd1", "#c9a227", "#3aa6a6", "#c94f4f")
_INK, _EMPTY = "#7a8794", "#7a879422"
_WIDTH, _ROW, _GAP = 760, 18, 4


class Box(NamedTuple):
    """A rectangle of a picture; one without a colour is room that is not used."""

    x: float
    y: float
    width: float
    height: float
    colour: str = _EMPTY


class Words(NamedTuple):
    """Text whose line begins there."""

    x: float
    y: float
    text: str


def svg(height: float, boxes: Sequence[Box], words: Sequence[Words]) -> str:
    """The picture: readable on light and on dark pages."""
    shapes = [
        f'<rect x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" fill="{box.colour}"/>'
        for box in boxes
    ]
    texts = [f'<text x="{one.x:.1f}" y="{one.y:.1f}">{one.text}</text>' for one in words]
    style = f"text{{font:13px system-ui,sans-serif;fill:{_INK}}}"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}" width="{_WIDTH}">'
    return "\n".join([head, f"<style>{style}</style>", *shapes, *texts, "</svg>"]) + "\n"


def packed(rows: int = 8, seconds: float = 35.0) -> str:
    """Utterances about as long as LibriSpeech's: each in a row of 30 s, and in rows of `seconds`."""
    row = batch.Row(audio_seconds=seconds, targets=400, segments=16)
    lengths = benchmark.librispeech_like(200, np.random.default_rng(1))
    _, demands = benchmark.speech_examples(lengths, np.random.default_rng(2))
    packer: packing.Packer[int] = packing.Packer(packing.capacity(row), benchmark.OPEN_ROWS)
    closed = [full for number, needed in enumerate(demands) if (full := packer.add(number, needed))]
    closed = (closed + list(packer.flush()))[:rows]
    scale, boxes, words = (_WIDTH - 20) / 2 / seconds, [], []
    for side, (title, laid, room) in enumerate(
        (
            ("padded to 30 s", [[number] for number in range(rows)], 30.0),
            (f"packed into {seconds:.0f} s", closed, seconds),
        )
    ):
        left = side * (_WIDTH / 2 + 10)
        used = 0.0
        for place, members in enumerate(laid):
            y, x = 26 + place * (_ROW + _GAP), left
            boxes.append(Box(left, y, room * scale, _ROW))
            for number in members:
                wide = min(lengths[number], room) * scale
                boxes.append(Box(x, y, max(wide - 1, 1), _ROW, COLOURS[number % len(COLOURS)]))
                x, used = x + wide, used + wide / scale
        words.append(Words(left, 16, f"{title}: {used / room / len(laid):.0%} is speech"))
    return svg(26 + rows * (_ROW + _GAP), boxes, words)


def shards(number: int = 8, counts: Sequence[int] = (1, 2, 4)) -> str:
    """A global batch of so many data shards, dealt to so many processes."""
    boxes, words, y = [], [], 0.0
    wide = (_WIDTH - 130) / number
    for count in counts:
        words.append(Words(0, y + 20, f"{count} process{'es' if count > 1 else ''}"))
        for shard in range(number):
            process = shard * count // number
            boxes.append(Box(130 + shard * wide, y + 4, wide - 3, 24, COLOURS[process]))
        y += 38
    words += [Words(130 + shard * wide + wide / 2 - 22, y + 14, f"shard {shard}") for shard in range(number)]
    return svg(y + 24, boxes, words)


_LIVES = (
    ("killed", (("start", 6), ("compile", 8), ("step", 30), ("lost", 7))),
    ("told to stop", (("start", 6), ("compile", 2), ("step", 24), ("save", 2))),
    ("done", (("start", 6), ("compile", 2), ("step", 20), ("evaluation", 5), ("save", 2))),
)
_PHASES = {"start": 5, "compile": 4, "step": 2, "lost": 7, "save": 0, "evaluation": 1}


def restarts() -> str:
    """Three lives of a run: what a kill costs, and what a notice does not."""
    total = sum(long for _, phases in _LIVES for _, long in phases)
    scale, x, boxes, words = (_WIDTH - 12) / total, 0.0, [], []
    for end, phases in _LIVES:
        words.append(Words(x, 16, end))
        for phase, long in phases:
            boxes.append(Box(x, 26, long * scale - 1, 34, COLOURS[_PHASES[phase]]))
            x += long * scale
        x += 4
    for place, (phase, colour) in enumerate(_PHASES.items()):
        boxes.append(Box(place * 110, 74, 12, 12, COLOURS[colour]))
        words.append(Words(place * 110 + 18, 85, phase))
    return svg(94, boxes, words)


PICTURES = {"packing.svg": packed, "shards.svg": shards, "restart.svg": restarts}


def main() -> None:
    """Writes all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", type=pathlib.Path, default=pathlib.Path(__file__).parents[1] / "docs")
    into = parser.parse_args().into
    for name, draw in PICTURES.items():
        (into / name).write_text(draw())


if __name__ == "__main__":
    main()
