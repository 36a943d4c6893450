"""Pictures of a run, by plotly: each has a name, a caption, and a figure whose colours the page sets."""

import html
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from plotly import graph_objects

from speechlm_jax.reporting import run_files
from speechlm_jax.training import ledger

COLOURS = ("#3b82c4", "#e07b39", "#4a9d5b", "#b4549c", "#8a6bd1", "#c9a227", "#3aa6a6", "#c94f4f", "#7a8794", "#6b8e23")
"""That a reader tells apart in light and in dark."""
_SMOOTHED = 40
"""Points of a curve above which it is drawn smoothed, over what it is."""


class Chart(NamedTuple):
    """One picture."""

    name: str
    caption: str
    figure: graph_objects.Figure


def loss(run: run_files.Run) -> list[Chart]:
    """Of all heads together; nothing before the first line."""
    if "loss" not in run.trained:
        return []
    return [_curves("Loss", "weighted by Losses.coefficients", {"loss": run.trained["loss"]}, "loss")]


def training(run: run_files.Run) -> list[Chart]:
    """What was learned, and what was drawn to learn from."""
    series, charts = run.trained, loss(run)
    heads = _named(series, "loss/")
    if heads:
        charts.append(_curves("Loss by head", "the mean of what each head learns", heads, "loss"))
    for head in heads:
        tasks = _named(series, f"loss/{head}/")
        if len(tasks) > 1:
            charts.append(_curves(f"Loss of {head} by task", "", tasks, "loss"))
    norms = {name: series[name] for name in ("gradient_norm", "parameter_norm") if name in series}
    if norms:
        charts.append(_curves("Norms", "of gradients and of parameters", norms, "norm", log=True))
    if "learning_rate" in series:
        charts.append(_curves("Learning rate", "", {"learning rate": series["learning_rate"]}, "learning rate"))
    if "code_perplexity" in series:
        books = {f"codebook {place}": one for place, one in _named(series, "code_perplexity/").items()}
        caption = "of each codebook of masked speech: as many as if all were used alike"
        if len(books) != 1:  # Lines of a run that began before they were told apart have this alone.
            books = {"least used": series["code_perplexity"], **books}
        charts.append(_curves("Codes in use", caption, books, "codes", rangemode="tozero"))
    return charts


def data(run: run_files.Run) -> list[Chart]:
    """What was read, and at what pace."""
    series, charts = run.trained, []
    if shares := _named(series, "share/"):
        charts.append(_stacked("Share of each task", "of the examples, as they were drawn", shares, "share"))
    if seconds := {name: one for name, one in _named(series, "seconds/").items() if any(one[1])}:
        charts.append(_stacked("Speech of each task", "seconds since the line before", seconds, "seconds"))
    if tokens := {name: one for name, one in _named(series, "tokens/").items() if any(one[1])}:
        charts.append(_stacked("Tokens of each task", "since the line before", tokens, "tokens"))
    if run.bad_records:
        charts.append(reasons(run.bad_records))
    return charts + packing(run.rows)


def reasons(counts: Mapping[str, int]) -> Chart:
    """Why records could not be used, the commonest reasons first."""
    first = sorted(counts, key=lambda reason: -counts[reason])[:12]
    figure = plain_figure("records", "records")
    figure.add_bar(
        y=[plain(_short(reason)) for reason in first],
        x=[counts[reason] for reason in first],
        orientation="h",
        marker_color=COLOURS[7],
        hovertext=[plain(reason) for reason in first],
    )
    figure.update_yaxes(autorange="reversed", title=None)
    return Chart("Records that could not be used", "by reason; each was skipped and counted", figure)


def speed(run: run_files.Run) -> list[Chart]:
    """Where the time went."""
    series, charts = run.trained, []
    useful = {"audio s/s": "audio_seconds_per_second", "tokens/s": "tokens_per_second"}
    for name, key in useful.items():
        if key in series:
            charts.append(
                _curves(f"Useful {name}", "padding is not counted", {name: series[key]}, name, rangemode="tozero")
            )
    if "mfu" in series:
        caption = "operations by the model's shapes, as a share of the devices' published peak in bfloat16"
        found = {"MFU": series["mfu"]}
        charts.append(_curves("Model FLOPs utilisation", caption, found, "share", rangemode="tozero", tickformat=".1%"))
    elif "model_flops_per_second" in series:
        caption = "of a device, by the model's shapes; its peak is not known here"
        found = {"operations/s": series["model_flops_per_second"]}
        charts.append(_curves("Operations of the model", caption, found, "operations/s", rangemode="tozero"))
    if "data_wait_share" in series:
        waits, caption = {"waiting": series["data_wait_share"]}, "share of the time between lines"
        # A run that never waits has an axis, too.
        most = max(series["data_wait_share"][1], default=0.0)
        axis = {"range": [0, max(1.1 * most, 0.01)], "tickformat": ".1%"}
        charts.append(_curves("Waiting for data", caption, waits, "share", **axis))
    if run.spent is not None:
        charts += [_spent(run.spent), _lives(run)]
    return charts


