"""The main job from end to end on one machine: pretrain, finetune, evaluate, and say how to go on.

python -m speechlm_jax.quickstart            (what `make quickstart` runs)
"""

import json
import pathlib
import time

from speechlm_jax import in_order, whole_files

FOLDER = pathlib.Path("runs/quickstart")
PRETRAIN = "gin_configs/recipes/quickstart.gin"
FINETUNE = "gin_configs/recipes/quickstart_finetune.gin"
TASK = "embedded_recognition_en"
SPLITS = {"heldout_sentences": "test_sentences", "heldout_voices": "test_voices"}


def main() -> None:
    """Runs the verbs one after the other and writes runs/quickstart/summary.json."""
    started = time.monotonic()
    verbs = {
        "vocabulary": ["data", f"--gin_file={PRETRAIN}", "--train_vocabulary=1000", "--languages=en,de,fr,es,zh"],
        "pretraining": ["train", f"--gin_file={PRETRAIN}"],
        "finetuning": ["train", f"--gin_file={FINETUNE}"],
    }
    for name, split in SPLITS.items():
        verbs[name] = [
            *("evaluate", f"--checkpoint={FOLDER / 'recognition'}", f"--task={TASK}", f"--split={split}"),
            f"--json={FOLDER / name}.json",
        ]
    if (FOLDER / "vocabulary.model").exists():
        del verbs["vocabulary"]
    in_order.run(verbs)
    scores = {name: json.loads((FOLDER / f"{name}.json").read_text())["scores"][TASK] for name in SPLITS}
    summary = {
        # After minutes of training the CTC head hears better than the decoder writes: its best path is the headline.
        **{f"wer_{name}": found["ctc/wer"] for name, found in scores.items()},
        **{f"wer_decoder_{name}": found["wer"] for name, found in scores.items()},
        "data_wait_share": _data_wait_share(),
        "seconds": round(time.monotonic() - started, 1),
        "checkpoint": str(FOLDER / "recognition"),
        "tensorboard": str(FOLDER / "recognition" / "tensorboard"),
    }
    whole_files.write_json(FOLDER / "summary.json", summary)
    _tell(scores, summary)


def _data_wait_share() -> float:
    """The share of training time that the device stood waiting for data, over both runs."""
    waited = seconds = 0.0
    for run in ("pretraining", "recognition"):
        for line in (FOLDER / run / "metrics.jsonl").read_text().splitlines():
            numbers = json.loads(line)
            if numbers["kind"] == "train":
                span = 1.0 / numbers["steps_per_second"]
                waited += numbers["data_wait_share"] * span
                seconds += span
    return round(waited / seconds, 4)


def _tell(scores: dict, summary: dict) -> None:
    print(f"\n{'held out':<12}{'examples':>10}{'WER':>9}{'CER':>9}{'WER of decoder':>17}")
    for name, found in scores.items():
        errors = f"{found['ctc/wer']:>9.1%}{found['ctc/cer']:>9.1%}{found['wer']:>17.1%}"
        print(f"{name.removeprefix('heldout_'):<12}{found['examples']:>10}{errors}")
    for name, found in scores.items():
        print(f"\n{name.replace('heldout_', 'held-out ')}:")
        for sample in found["samples"]:
            print(f"  said  {sample['target']}\n  heard {sample['ctc_prediction']}")
    print(
        f"\n{summary['seconds']:.0f} seconds. What to do with it:\n"
        f"  .venv/bin/speechlm infer --search=ctc --checkpoint={summary['checkpoint']} RECORDING.wav\n"
        f"  .venv/bin/tensorboard --logdir={FOLDER}\n"
        "Your own recordings: see README.md."
    )


if __name__ == "__main__":
    main()
