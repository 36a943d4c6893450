"""Verb `status`: where a run stands that goes on elsewhere, or is over."""

import argparse
import pathlib
import time
from typing import Any

from speechlm_jax import whole_files


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this verb."""
    parser.add_argument("run_dir", help="a run's folder")
    parser.add_argument("--json", help="write what was found here as JSON; - for standard output")


def run(*, run_dir: str, json: str | None = None) -> dict[str, Any]:
    """Prints where a run stands, from the files in its folder alone: whether it goes on, its step, losses and rates,
    its last checkpoint and scores. It may run on another machine, or be over.

    Raises ValueError where there is no run.
    """
    from speechlm_jax.training import standing

    if json != "-":
        whole_files.check_file(json, "--json")
    found = standing.of(pathlib.Path(run_dir), time.time())
    told = found._asdict()
    if json == "-":
        print(whole_files.json_text(told), end="")
        return told
    print("\n".join(_lines(found)))
    if json is not None:
        whole_files.write_json(json, told)
    return told


def _lines(found: Any) -> list[str]:
    """For people."""
    of = "" if found.steps is None else f" of {found.steps:,}"
    doing = f" ({found.phase})" if found.state in ("begins", "goes on", "is silent") and found.phase else ""
    lines = [
        f"{found.run} {found.state}{doing}: step {found.step:,}{of}, last heard of {_clock(found.silent_seconds)} ago"
    ]
    if found.eta_seconds is not None and found.state == "goes on":
        lines[0] += f", {_clock(found.eta_seconds)} left"
    if found.losses:
        lines.append("  " + "  ".join(f"{name} {value:.4f}" for name, value in found.losses.items()))
    if found.rates:
        words = {"steps_per_second": "{:.2f} steps/s", "audio_seconds_per_second": "{:,.0f} audio s/s"}
        words |= {"tokens_per_second": "{:,.0f} tokens/s", "data_wait_share": "{:.0%} waiting for data"}
        words["mfu"] = "{:.1%} of the devices' peak"
        lines.append(
            "  " + "  ".join(text.format(found.rates[name]) for name, text in words.items() if name in found.rates)
        )
    kept = "none yet"
    if found.checkpoints:
        kept = f"step {found.checkpoints[-1]:,}, {_clock(found.checkpoint_seconds)} ago ({len(found.checkpoints)} kept)"
    lives = "1 life" if found.lives == 1 else f"{found.lives} lives"
    lines.append(f"  last checkpoint: {kept}; {lives}, goodput {found.goodput:.0%}")
    wrong = {"steps skipped": found.skipped_steps, "bad records": found.bad_records, "ways back": found.rollbacks}
    if any(wrong.values()):
        lines.append("  " + "  ".join(f"{what}: {count:,}" for what, count in wrong.items() if count))
    scores = {name: value for name, value in found.evaluations.items() if name.endswith(_SCORES) and value is not None}
    if scores:
        lines.append(f"  scores at step {found.evaluations['step']:,}:")
        lines += [f"    {name} {value:.4f}" for name, value in scores.items()]
    return lines


_SCORES = ("/wer", "/cer", "/bleu", "/chrf", "/accuracy", "/f1", "/exact_match", "/auc", "/mel_cepstral_distortion")


def _clock(seconds: float) -> str:
    """In the two largest units of days, hours, minutes and seconds."""
    left, words = int(max(seconds, 0)), []
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")):
        count, left = divmod(left, size)
        if count or words or unit == "s":
            words.append(f"{count} {unit}")
    return " ".join(words[:2])