def evaluation(run: run_files.Run) -> list[Chart]:
    """Scores over steps, with their intervals, those of one metric side by side."""
    by_metric: dict[str, dict[str, str]] = {}
    for name in run.scored:
        task, _, metric = name.partition("/")
        is_score = f"{name}_low" in run.scored or metric.startswith(("loss/", "perplexity/"))
        if is_score and not metric.endswith(("_low", "_high")):
            by_metric.setdefault(metric, {})[task] = name
    order = sorted(by_metric, key=lambda metric: (_is_of_training(metric), metric.rpartition("/")[2], metric))
    return [_scored(run, metric, by_metric[metric]) for metric in order]


def _is_of_training(metric: str) -> bool:
    return metric.startswith(("loss/", "perplexity/", "hits/"))


def _scored(run: run_files.Run, metric: str, names: Mapping[str, str]) -> Chart:
    """A metric of several tasks: over steps, or, of one evaluation, one below the other."""
    once = all(len(run.scored[name][0]) == 1 for name in names.values())
    figure = plain_figure(plain(metric))
    for number, (task, name) in enumerate(names.items()):
        steps, values = run.scored[name]
        colour, bounds = {"color": COLOURS[number % len(COLOURS)]}, _whiskers(run, name, values)
        if once:
            figure.add_scatter(
                x=values,
                y=[plain(task)],
                name=plain(task),
                mode="markers",
                marker={**colour, "size": 9},
                error_x=bounds,
            )
        else:
            figure.add_scatter(x=steps, y=values, name=plain(task), mode="lines+markers", line=colour, error_y=bounds)
    if once:
        figure.update_layout(height=130 + 28 * len(names), showlegend=False, hovermode="closest")
        figure.update_xaxes(title=None)
        figure.update_yaxes(title=None, autorange="reversed")
    told = "with 95% intervals" if any(f"{name}_low" in run.scored for name in names.values()) else ""
    at = f"at step {run.scored[next(iter(names.values()))][0][0]:,}" if once else ""
    return Chart(metric, ", ".join(part for part in (at, told) if part), figure)


def _whiskers(run: run_files.Run, name: str, values: Sequence[float]) -> dict | None:
    """The ends of an interval, as far from its middle as they are."""
    steps = run.scored[name][0]
    bounds = [run.scored.get(f"{name}_{end}") for end in ("high", "low")]
    if any(bound is None or bound[0] != steps for bound in bounds):
        return None
    up, down = (np.abs(np.subtract(bound[1], values)).tolist() for bound in bounds if bound is not None)
    return {"type": "data", "symmetric": False, "array": up, "arrayminus": down, "thickness": 1}


def _spent(report: ledger.Report) -> Chart:
    phases = {phase: seconds for phase, seconds in report.seconds.items() if seconds > 0}
    order = sorted(phases, key=lambda phase: -phases[phase])
    figure = plain_figure("seconds")
    for number, phase in enumerate(order):
        share = phases[phase] / report.wall
        figure.add_bar(
            x=[phases[phase]],
            y=["run"],
            orientation="h",
            name=f"{phase} {share:.1%}",
            marker_color=COLOURS[number % len(COLOURS)],
            hovertext=f"{phase}: {phases[phase]:,.1f} s, {ledger.MEANING[phase]}",
            hoverinfo="text",
        )
    figure.update_layout(barmode="stack", height=230, bargap=0.4)
    figure.update_yaxes(visible=False)
    figure.update_xaxes(title=None, ticksuffix=" s")
    return Chart("Where the time went", f"goodput {report.goodput:.1%}: steps that the run stands on", figure)


def _lives(run: run_files.Run) -> Chart:
    figure = plain_figure("life")
    first = run.lives[0].began
    for number, life in enumerate(run.lives, 1):
        figure.add_bar(
            x=[life.until - life.began],
            base=[life.began - first],
            y=[number],
            orientation="h",
            marker_color=COLOURS[0],
            hovertext=f"life {number}: {life.until - life.began:,.0f} s, ended at step {life.step}",
            hoverinfo="text",
            showlegend=False,
        )
    figure.update_layout(height=160 + 24 * len(run.lives))
    figure.update_xaxes(title=None, ticksuffix=" s")
    figure.update_yaxes(autorange="reversed", dtick=1)
    return Chart("Lives", "from the start of a process to its last line, since the run began", figure)


def _named(series: Mapping[str, run_files.Series], prefix: str) -> dict[str, run_files.Series]:
    """Those whose name is the prefix and one part more, by that."""
    found = {name.removeprefix(prefix): one for name, one in series.items() if name.startswith(prefix)}
    return {name: one for name, one in found.items() if "/" not in name}


