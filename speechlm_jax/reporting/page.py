"""One HTML page that needs no network: what runs have left, in tabs, a column for each run."""

import html
import importlib.resources
import string
import time
from collections.abc import Callable, Sequence

from speechlm_jax.reporting import charts, run_files

Part = Callable[[run_files.Run, str], str]
"""(a run, what tells its charts from those of others) -> HTML."""


def write(runs: Sequence[run_files.Run]) -> str:
    """The page of one run, or of several side by side."""
    buttons, panels = [], []
    for name, part in _TABS.items():
        key, first = name.lower(), name == next(iter(_TABS))
        chosen = str(first).lower()
        buttons.append(
            f'<button role="tab" id="tab-{key}" aria-controls="{key}" aria-selected="{chosen}">{name}</button>'
        )
        columns = [
            f'<section class="column">{_head(run) if len(runs) > 1 else ""}{part(run, f"{key}-{index}")}</section>'
            for index, run in enumerate(runs)
        ]
        hidden = "" if first else " hidden"
        panels.append(f'<div role="tabpanel" id="{key}" aria-labelledby="tab-{key}"{hidden}>{"".join(columns)}</div>')
    plotly = importlib.resources.files("plotly").joinpath("package_data", "plotly.min.js").read_text(encoding="utf-8")
    return string.Template(_file("page.html")).substitute(
        title=html.escape(", ".join(run.folder.name for run in runs)),
        style=_file("page.css"),
        written=time.strftime("%Y-%m-%d %H:%M", time.localtime()),
        tabs="".join(buttons),
        columns=len(runs),
        panels="".join(panels),
        plotly=plotly,
        script=_file("page.js"),
    )


def _file(name: str) -> str:
    return importlib.resources.files("speechlm_jax.reporting").joinpath(name).read_text(encoding="utf-8")


def _head(run: run_files.Run) -> str:
    return f"<h2>{html.escape(str(run.folder))}</h2>"


def _charts(found: Sequence[charts.Chart], key: str) -> str:
    if not found:
        return _nothing("nothing yet")
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


def _overview(run: run_files.Run, key: str) -> str:
    stands = run.standing
    of = "" if stands.steps is None else f" of {stands.steps:,}"
    cards = {
        "state": stands.state,
        "step": f"{stands.step:,}{of}",
        "loss": _number(stands.losses.get("loss")),
        "audio s/s": _number(stands.rates.get("audio_seconds_per_second")),
        "tokens/s": _number(stands.rates.get("tokens_per_second")),
        "waiting for data": _share(stands.rates.get("data_wait_share")),
        "goodput": _share(stands.goodput if run.spent else None),
        "lives": f"{stands.lives}",
        "steps skipped": f"{stands.skipped_steps:,}",
        "ways back": f"{stands.rollbacks:,}",
        "bad records": f"{stands.bad_records:,}",
    }
    shown = "".join(f"<div><dt>{name}</dt><dd>{html.escape(value)}</dd></div>" for name, value in cards.items())
    loss = charts.loss(run)
    rows = [
        (name, _number(value), f"{_number(low)} to {_number(high)}") for name, value, low, high in charts.scores(run)
    ]
    step = stands.evaluations.get("step", 0)
    scores = _table(f"Scores at step {step:,}", ("score", "", "95% interval"), rows) if rows else ""
    return f'<dl class="cards">{shown}</dl>{_charts(loss, key) if loss else ""}{scores}'


def _time(run: run_files.Run, key: str) -> str:
    rows = [
        (f"{one.step:,}", f"{one.bytes / 1e6:,.1f} MB", time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one.written)))
        for one in run.checkpoints
    ]
    kept = _table("Checkpoints", ("step", "size", "written"), rows) if rows else _nothing("no checkpoint yet")
    return _charts(charts.speed(run), key) + kept


def _recipe(run: run_files.Run, key: str) -> str:
    return f"<pre>{html.escape(run.recipe or '(none)')}</pre>"


def _of(made: Callable[[run_files.Run], list[charts.Chart]]) -> Part:
    return lambda run, key: _charts(made(run), key)


_TABS: dict[str, Part] = {
    "Overview": _overview,
    "Training": _of(charts.training),
    "Evaluation": _of(charts.evaluation),
    "Data": _of(charts.data),
    "Time": _time,
    "Recipe": _recipe,
}


def _table(name: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{html.escape(text)}</th>" for text in heads)
    body = "".join(
        f'<tr><th scope="row">{html.escape(first)}</th>{"".join(f"<td>{html.escape(text)}</td>" for text in rest)}</tr>'
        for first, *rest in rows
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<figure><figcaption><h3>{html.escape(name)}</h3></figcaption><div class="wide">{table}</div></figure>'


def _nothing(words: str) -> str:
    return f'<p class="none">{words}</p>'


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
