"""The page of runs: what they have left, a column for each."""

import html
import time
from collections.abc import Callable, Sequence

from speechlm_jax.reporting import charts, examples, run_files, sheet

Part = Callable[[run_files.Run, str], str]
"""(a run, what tells its charts from those of others) -> HTML."""


def write(runs: Sequence[run_files.Run]) -> str:
    """The page of one run, or of several side by side."""

    def column(name: str, part: Part, index: int, run: run_files.Run) -> str:
        head = f"<h2>{html.escape(str(run.folder))}</h2>" if len(runs) > 1 else ""
        return head + part(run, f"{name.lower()}-{index}")

    tabs = {name: [column(name, part, index, run) for index, run in enumerate(runs)] for name, part in _TABS.items()}
    return sheet.write(", ".join(run.folder.absolute().name for run in runs), tabs)


def _overview(run: run_files.Run, key: str) -> str:
    stands = run.standing
    of = "" if stands.steps is None else f" of {stands.steps:,}"
    cards = {
        "state": stands.state,
        "step": f"{stands.step:,}{of}",
        "loss": sheet.number(stands.losses.get("loss")),
        "audio s/s": sheet.number(stands.rates.get("audio_seconds_per_second")),
        "tokens/s": sheet.number(stands.rates.get("tokens_per_second")),
        **({"MFU": sheet.share(stands.rates["mfu"])} if "mfu" in stands.rates else {}),
        "waiting for data": sheet.share(stands.rates.get("data_wait_share")),
        "goodput": sheet.share(stands.goodput if run.spent else None),
        "lives": f"{stands.lives}",
        "steps skipped": f"{stands.skipped_steps:,}",
        "ways back": f"{stands.rollbacks:,}",
        "bad records": f"{stands.bad_records:,}",
    }
    loss = charts.loss(run)
    rows = [(name, sheet.number(value), sheet.interval(low, high)) for name, value, low, high in charts.scores(run)]
    step = stands.evaluations.get("step", 0)
    scores = sheet.table(f"Scores at step {step:,}", ("score", "", "95% interval"), rows) if rows else ""
    damaged = "".join(sheet.note(html.escape(f"left out: {line}")) for line in run.damaged)
    return f"{sheet.cards(cards)}{damaged}{sheet.plots(loss, key) if loss else ''}{scores}"


def _time(run: run_files.Run, key: str) -> str:
    rows = [
        (f"{one.step:,}", f"{one.bytes / 1e6:,.1f} MB", time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one.written)))
        for one in run.checkpoints
    ]
    kept = sheet.table("Checkpoints", ("step", "size", "written"), rows) if rows else sheet.note("no checkpoint yet")
    return sheet.plots(charts.speed(run), key) + kept


def _recipe(run: run_files.Run, key: str) -> str:
    return sheet.text(run.recipe)


def _examples(run: run_files.Run, key: str) -> str:
    step, found = run.shown
    if not found:
        return sheet.note("nothing yet: Evaluation.shown examples of each task, at every evaluation")
    return sheet.note(f"at step {step:,}") + sheet.look_at(examples.of(found), key)


def _of(made: Callable[[run_files.Run], list[charts.Chart]]) -> Part:
    return lambda run, key: sheet.plots(made(run), key)


_TABS: dict[str, Part] = {
    "Overview": _overview,
    "Training": _of(charts.training),
    "Evaluation": _of(charts.evaluation),
    "Examples": _examples,
    "Data": _of(charts.data),
    "Time": _time,
    "Recipe": _recipe,
}
