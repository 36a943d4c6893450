"""One HTML page that needs no network: tabs, with a column for each of what is told side by side."""

import html
import importlib.resources
import os
import pathlib
import string
import time
from collections.abc import Mapping, Sequence

from speechlm_jax import whole_files
from speechlm_jax.reporting import charts, examples


def write(title: str, tabs: Mapping[str, Sequence[str]]) -> str:
    """The page. tabs: by name, the HTML of each column; as many in every tab."""
    buttons, panels = [], []
    for name, columns in tabs.items():
        key, first = name.lower().replace(" ", "-"), name == next(iter(tabs))
        chosen = str(first).lower()
        buttons.append(
            f'<button role="tab" id="tab-{key}" aria-controls="{key}" aria-selected="{chosen}">{name}</button>'
        )
        inside = "".join(f'<section class="column">{column}</section>' for column in columns)
        hidden = "" if first else " hidden"
        panels.append(f'<div role="tabpanel" id="{key}" aria-labelledby="tab-{key}"{hidden}>{inside}</div>')
    plotly = importlib.resources.files("plotly").joinpath("package_data", "plotly.min.js").read_text(encoding="utf-8")
    return string.Template(_file("page.html")).substitute(
        title=html.escape(title),
        style=_file("page.css"),
        written=time.strftime("%Y-%m-%d %H:%M", time.localtime()),
        tabs="".join(buttons),
        columns=max(map(len, tabs.values())),
        panels="".join(panels),
        plotly=plotly,
        script=_file("page.js"),
    )


def keep(path: str | os.PathLike[str], page: str) -> None:
    """Writes a page, and makes the folder that it is to lie in."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    whole_files.write_text(path, page)


def _file(name: str) -> str:
    return importlib.resources.files("speechlm_jax.reporting").joinpath(name).read_text(encoding="utf-8")


def plots(found: Sequence[charts.Chart], key: str) -> str:
    """Charts; `key` tells them from others of the page."""
    if not found:
        return note("nothing yet")
    parts = []
    for number, chart in enumerate(found):
        # A text in it may not end the script that holds it.
        figure = str(chart.figure.to_json()).replace("</", "<\\/")
        caption = f"<p>{html.escape(chart.caption)}</p>" if chart.caption else ""
        parts.append(
            f'<figure class="chart"><figcaption><h3>{html.escape(chart.name)}</h3>{caption}</figcaption>'
            f'<div class="plot" id="{key}-{number}"></div>'
            f'<script type="application/json" data-for="{key}-{number}">{figure}</script></figure>'
        )
    return "".join(parts)


def cards(told: Mapping[str, str]) -> str:
    """Single values by name."""
    shown = "".join(f"<div><dt>{name}</dt><dd>{html.escape(value)}</dd></div>" for name, value in told.items())
    return f'<dl class="cards">{shown}</dl>'


def look_at(found: Sequence[examples.Example], key: str) -> str:
    """Examples with their texts, recordings and pictures."""
    parts = []
    for number, one in enumerate(found):
        texts = "".join(f"<div><dt>{name}</dt><dd>{html.escape(text)}</dd></div>" for name, text in one.texts)
        sounds = "".join(
            f'<label class="sound">{sound.name} <audio controls preload="metadata" src="{sound.uri}"></audio></label>'
            for sound in one.sounds
        )
        pictures = plots(one.pictures, f"{key}-{number}") if one.pictures else ""
        parts.append(
            f'<section class="example"><h3>{html.escape(one.title)}</h3><dl class="told">{texts}</dl>{sounds}'
            f'<div class="pictures">{pictures}</div></section>'
        )
    return "".join(parts)


def table(name: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The first of each row names it."""
    head = "".join(f"<th>{html.escape(text)}</th>" for text in heads)
    body = "".join(
        f'<tr><th scope="row">{html.escape(first)}</th>{"".join(f"<td>{html.escape(text)}</td>" for text in rest)}</tr>'
        for first, *rest in rows
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<figure><figcaption><h3>{html.escape(name)}</h3></figcaption><div class="wide">{table}</div></figure>'


def text(words: str) -> str:
    """Lines as they are."""
    return f"<pre>{html.escape(words or '(none)')}</pre>"


def note(words: str) -> str:
    """Words beside the rest, or where there is nothing else."""
    return f'<p class="none">{words}</p>'


def number(value: float | None) -> str:
    """For the eye."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def interval(low: float | None, high: float | None) -> str:
    """From and to."""
    return f"{number(low)} to {number(high)}"


def share(value: float | None) -> str:
    """In percent."""
    return "-" if value is None else f"{value:.1%}"
