"""A cache holds what its source holds, byte for byte the same whoever wrote it, and however often they were killed."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import seqio
import soundfile

from speechlm_jax.data import caching, config, quarantine, records, registration, sources

ROOT = pathlib.Path(__file__).resolve().parents[2]
SLOW_TASKS = """
import time
from collections.abc import Sequence

import numpy as np
import seqio

from speechlm_jax.data import features, sources


class Items(Sequence):
    def __len__(self):
        return 240

    def __getitem__(self, index):
        time.sleep(0.01)
        return {"id": f"u{index}", "audio": np.full(400 + index, index, np.int16), "labels": list(range(index % 3))}


SOURCE = sources.SequenceSource({"train": Items()}, {"id": "text", "audio": "audio", "labels": "ints"})
for name in ("slow_one", "slow_two"):
    seqio.TaskRegistry.add(name, source=SOURCE, preprocessors=[], output_features=features.OUTPUT_FEATURES)
"""
PLAIN_TASKS = """
import seqio
import tensorflow as tf

from speechlm_jax.data import features, sources

OTHER = sources.SequenceSource({"train": [{"text": "a"}], "test": [{"text": "b"}]})
ROWS = {
    "text": [f"line {i}" for i in range(11)],
    "number": list(range(11)),
    "scores": [[i / 4, 0.5] for i in range(11)],
}


def rows(split, shuffle_files):
    return tf.data.Dataset.from_tensor_slices(ROWS)


PLAIN = seqio.FunctionDataSource(rows, splits=["train"])
for name, source in (("plain_one", PLAIN), ("plain_other", OTHER), ("plain_two", PLAIN)):
    seqio.TaskRegistry.add(name, source=source, preprocessors=[], output_features=features.OUTPUT_FEATURES)
