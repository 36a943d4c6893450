"""What the stream delivers: useful audio-seconds per CPU-second, packed, from the cache and from live FLAC; and how
long a train step of the quickstart waits for it.

    python benchmarks/input.py [--seconds 12] [--utterances 400]

Utterances of about --seconds are strung together from the embedded corpus, and written as a cache and as a manifest of
FLAC files in a folder that is removed afterwards. CPU time is that of all threads of the process, from the first batch
to the last. The last line is JSON: cache_audio_s_per_s_core, flac_audio_s_per_s_core, data_wait_share.
"""

import argparse
import json
import pathlib
import statistics
import tempfile
import time

from speechlm_jax import provenance, runtime

QUICKSTART = "gin_configs/recipes/quickstart.gin"


def utterances(number: int, seconds: float) -> list[dict]:
    """Records of about `seconds` of speech each, with their text."""
    import numpy as np
    import seqio

    from speechlm_jax.data import registration

    registration.import_tasks("tasks.embedded")
    reader = seqio.TaskRegistry.get("embedded_recognition_en").source.reader("train")
    made, index = [], 0
    random = np.random.default_rng(0)
    for number_ in range(number):
        waves, texts, wanted = [], [], int(random.uniform(0.5, 1.5) * seconds * 16_000)
        while sum(map(len, waves)) < wanted:
            record = reader[index % len(reader)]
            index += 1
            waves.append(np.asarray(record["audio"]))
            texts.append(record["spoken"])
        made.append(
            {"id": f"utterance-{number_}", "text": " ".join(texts), "lang": "en", "audio": np.concatenate(waves)}
        )
    return made


def write_cache(folder: pathlib.Path, made: list[dict]) -> None:
    """The utterances as a cache of one split."""
    from speechlm_jax.data import records

    fields = {"id": "text", "text": "text", "lang": "text", "audio": "audio"}
    with records.Writer(folder, fields) as writer:
        for record in made:
            writer.write("train", record)


def write_manifest(folder: pathlib.Path, made: list[dict]) -> pathlib.Path:
    """The utterances as FLAC files and their manifest."""
    import soundfile

    folder.mkdir()
    lines = []
    for record in made:
        soundfile.write(folder / f"{record['id']}.flac", record["audio"], 16_000)
        lines.append(json.dumps({**record, "audio": f"{record['id']}.flac", "split": "train"}))
    path = folder / "manifest.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def register(name: str, source) -> None:
    """A recognition task over a source."""
    import seqio

    from speechlm_jax.data import features, objectives

    seqio.TaskRegistry.add(
        name, source=source, preprocessors=objectives.recognition("text"), output_features=features.OUTPUT_FEATURES
    )


def throughput(task: str, batches: int, rounds: int = 5) -> float:
    """Useful audio-seconds per CPU-second of a task's packed batches: of the median round, as machines are noisy."""
    from speechlm_jax import batch
    from speechlm_jax.data import config, stream

    row = batch.Row(audio_seconds=60, targets=1024, segments=32)
    settings = config.Stream(mixture=task, data_shards=8, open_rows=8)
    source = stream.Stream(settings, row, rows=8, seed=0)
    next(source)
    rates = []
    for _ in range(rounds):
        began, frames = time.process_time(), 0
        for _ in range(batches):
            frames += int((next(source).batch.audio.segment_ids > 0).sum())
        rates.append(frames * batch.HOP / batch.SAMPLE_RATE / (time.process_time() - began))
    source.close()
    return statistics.median(rates)


def data_wait_share(folder: pathlib.Path, vocabulary: pathlib.Path, steps: int = 60) -> float:
    """The share of train steps of the quickstart that the device stood waiting, past the first twenty steps."""
    from speechlm_jax import cli

    code = cli.main(
        [
            "train",
            f"--gin_file={QUICKSTART}",
            f"--gin.Data.vocabulary={vocabulary}",
            f"--gin.Recipe.run_dir={folder}",
            f"--gin.Recipe.steps={steps}",
            "--gin.Recipe.evaluation=None",
        ]
    )
    if code:
        raise SystemExit(code)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    counted = [line for line in lines if line["step"] > 20]
    return sum(line["data_wait_share"] for line in counted) / len(counted)


def main() -> None:
    """Measures, and prints one line for each figure and then all of them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=12.0, help="mean length of an utterance")
    parser.add_argument("--utterances", type=int, default=400)
    parser.add_argument("--batches", type=int, default=12, help="batches of 8 rows of 60 s in each of five rounds")
    choices = parser.parse_args()
    runtime.quiet()

    from speechlm_jax import cli
    from speechlm_jax.data import features, sources

    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        vocabulary = folder / "vocabulary.model"
        code = cli.main(
            ["data", f"--gin_file={QUICKSTART}", f"--gin.Data.vocabulary={vocabulary}", "--train_vocabulary=1000"]
        )
        if code:
            raise SystemExit(code)
        made = utterances(choices.utterances, choices.seconds)
        write_cache(folder / "cache", made)
        manifest = write_manifest(folder / "flac", made)
        features.bind(vocabulary)
        register("input_cache", sources.RecordsSource(folder / "cache", ["train"]))
        register("input_flac", sources.ManifestSource(manifest, {"train": "train"}))
        cache = throughput("input_cache", choices.batches)
        print(f"from the cache: {cache:.0f} audio-seconds per CPU-second")
        flac = throughput("input_flac", choices.batches)
        print(f"from FLAC: {flac:.0f} audio-seconds per CPU-second")
        share = data_wait_share(folder / "run", vocabulary)
        print(f"a step of the quickstart waits {share:.2%} of its time")
    figures = {
        "cache_audio_s_per_s_core": round(cache),
        "flac_audio_s_per_s_core": round(flac),
        "data_wait_share": round(share, 5),
        "utterance_seconds": choices.seconds,
        "versions": provenance.versions("tensorflow", "seqio", "array-record"),
        **provenance.machine(),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
