"""Records written as sound files and a manifest come back as they were."""

import errno
import json

import numpy as np
import pytest
import seqio

from speechlm_jax import audio, storage
from speechlm_jax.data import config, exports, features, manifest, objectives, sources

WAVE = (8000 * np.sin(np.arange(8000) / 20)).astype(np.int16)
RECORDS = [
    {"id": "a/1", "audio": WAVE, "text": "你好", "translation/en": "hello", "count": 2},
    {"id": "a 1", "audio": WAVE[:6000], "text": "", "translation/en": "", "count": 0},
    {"id": "mute", "audio": np.zeros(0, np.int16), "text": "no sound", "translation/en": "", "count": 1},
]
FIELDS = {"id": "text", "audio": "audio", "text": "text", "translation/en": "text", "count": "int"}


class Broken(list):
    """Records of which the second cannot be read."""

    def __getitem__(self, index):
        if index == 1:
            raise ValueError("the disk is gone")
        return super().__getitem__(index)


class Gone(list):
    """Records on storage that does not answer."""

    def __getitem__(self, index):
        raise OSError(errno.ESTALE, "Stale file handle")


@pytest.fixture
def data():
    shared = sources.SequenceSource({"test": RECORDS}, FIELDS)
    tasks = {
        "exported": shared,
        "exported_again": shared,
        "exported_broken": sources.SequenceSource({"test": Broken(RECORDS)}, FIELDS),
        "exported_gone": sources.SequenceSource({"test": Gone(RECORDS)}, FIELDS),
    }
    for name, source in tasks.items():
        seqio.TaskRegistry.add(name, source, features.OUTPUT_FEATURES, objectives.recognition())
    seqio.MixtureRegistry.add("exported_both", [("exported", 1.0), ("exported_again", 1.0)])
    yield lambda mixture: config.Data(task_modules=(), stream=config.Stream(mixture=mixture, split="test"))
    seqio.MixtureRegistry.remove("exported_both")
    for name in tasks:
        seqio.TaskRegistry.remove(name)


def test_records_come_back_as_they_were(data, tmp_path):
    told = exports.export(data("exported"), tmp_path / "out")
    assert told == {"manifest": str(tmp_path / "out" / "manifest.jsonl"), "records": 3, "bad": 0}
    read = manifest.Manifest(told["manifest"])
    reader = manifest.Reader(read, read.select(manifest.Lines()))
    for index, want in enumerate(RECORDS):
        found = reader[index]
        assert {name: found[name] for name in FIELDS if name != "audio"} == {
            name: value for name, value in want.items() if name != "audio"
        }
        np.testing.assert_array_equal(found["audio"], want["audio"])


def test_records_of_a_shared_source_are_written_once_and_a_limit_holds(data, tmp_path):
    assert exports.export(data("exported_both"), tmp_path / "all")["records"] == 3
    assert exports.export(data("exported_both"), tmp_path / "two", limit=2)["records"] == 2
    lines = (tmp_path / "two" / "manifest.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["a/1", "a 1"]
    sounds = sorted(path.name for path in (tmp_path / "two").glob("*.wav"))
    assert len(sounds) == 2
    assert {len(audio.read(tmp_path / "two" / name)) for name in sounds} == {8000, 6000}


def test_a_record_that_cannot_be_read_is_told_and_left_out(data, tmp_path, capsys):
    told = exports.export(data("exported_broken"), tmp_path / "out")
    assert (told["records"], told["bad"]) == (2, 1)
    assert "the disk is gone" in capsys.readouterr().err


def test_storage_that_never_answers_makes_no_record_a_bad_one(data, tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(storage, "MOST_PATIENCE_SECONDS", 0.3)
    with pytest.raises(storage.NoAnswer, match=r"reading test\[0\]: storage has not answered"):
        exports.export(data("exported_gone"), tmp_path / "out")
    assert not (tmp_path / "out" / "manifest.jsonl").exists()


def test_a_folder_that_has_other_files_is_left_alone(data, tmp_path):
    (tmp_path / "a.wav").write_text("mine")
    with pytest.raises(ValueError, match=r"wanted a folder that is new or empty, found 'a\.wav' in"):
        exports.export(data("exported"), tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["a.wav"]
    assert (tmp_path / "a.wav").read_text() == "mine"
