"""Examples of a run to look at and to listen to: speech with what was said when, and where the decoder looked."""

import base64
import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from speechlm_jax import batch
from speechlm_jax.inference import shown
from speechlm_jax.reporting import charts

_MOST_STEPS = 400
"""Of a picture of looks, which is reduced where there are more."""
_LETTERS = 50
"""That stand side by side above a picture."""
_FEW = 60
"""Names of steps, or of places, that are written at an axis."""


class Sound(NamedTuple):
    """A recording, for a browser to play."""

    name: str
    uri: str


class Example(NamedTuple):
    """One of them."""

    title: str
    texts: list[tuple[str, str]]
    """What each says, by what it is."""
    sounds: list[Sound]
    pictures: list[charts.Chart]


def of(found: Sequence[shown.Shown]) -> list[Example]:
    """As a page shows them."""
    return [Example(f"{one.task}: {one.why}", _texts(one), _sounds(one), _pictures(one)) for one in found]


def _texts(one: shown.Shown) -> list[tuple[str, str]]:
    told = one.texts()
    if one.likelihood is not None:
        told["log P of a token"] = f"{one.likelihood:.3f}"
    return list(told.items())


_NAMES = {"heard": "heard", "wanted_speech": "wanted", "spoken": "spoken"}
_TITLES = {"heard": "Speech", "wanted_speech": "Speech that is wanted", "spoken": "Speech of the model"}


def _sounds(one: shown.Shown) -> list[Sound]:
    return [Sound(_NAMES[name], _uri(samples)) for name, samples in one.speech().items()]


def _uri(samples: np.ndarray) -> str:
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, samples, batch.SAMPLE_RATE, format="FLAC")
    return f"data:audio/flac;base64,{base64.b64encode(file.getvalue()).decode()}"


def _pictures(one: shown.Shown) -> list[charts.Chart]:
    found = []
    for name, samples in one.speech().items():
        words = one.words if name == "heard" else ()
        caption = "log-mel; words where the CTC head hears them" if words else "log-mel"
        found.append(_mel(_TITLES[name], caption, samples, words))
    return found if one.look is None else [*found, _look(one.look)]


def _mel(name: str, caption: str, samples: np.ndarray, words: Sequence[tuple[str, float, float]] = ()) -> charts.Chart:
    # A byte for each value: a page of many pictures stays small.
    bytes_MT = shown.as_bytes(shown.log_mel(samples))
    figure = charts.plain_figure("mel channel", "seconds")
    seconds = batch.HOP / batch.SAMPLE_RATE
    figure.add_heatmap(z=bytes_MT, x0=0, dx=seconds, colorscale="Magma", showscale=False, hoverinfo="skip")
    lines = _lines(words, len(samples) / batch.SAMPLE_RATE)
    above = 7 * (max(lines) + 1) + 6 if words else 0
    if words:
        figure.add_scatter(
            x=[(start + end) / 2 for _, start, end in words],
            y=[len(bytes_MT) + 5 + 7 * line for line in lines],
            text=[charts.plain(word) for word, *_ in words],
            hovertext=[f"{charts.plain(word)}: {start:.2f} to {end:.2f} s" for word, start, end in words],
            mode="text",
            hoverinfo="text",
        )
        for _, start, _ in words:
            figure.add_vline(x=start, line={"color": "rgba(255,255,255,0.55)", "width": 1})
    figure.update_layout(height=round(210 + 2 * above), showlegend=False, hovermode="closest")
    figure.update_yaxes(range=[0, len(bytes_MT) + above], showgrid=False, showticklabels=False)
    return charts.Chart(name, caption, figure)


def _lines(words: Sequence[tuple[str, float, float]], seconds: float) -> list[int]:
    """Of each word the line that it is written on above a picture so long: the first one that has room for it."""
    letter = seconds / _LETTERS
    written: list[float] = []
    found = []
    for word, start, end in words:
        middle, half = (start + end) / 2, letter * (len(word) + 1) / 2
        line = next((line for line, until in enumerate(written) if until <= middle - half), len(written))
        written[line : line + 1] = [middle + half]
        found.append(line)
    return found


def _look(look: shown.Look) -> charts.Chart:
    shares = shown.reduced(look.shares, _MOST_STEPS)
    every = [shown.block(size, _MOST_STEPS) for size in look.shares.shape]
    # Speech stands at its seconds, text behind it a position each.
    of_position = look.seconds if not look.places else 1.0
    figure = charts.plain_figure("step", "position" if look.places else "seconds")
    bytes_US = np.round(255 * np.clip(shares, 0, 1)).astype(np.uint8)
    across = {"x0": of_position / 2, "dx": every[1] * of_position}
    figure.add_heatmap(z=bytes_US, **across, dy=every[0], colorscale="Viridis", showscale=False, hoverinfo="skip")
    if 0 < len(look.steps) <= _FEW:
        figure.update_yaxes(
            tickvals=list(range(len(look.steps))), ticktext=[*map(charts.plain, look.steps)], title=None
        )
    speech = look.shares.shape[1] - len(look.places)
    if 0 < len(look.places) <= _FEW:
        places = [speech + number + 0.5 for number in range(len(look.places))]
        figure.update_xaxes(tickvals=places, ticktext=[*map(charts.plain, look.places)], title=None)
    figure.update_yaxes(autorange="reversed", showgrid=False)
    figure.update_xaxes(showgrid=False)
    steps = len(look.steps) or look.shares.shape[0]
    figure.update_layout(height=max(260, min(150 + 16 * steps, 620)), showlegend=False, hovermode="closest")
    caption = f"layer {look.layer + 1}, head {look.head + 1}, the most decided one; steps from above"
    return charts.Chart("Where the decoder looks", caption, figure)