seqio.MixtureRegistry.add("plain_mixture", [("plain_one", 1.0), ("plain_other", 1.0), ("plain_two", 1.0)])
"""


def write_corpus(folder: pathlib.Path, *, broken: tuple[int, ...] = (7,)) -> config.Data:
    """20 recordings to train on and 5 to validate, and the settings that make tasks of them."""
    random = np.random.default_rng(0)
    (folder / "audio").mkdir(parents=True)
    with (folder / "manifest.jsonl").open("w") as lines:
        for i in range(25):
            wave = (3000 * random.normal(size=3000 + 100 * i)).astype(np.int16)
            soundfile.write(folder / "audio" / f"{i}.wav", wave, 16_000)
            if i in broken:
                (folder / "audio" / f"{i}.wav").write_text("no recording")
            line = {"id": f"u{i}", "audio": f"audio/{i}.wav", "text": f"say {i}", "lang": "en", "weight": i / 2}
            lines.write(json.dumps({**line, "split": "train" if i < 20 else "validation"}) + "\n")
    return settings("manifest_recognition", manifest=config.Manifest(path=str(folder / "manifest.jsonl")))


def settings(mixture: str, **choices) -> config.Data:
    return config.Data(task_modules=choices.pop("modules", ()), stream=config.Stream(mixture=mixture), **choices)


def contents(folder: pathlib.Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def examples(source: seqio.DataSource, split: str) -> list[dict]:
    dataset = source.at(split, lambda: range(source.num_input_examples(split)), shuffle=False)
    return [{name: value for name, value in one.items() if name != "_pos"} for one in dataset.as_numpy_iterator()]


def same(found: list[dict], wanted: list[dict]) -> bool:
    return len(found) == len(wanted) and all(
        one.keys() == other.keys()
        and all(np.array_equal(one[name], other[name]) and type(one[name]) is type(other[name]) for name in one)
        for one, other in zip(found, wanted, strict=True)
    )


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def cached(corpus, tmp_path_factory):
    """A cache of the corpus, and the counts."""
    folder = tmp_path_factory.mktemp("cached") / "cache"
    return folder, caching.cache(corpus, splits=["train", "validation"], out=folder, shards=3, workers=2)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The folder that commands and their processes run in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_what_is_read_back_is_what_the_source_has(corpus, cached):
    folder, counts = cached
    registration.register(corpus, bind_vocabulary=False)
    source = seqio.TaskRegistry.get("manifest_recognition").source
    cache = sources.RecordsSource(folder, ["train", "validation"])
    for split, number in (("train", 19), ("validation", 5)):
        wanted = examples(source, split)
        assert len(wanted) == number
        assert same(examples(cache, split), wanted)
    (one,) = counts["caches"]
    assert one["tasks"] == ["manifest_recognition"]
    train, info = one["splits"]["train"], records.read_info(folder)["splits"]["train"]
    assert (train["records"], train["bad"], train["shards"]) == (19, 1, 3)
    assert train["hash"] == info["hash"]
    assert train["hours"] == pytest.approx(sum(len(e["audio"]) for e in examples(cache, "train")) / 57.6e6, abs=1e-4)
    assert train["bytes"] == sum(path.stat().st_size for path in folder.glob("train*.arecord"))
    assert not list(folder.glob(".*"))


@pytest.mark.slow
def test_a_record_that_cannot_be_read_is_listed_with_the_reason(cached):
    (line,) = (cached[0] / "bad.jsonl").read_text().splitlines()
    assert json.loads(line)["id"] == "u7"
    assert json.loads(line)["split"] == "train"
    assert "cannot be read as audio" in json.loads(line)["reason"]


@pytest.mark.slow
def test_the_bytes_do_not_depend_on_the_workers_nor_on_the_splits_being_cached_at_once(corpus, cached, tmp_path):
    caching.cache(corpus, splits=["train"], out=tmp_path / "cache", shards=3, workers=1)
    assert sorted(records.read_info(tmp_path / "cache")["splits"]) == ["train"]
    caching.cache(corpus, splits=["validation"], out=tmp_path / "cache", shards=3, workers=1)
    assert contents(tmp_path / "cache") == contents(cached[0])


@pytest.mark.slow
def test_beam_writes_the_same_bytes(corpus, cached, tmp_path):
    pytest.importorskip("apache_beam")
    counts = caching.cache(
        corpus, splits=["train", "validation"], out=tmp_path / "cache", shards=3, beam=("DirectRunner", [])
    )
    assert contents(tmp_path / "cache") == contents(cached[0])
    assert counts["caches"][0]["splits"] == cached[1]["caches"][0]["splits"]


@pytest.mark.slow
def test_what_is_whole_is_not_written_again_and_what_is_damaged_is(corpus, cached, tmp_path):
    folder = shutil.copytree(cached[0], tmp_path / "cache")
    (folder / "train-00001-of-00003.arecord").write_bytes(b"cut")
    (folder / "validation-00002-of-00003.json").write_text("{")
    of_before = folder / "train-00002-of-00003.json"
    told = json.loads(of_before.read_text())
    del told["version"]
    of_before.write_text(json.dumps(told))
    kept = folder / "train-00000-of-00003.arecord"
    before = kept.stat().st_mtime_ns
    counts = caching.cache(corpus, splits=["train", "validation"], out=folder, workers=1)
    assert contents(folder) == contents(cached[0])
    assert kept.stat().st_mtime_ns == before
    assert counts["caches"][0]["splits"] == cached[1]["caches"][0]["splits"]


@pytest.mark.slow
def test_a_folder_of_something_else_is_refused(corpus, cached, tmp_path):
    folder = shutil.copytree(cached[0], tmp_path / "cache")
    other = write_corpus(tmp_path / "other", broken=())
    (tmp_path / "other" / "manifest.jsonl").write_text(
        (tmp_path / "other" / "manifest.jsonl").read_text().replace("say 3", "say more")
    )
    with pytest.raises(ValueError, match="split 'train' there is of other records .* name another: --out"):
        caching.cache(other, splits=["train"], out=folder)
    with pytest.raises(ValueError, match="has 3 shards, found --shards=4"):
        caching.cache(corpus, splits=["train"], out=folder, shards=4)
    text = config.Manifest(path=corpus.manifest.path, objectives=(("span_corruption", 1.0),))
    with pytest.raises(ValueError, match="it holds records of 'manifest_recognition'"):
        caching.cache(settings("manifest_span_corruption", manifest=text), splits=["train"], out=folder)
    with pytest.raises(ValueError, match="not empty and has no source.json"):
        caching.cache(corpus, splits=["train"], out=tmp_path / "other")
    with pytest.raises(ValueError, match="there is no split 'tarin'. Nearest: 'train'"):
        caching.cache(corpus, splits=["tarin"], out=folder)
    with caching._alone(folder), pytest.raises(ValueError, match="another command is writing there"):
        caching.cache(corpus, splits=["train"], out=folder)
    assert contents(folder) == contents(cached[0])


@pytest.mark.slow
def test_too_many_bad_records_are_an_error_and_a_larger_budget_goes_on(tmp_path):
    data = write_corpus(tmp_path / "corpus", broken=tuple(range(4, 20)))
    strict = config.Stream(mixture="manifest_recognition", bad_records=config.BadRecords(max_share=0.5, grace=3))
    with pytest.raises(quarantine.TooManyBadRecords, match="16 of 20 could not be used"):
        caching.cache(settings_with(data, strict), splits=["train"], out=tmp_path / "cache", shards=1, workers=1)
    assert not (tmp_path / "cache" / "info.json").exists()
    counts = caching.cache(data, splits=["train"], out=tmp_path / "cache")
    assert counts["caches"][0]["splits"]["train"]["records"] == 4
    assert len((tmp_path / "cache" / "bad.jsonl").read_text().splitlines()) == 16


def settings_with(data: config.Data, stream: config.Stream) -> config.Data:
    return config.Data(task_modules=data.task_modules, manifest=data.manifest, stream=stream)


@pytest.mark.slow
def test_tasks_that_share_a_source_are_written_once_and_plain_sources_of_seqio_too(here):
    (here / "plain_cache_tasks.py").write_text(PLAIN_TASKS)
    counts = caching.cache(
        settings("plain_mixture", modules=("plain_cache_tasks",)), splits=["train", "test"], out=here / "out", workers=2
    )
    one, other = counts["caches"]
    assert one["tasks"] == ["plain_one", "plain_two"]
    assert sorted(one["splits"]) == ["train"]
    assert other["tasks"] == ["plain_other"]
    assert sorted(other["splits"]) == ["test", "train"]
    assert sorted(path.name for path in (here / "out").iterdir()) == ["plain_one", "plain_other"]
    found = examples(sources.RecordsSource(here / "out" / "plain_one", ["train"]), "train")
    assert [one["text"] for one in found] == [f"line {i}".encode() for i in range(11)]
    assert [int(one["number"]) for one in found] == list(range(11))
    assert [one["scores"].tolist() for one in found] == [[i / 4, 0.5] for i in range(11)]
    assert found[3]["id"] == b"train[3]"


@pytest.mark.slow
def test_a_cache_that_was_killed_goes_on_to_the_same_bytes(here):
    (here / "slow_cache_tasks.py").write_text(SLOW_TASKS)
    words = ["--task=slow_one", "--task_module=slow_cache_tasks", "--shards=20", "--workers=2", "--out=killed"]
    command = [sys.executable, "-m", "speechlm_jax", "cache", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    folder = here / "killed"
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_for(lambda: len(list(folder.glob("train*.json"))) >= 3, process)
        children = [
            int(one) for one in pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        ]
        process.send_signal(signal.SIGKILL)
    wait_for(lambda: not any(map(runs, children)))
    whole = {path.name: path.stat().st_mtime_ns for path in folder.glob("train*.json")}
    assert 3 <= len(whole) < 20
    assert not (folder / "info.json").exists()
    done = subprocess.run(
        [*command, "--json=counts/killed.json", "--workers=1"], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads((here / "counts" / "killed.json").read_text())
    assert {name: (folder / name).stat().st_mtime_ns for name in whole} == whole
    slow = settings("slow_one", modules=("tasks.embedded", "slow_cache_tasks"))
    caching.cache(slow, splits=["train"], out=here / "through", shards=20, workers=1)
    assert contents(folder) == contents(here / "through")


def wait_for(happened, process: subprocess.Popen | None = None) -> None:
    give_up = time.monotonic() + 240
    while not happened():
        assert time.monotonic() < give_up
        assert process is None or process.poll() is None
        time.sleep(0.05)


def runs(process: int) -> bool:
    """Whether a process is there, and not merely waiting to be asked how it ended."""
    try:
        return pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