def _curves(
    name: str, caption: str, curves: Mapping[str, run_files.Series], unit: str, *, log: bool = False, **axis: Any
) -> Chart:
    figure = plain_figure(unit)
    for number, (label, (steps, values)) in enumerate(curves.items()):
        colour = COLOURS[number % len(COLOURS)]
        smooth = len(values) > _SMOOTHED
        at, told = _thinned(steps), _thinned(values)
        if smooth:
            figure.add_scatter(
                x=at, y=told, line={"color": colour, "width": 1}, opacity=0.25, showlegend=False, hoverinfo="skip"
            )
        shown = _thinned(_smoothed(values)) if smooth else told
        figure.add_scatter(
            x=at, y=shown, name=plain(label), mode="lines" if smooth else "lines+markers", line={"color": colour}
        )
    if log:
        figure.update_yaxes(type="log", dtick=1)
    figure.update_yaxes(**axis)
    # The caption of a single curve says what it is.
    figure.update_layout(showlegend=len(curves) > 1)
    return Chart(name, caption, figure)


def _stacked(name: str, caption: str, curves: Mapping[str, run_files.Series], unit: str) -> Chart:
    figure = plain_figure(unit)
    for number, (label, (steps, values)) in enumerate(curves.items()):
        colour = COLOURS[number % len(COLOURS)]
        at, told = _thinned(steps), _thinned(values)
        figure.add_scatter(x=at, y=told, name=plain(label), stackgroup="all", line={"color": colour, "width": 1})
    return Chart(name, caption, figure)


_MOST_POINTS = 1_000
"""Of a curve: more than a screen shows, and few enough for a page of a run of any length."""


def _thinned(values: Sequence[float]) -> Sequence[float]:
    """At most so many, evenly spread, the first and the last among them."""
    if len(values) <= _MOST_POINTS:
        return values
    return [values[round(place * (len(values) - 1) / (_MOST_POINTS - 1))] for place in range(_MOST_POINTS)]


def _smoothed(values: Sequence[float]) -> list[float]:
    """The exponential mean of a twentieth of the points, without the pull to 0 at the beginning."""
    decay = 1 - 1 / max(len(values) / 20, 1)
    mean, weight, found = 0.0, 0.0, []
    for value in values:
        mean, weight = decay * mean + (1 - decay) * value, decay * weight + (1 - decay)
        found.append(mean / weight)
    return found


def plain(text: str) -> str:
    """A text as it is: plotly would read some of it as HTML."""
    # Quotation marks mean nothing there, and stand as they are.
    return html.escape(text, quote=False)


def plain_figure(unit: str, across: str = "step") -> graph_objects.Figure:
    """Without marks; `unit` is that of what goes up, `across` of what goes to the right."""
    figure = graph_objects.Figure()
    figure.update_layout(
        template="none",
        height=340,
        margin={"l": 56, "r": 12, "t": 8, "b": 44},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        legend={"orientation": "h", "y": -0.22, "x": 0, "yanchor": "top", "traceorder": "normal"},
        hovermode="x unified",
        showlegend=True,
    )
    figure.update_xaxes(title={"text": across, "standoff": 2}, automargin=True, zeroline=False)
    figure.update_yaxes(title={"text": unit, "standoff": 6}, automargin=True, zeroline=False)
    return figure


def _short(text: str, most: int = 60) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."


def scores(run: run_files.Run) -> list[tuple[str, float, float | None, float | None]]:
    """Of the last evaluation, each score that has an interval: its name, itself, the ends of its interval."""
    told = run.standing.evaluations
    return [
        (name, value, told[f"{name}_low"], told.get(f"{name}_high"))
        for name, value in told.items()
        if told.get(f"{name}_low") is not None and value is not None
    ]


def packing(lanes: Mapping[str, np.ndarray]) -> list[Chart]:
    """How rows are laid out: of each lane the segment that every place belongs to. lanes: their ids, "B S"."""
    # Neighbours differ, and no place stays without a colour but those that are empty.
    steps = [(number / len(COLOURS), (number + 1) / len(COLOURS), colour) for number, colour in enumerate(COLOURS)]
    scale = [(at, colour) for first, last, colour in steps for at in (first, last)]
    found = []
    for name, ids in lanes.items():
        filled = float((ids > 0).mean())
        figure = plain_figure("row", "place")
        values = np.where(ids > 0, (ids - 1) % len(COLOURS) + 0.5, np.nan)
        figure.add_heatmap(
            z=values, colorscale=scale, zmin=0, zmax=len(COLOURS), showscale=False, ygap=2, hoverinfo="skip"
        )
        figure.update_yaxes(autorange="reversed", showgrid=False, dtick=1)
        figure.update_xaxes(showgrid=False)
        figure.update_layout(height=130 + 22 * len(ids), showlegend=False)
        found.append(Chart(f"Rows of {name}", f"a colour is an example; {filled:.1%} of these places are used", figure))
    return found
