"""The folder of a run as it stands there at some time, written by hand."""

import json
import os

from etils import epath

from speechlm_jax import checkpoint_steps

RECIPE = """training.config.Recipe:
  steps = 40
  log_every = 5

training.config.Schedule:
  warmup_steps = 80
"""
TRAIN = {"kind": "train", "loss": 2.5, "loss/ctc": 1.5, "loss/ctc/heard": 1.5, "steps_per_second": 0.5}
TRAIN |= {"audio_seconds_per_second": 61.5, "tokens_per_second": 754.4, "data_wait_share": 0.25}
TRAIN |= {"skipped_steps": 1.0, "bad_records": 3.0, "model_flops_per_second": 7.88e13, "mfu": 0.4}


def write(folder, *, step=20, ended=False, wrote=1000.0):
    """A run that has done so many steps, and wrote its last line at that time."""
    (folder / "recipe.gin").write_text(RECIPE)
    book = [
        {"life": 100.0, "from": 100.0, "to": 110.0, "step": None, "seconds": {"start": 10.0}},
        {"life": 100.0, "from": 110.0, "to": 150.0, "step": step, "seconds": {"step": 40.0}},
    ]
    if ended:
        book.append({"life": 100.0, "from": 150.0, "to": 160.0, "step": step, "seconds": {"save": 9.0, "end": 1.0}})
    (folder / "ledger.jsonl").write_text("".join(json.dumps(line) + "\n" for line in book))
    lines = [{"step": at, **TRAIN} for at in (step - 10, step)]
    lines.append({"step": step, "kind": "evaluation", "heard/wer": 0.25, "heard/wer_words": 8})
    told = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(told + '{"step": 999, "kin')
    for saved in (10, 20):
        step = folder / "checkpoints" / str(saved)
        for line in checkpoint_steps.missing(epath.Path(step)):
            part = step / line.removesuffix(": missing")
            part.parent.mkdir(parents=True, exist_ok=True)
            part.touch()
        os.utime(step, (900.0 + saved, 900.0 + saved))
    for name in ("recipe.gin", "ledger.jsonl", "metrics.jsonl"):
        os.utime(folder / name, (wrote, wrote))
