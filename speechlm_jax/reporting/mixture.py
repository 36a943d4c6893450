"""The page of a mixture: what it yields, at which rates, how long, in which languages and words, and how it packs."""

import collections
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from speechlm_jax import batch
from speechlm_jax.data import batches, capacities, config, one_pass, quarantine
from speechlm_jax.data import report as data_report
from speechlm_jax.inference import shown
from speechlm_jax.reporting import charts, examples, sheet

_OF_EACH = 3
"""Examples of a task to look at."""
_ROWS = 8
"""Rows that are packed for the eye."""
_BINS = 40


def write(looked: data_report.Looked, data: config.Data) -> str:
    """The page, of examples that were drawn as training would draw them."""
    tabs = {
        "Overview": _overview(looked),
        "Lengths": sheet.plots(_lengths(looked, data.row), "lengths"),
        "Languages": sheet.plots(_languages(looked), "languages"),
        "Vocabulary": _vocabulary(looked),
        "Samples": sheet.look_at(examples.of(list(_samples(looked))), "samples"),
        "Packing": sheet.plots(charts.packing(_packed(looked, data)), "packing"),
        "Bad records": _bad(looked.found["bad_records"]),
    }
    return sheet.write(
        f"{looked.found['mixture']}/{looked.found['split']}", {tab: [told] for tab, told in tabs.items()}
    )


def _overview(looked: data_report.Looked) -> str:
    found, tasks = looked.found, looked.found["tasks"]
    hours = sum(task.get("hours", 0.0) for task in tasks.values())
    cards = {
        "tasks": f"{len(tasks)}",
        "records": f"{sum(task['records'] for task in tasks.values()):,}",
        "hours of speech in": sheet.number(hours),
        "examples measured": f"{found['measured']:,}",
        "bad records": f"{found['bad_records']['skipped']:,} of {found['bad_records']['read']:,}",
        **{f"useful share of {lane}": sheet.share(share) for lane, share in found["useful_shares"].items()},
    }
    heads = ("task", "records", "hours", "rate", "realised", "do not fit", "became nothing")
    rows = [
        (
            name,
            f"{task['records']:,}",
            sheet.number(task.get("hours")),
            sheet.share(task["rate"]),
            sheet.share(task["realised"]),
            f"{task['too_large']['examples']} of {task['too_large']['of']}",
            f"{task['empty']['records']} of {task['empty']['of']}",
        )
        for name, task in tasks.items()
    ]
    return sheet.cards(cards) + sheet.plots(_rates(tasks), "rates") + sheet.table("Tasks", heads, rows)


def _rates(tasks: Mapping[str, Mapping[str, Any]]) -> list[charts.Chart]:
    figure = charts.plain_figure("", "share of examples")
    for number, kind in enumerate(("rate", "realised")):
        shares = [task[kind] for task in tasks.values()]
        label = "asked" if kind == "rate" else kind
        colour = charts.COLOURS[number]
        figure.add_bar(y=[*map(charts.plain, tasks)], x=shares, orientation="h", name=label, marker_color=colour)
    figure.update_layout(height=150 + 34 * len(tasks), barmode="group", hovermode="closest")
    figure.update_yaxes(autorange="reversed", title=None)
    figure.update_xaxes(tickformat=".0%")
    return [charts.Chart("Rates", "that were asked for, and those of the examples that were drawn", figure)]


def _lengths(looked: data_report.Looked, row: batch.Row) -> list[charts.Chart]:
    """A histogram of each lane, of each task a colour."""
    contents = np.stack([capacities.content(example, row) for example in looked.drawn])
    owners = np.array([example["task"] for example in looked.drawn])
    found = []
    for number, lane in enumerate(capacities.LANES):
        lengths = contents[:, number]
        if not lengths.any():
            continue
        edges = np.histogram_bin_edges(lengths[lengths > 0], _BINS)
        figure = charts.plain_figure("examples", data_report.UNITS[lane])
        for place, name in enumerate(looked.tasks):
            own = lengths[(owners == place) & (lengths > 0)]
            if len(own):
                counts = np.histogram(own, edges)[0]
                middles, colour = (edges[:-1] + edges[1:]) / 2, charts.COLOURS[place % len(charts.COLOURS)]
                figure.add_bar(x=middles, y=counts, name=charts.plain(name), marker_color=colour)
        figure.update_layout(barmode="stack", bargap=0.02)
        median, most = np.median(lengths[lengths > 0]), lengths.max()
        told = f"median {median:,.0f}, longest {most:,.0f} {data_report.UNITS[lane]}"
        found.append(charts.Chart(f"Length in {lane}", told, figure))
    return found


