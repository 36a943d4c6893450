"""What the stream delivers: useful audio-seconds per CPU-second, packed, from the cache, from live FLAC, and from rows
that were written ahead; and how long a train step of the quickstart waits for it.

    python benchmarks/input.py [--seconds 12] [--utterances 400] [--keep NAME]

Utterances of about --seconds are strung together from the embedded corpus, and written as a cache and as a manifest of
FLAC files in a folder that is removed afterwards. CPU time is that of all threads of the process, from the first batch
to the last. The last line is JSON: cache_audio_s_per_s_core, flac_audio_s_per_s_core, written_audio_s_per_s_core,
data_wait_share; and `cores_needed`, of each, for what a host of v5e-256 reads at the peak of its chips by the plan of
the large model (tests/contracts/golden/plans).
"""

import argparse
import dataclasses
import json
import pathlib
import statistics
import tempfile
import time

import figures

from speechlm_jax import runtime

QUICKSTART = "gin_configs/recipes/quickstart.gin"
PLAN = pathlib.Path(__file__).parents[1] / "tests" / "contracts" / "golden" / "plans" / "large_v5e_256.json"


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


def register_cached(name: str, folder: pathlib.Path) -> None:
    """A recognition task over a cache."""
    import seqio

    from speechlm_jax.data import features, objectives, sources

    seqio.TaskRegistry.add(
        name,
        source=sources.RecordsSource(folder, ["train"]),
        preprocessors=objectives.recognition("text", "{lang}"),
        output_features=features.OUTPUT_FEATURES,
    )


ROUNDS = 5
CACHED = "input_cached"


def data_of(manifest: pathlib.Path, vocabulary: pathlib.Path, task: str = "manifest_recognition"):
    """The data of a run on one task."""
    from speechlm_jax import batch
    from speechlm_jax.data import config

    return config.Data(
        row=batch.Row(audio_seconds=60, targets=1024, segments=32),
        rows=8,
        vocabulary=str(vocabulary),
        task_modules=(),
        manifest=config.Manifest(str(manifest)),
        stream=config.Stream(mixture=task, data_shards=8, open_rows=8),
    )


def streamed(data):
    """The batches of a run's tasks."""
    from speechlm_jax.data import registration, stream

    registration.register(data)
    return stream.Stream(data.stream, data.row, rows=data.rows, seed=0)


def written(data, folder: pathlib.Path, steps: int):
    """The same batches, from rows that are written to `folder` first."""
    from speechlm_jax.data import row_writer, written_rows

    row_writer.materialise(data, seed=0, steps=steps, steps_per_file=500, out=folder, workers=1)
    data = dataclasses.replace(data, stream=dataclasses.replace(data.stream, written=str(folder)))
    info = written_rows.read_info(folder)
    return written_rows.WrittenRows(data, info, shards=range(data.stream.data_shards))


def throughput(source, batches: int) -> float:
    """Useful audio-seconds per CPU-second of packed batches: of the median round, as machines are noisy."""
    from speechlm_jax import batch

    next(source)
    rates = []
    for _ in range(ROUNDS):
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
    parser.add_argument("--utterances", type=figures.positive, default=400)
    parser.add_argument(
        "--batches", type=figures.positive, default=12, help="batches of 8 rows of 60 s in each of five rounds"
    )
    figures.add_arguments(parser)
    choices = parser.parse_args()
    runtime.quiet()

    from speechlm_jax import cli
    from speechlm_jax.data import features

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
        register_cached(CACHED, folder / "cache")
        data, steps = data_of(manifest, vocabulary), ROUNDS * choices.batches + 1
        opened = {
            "cache": lambda: streamed(data_of(manifest, vocabulary, CACHED)),
            "flac": lambda: streamed(data),
            "written": lambda: written(data, folder / "rows", steps),
        }
        rates = {}
        for name, source in opened.items():
            rates[name] = throughput(source(), choices.batches)
            print(f"from {name}: {rates[name]:.0f} audio-seconds per CPU-second")
        share = data_wait_share(folder / "run", vocabulary)
        print(f"a step of the quickstart waits {share:.2%} of its time")
    needed = json.loads(PLAN.read_text(encoding="utf-8"))["host_audio_seconds_per_second"]
    found = {
        **{f"{name}_audio_s_per_s_core": round(rate) for name, rate in rates.items()},
        "data_wait_share": round(share, 5),
        "host_audio_s_per_s_needed": round(needed),
        "cores_needed": {name: round(needed / rate, 2) for name, rate in rates.items()},
        "utterance_seconds": choices.seconds,
    }
    figures.tell(found, choices, "tensorflow", "seqio", "array-record")


if __name__ == "__main__":
    main()