def _languages(looked: data_report.Looked) -> list[charts.Chart]:
    """By the tokens of languages that examples bear."""
    words = looked.vocabulary
    names = {words.language(code): code for code in words.languages}
    counts: collections.Counter[str] = collections.Counter()
    for example in looked.drawn:
        own = {names[token] for lane in _TEXT for token in example[lane].tolist() if token in names}
        counts.update(own or {"(none named)"})
    figure = charts.plain_figure("", "examples")
    order = [code for code, _ in counts.most_common()]
    amounts = [counts[code] for code in order]
    figure.add_bar(y=order, x=amounts, orientation="h", marker_color=charts.COLOURS[0])
    figure.update_layout(height=130 + 28 * len(order), showlegend=False, hovermode="closest")
    figure.update_yaxes(autorange="reversed", title=None)
    return [charts.Chart("Languages", "examples that name each; one of two languages counts twice", figure)]


_TEXT = ("inputs", "prompt", "targets")


def pieces(drawn: Iterable[Mapping[str, Any]], size: int) -> np.ndarray:
    """How often each piece of a vocabulary of so many stands in the text of examples."""
    counts = np.zeros(size, np.int64)
    for example in drawn:
        for lane in _TEXT:
            np.add.at(counts, example[lane][example[lane] < size], 1)
    return counts


def _vocabulary(looked: data_report.Looked) -> str:
    words = looked.vocabulary
    counts = pieces(looked.drawn, words.size)
    learned, as_bytes = counts[words.learned], counts[words.bytes].sum()
    written = learned.sum() + as_bytes
    cards = {
        "pieces": f"{words.size:,}",
        "learned pieces in use": f"{(learned > 0).sum():,} of {len(learned):,}",
        "tokens": f"{counts.sum():,}",
        "tokens that are bytes": sheet.share(as_bytes / written if written else 0.0),
    }
    ranked = np.sort(learned[learned > 0])[::-1]
    figure = charts.plain_figure("times", "rank of the piece")
    figure.add_scatter(x=np.arange(1, len(ranked) + 1), y=ranked, mode="lines", line={"color": charts.COLOURS[0]})
    figure.update_xaxes(type="log", dtick=1)
    figure.update_yaxes(type="log", dtick=1)
    figure.update_layout(showlegend=False)
    often = np.argsort(-learned, kind="stable")[:20]
    rows = [(words.show([words.learned[piece]]), f"{learned[piece]:,}") for piece in often if learned[piece]]
    chart = charts.Chart("Pieces by how often they are used", "what text is written with", figure)
    return sheet.cards(cards) + sheet.plots([chart], "pieces") + sheet.table("The commonest", ("piece", "times"), rows)


def _samples(looked: data_report.Looked) -> Iterable[shown.Shown]:
    """Some examples of each task."""
    taken: collections.Counter[int] = collections.Counter()
    for example in looked.drawn:
        if taken[example["task"]] == _OF_EACH:
            continue
        taken[example["task"]] += 1
        text = [f"{lane}: {looked.vocabulary.show(example[lane].tolist())}" for lane in _TEXT if len(example[lane])]
        yield shown.Shown(
            task=looked.tasks[example["task"]],
            id=one_pass.text_of(example["id"]),
            why=f"example {taken[example['task']]}",
            wanted="; ".join(text),
            written=None,
            by_ctc=None,
            likelihood=None,
            heard=example["audio"] if len(example["audio"]) else None,
            words=[],
            look=None,
            wanted_speech=example["target_audio"] if len(example["target_audio"]) else None,
        )


def _packed(looked: data_report.Looked, data: config.Data) -> dict[str, np.ndarray]:
    """The first rows that training would make of the examples."""
    bad = quarantine.Quarantine(config.BadRecords(grace=len(looked.drawn)))
    fitting = batches.pack(looked.drawn, data.row, rows=_ROWS, quarantine=bad, open_rows=data.stream.open_rows)
    first = next(iter(fitting), None)
    return {} if first is None else first.batch.segment_ids()


def _bad(told: Mapping[str, Any]) -> str:
    if not told["skipped"]:
        return sheet.note(f"none of {told['read']:,} that were read")
    rows: Sequence[Sequence[str]] = [(one["reason"], one["task"], one["id"]) for one in told["first"]]
    first = sheet.table("The first of them", ("reason", "task", "record"), rows)
    return sheet.plots([charts.reasons(told["reasons"])], "bad") + first
