"""Manifests give the examples that they list, and refuse what would surprise."""

import json
import os

import numpy as np
import pytest
import soundfile

from speechlm_jax import audio
from speechlm_jax.data import manifest

RANDOM = np.random.default_rng(0)


def clip(path, samples: int, rate: int = 16_000) -> np.ndarray:
    wave = RANDOM.integers(-9_000, 9_000, samples).astype(np.int16)
    path.parent.mkdir(exist_ok=True)
    soundfile.write(path, wave, rate)
    return wave


def opened(folder, *rows, name: str = "manifest.jsonl") -> manifest.Manifest:
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return manifest.Manifest(folder / name)


def reader(folder, *rows, **options) -> manifest.Reader:
    found = opened(folder, *rows)
    return manifest.Reader(found, range(len(found)), **options)


def test_an_example_is_its_line_with_the_recording_decoded(tmp_path):
    waves = [clip(tmp_path / "audio" / f"{name}.flac", 4_000) for name in "ab"]
    read = reader(
        tmp_path,
        {"id": "a", "audio": "audio/a.flac", "text": "one", "translation": {"de": "eins"}, "label": 3, "tags": ["x"]},
        {"id": "b", "audio": "audio/b.flac", "duration": 0.25, "target_audio": "audio/a.flac"},
        {"id": "c", "text": "no speech", "audio": None},
    )
    assert read.fields == {
        "id": "text",
        "audio": "audio",
        "text": "text",
        "translation/de": "text",
        "label": "int",
        "tags": "texts",
        "duration": "float",
        "target_audio": "audio",
    }
    first, second, third = (read[index] for index in range(3))
    np.testing.assert_array_equal(first["audio"], waves[0])
    np.testing.assert_array_equal(second["audio"], waves[1])
    np.testing.assert_array_equal(second["target_audio"], waves[0])
    assert (first["id"], first["translation/de"], first["label"], list(first["tags"])) == ("a", "eins", 3, ["x"])
    assert (second["text"], second["label"], second["duration"], len(second["tags"])) == ("", 0, np.float32(0.25), 0)
    assert third["audio"].dtype == np.int16
    assert len(third["audio"]) == len(third["target_audio"]) == 0
    assert [read.name(index) for index in range(3)] == ["a", "b", "c"]


def test_clips_are_put_in_a_row_with_silence_between(tmp_path):
    a, b = clip(tmp_path / "a.wav", 500), clip(tmp_path / "b.wav", 700)
    read = reader(
        tmp_path,
        {"id": "1", "clips": ["a.wav", "b.wav", "a.wav"], "gap_ms": [50, 0, 12.5, 100], "text": "x"},
        {"id": "2", "clips": ["b.wav"]},
        {"id": "3", "audio": "a.wav"},
    )
    assert "clips" not in read.fields
    assert "gap_ms" not in read.fields
    silence = [np.zeros(length, np.int16) for length in (800, 200, 1_600)]
    np.testing.assert_array_equal(read[0]["audio"], np.concatenate([silence[0], a, b, silence[1], a, silence[2]]))
    np.testing.assert_array_equal(read[1]["audio"], b)
    np.testing.assert_array_equal(read[2]["audio"], a)


def test_the_limit_counts_a_whole_row_of_clips(tmp_path):
    clip(tmp_path / "a.wav", 16_000)
    row = {"clips": ["a.wav", "a.wav"], "gap_ms": [0, 500, 0]}
    assert len(reader(tmp_path, row, max_seconds=2.5)[0]["audio"]) == 40_000
    for limit in (2.4, 1.2, 0.3):
        with pytest.raises(audio.AudioError, match=f"max_seconds={limit}"):
            reader(tmp_path, row, max_seconds=limit)[0]
    with pytest.raises(audio.AudioError, match="max_seconds=60"):
        reader(tmp_path, {"clips": ["a.wav"], "gap_ms": [10**12, 0]})[0]


def test_a_recording_that_is_not_there_is_found_when_it_is_read(tmp_path):
    clip(tmp_path / "a.wav", 900)
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    read = reader(tmp_path, {"audio": "none/x.wav"}, {"audio": "broken.wav"}, {"clips": ["a.wav", "b.wav"]})
    for index, reason in enumerate(["no such file", "cannot be read as audio", "b.wav: there is no such file"]):
        with pytest.raises(audio.AudioError, match=reason):
            read[index]


def test_examples_without_an_id_are_named_after_their_line(tmp_path):
    found = opened(tmp_path, {"id": 7}, {"text": "x"}, {"id": None})
    assert found.column("id") == ["7", "line-2", "line-3"]
    (tmp_path / "t.tsv").write_text("en\tde\na\tb\n")
    assert manifest.Manifest(tmp_path / "t.tsv").column("id") == ["line-2"]


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([{"id": "a"}, {"id": "b"}, {"id": "a"}], "line 3: the id 'a' stands in line 1 too"),
        ([{"id": 1}, {"id": 1}], "line 2: the id '1' stands in line 1 too"),
        ([{"id": 1.5}], "the field 'id' is float"),
        ([{"audio": 3}], "the field 'audio' is int, wanted a path"),
        ([{"audio": ["a.wav"]}], "the field 'audio' is texts, wanted a path"),
        ([{}, {"audio": "/etc/passwd"}], "line 2: the path '/etc/passwd' is absolute"),
        ([{"audio": "../x.wav"}], r"line 1: the path '\.\./x.wav' is not one below"),
        ([{"audio": "a/../../x.wav"}], "is not one below"),
        ([{"target_audio": "../x.wav"}], "is not one below"),
        ([{"clips": ["a.wav", "/b.wav"]}], "line 1: the path '/b.wav' is absolute"),
        ([{"audio": "a\0.wav"}], "is not one below"),
        ([{"clips": ["a.wav"], "audio": "b.wav"}], "both 'audio' and 'clips'"),
        ([{"clips": "a.wav"}], "'clips' is text"),
        ([{"clips": ["a.wav"], "gap_ms": [1]}], r"1 clips and gap_ms \[1\], wanted one gap more"),
        ([{"clips": ["a.wav"], "gap_ms": [1, -2]}], "none below 0"),
        ([{"clips": ["a.wav"], "gap_ms": ["1", "2"]}], "'gap_ms' texts"),
    ],
)
def test_what_would_surprise_is_refused_when_the_manifest_is_opened(tmp_path, rows, reason):
    with pytest.raises(ValueError, match=reason):
        opened(tmp_path, *rows)


def test_links_out_of_the_folder_are_refused_and_links_within_are_not(tmp_path):
    folder = tmp_path / "corpus"
    folder.mkdir()
    wave = clip(tmp_path / "elsewhere" / "a.wav", 900)
    clip(folder / "audio" / "a.wav", 900)
    os.symlink(tmp_path / "elsewhere", folder / "out")
    os.symlink(tmp_path / "elsewhere" / "a.wav", folder / "audio" / "b.wav")
    os.symlink("a.wav", folder / "audio" / "c.wav")
    with pytest.raises(ValueError, match="line 1: the folder 'out' is a link out of the manifest's folder"):
        opened(folder, {"audio": "out/a.wav"})
    for path in ("audio/b.wav", "./audio//b.wav"):
        with pytest.raises(ValueError, match=r"line 2: the path '.*b\.wav' is a link out"):
            opened(folder, {"audio": "audio/a.wav"}, {"audio": path})
    assert len(reader(folder, {"audio": "audio/c.wav"})[0]["audio"]) == 900
    os.symlink(folder, tmp_path / "linked")
    assert len(reader(tmp_path / "linked", {"audio": "audio/c.wav"})[0]["audio"]) == 900
    os.symlink(tmp_path / "elsewhere" / "a.wav", tmp_path / "elsewhere" / "d.wav")
    np.testing.assert_array_equal(reader(tmp_path / "elsewhere", {"audio": "d.wav"})[0]["audio"], wave)


ROWS = [
    {"id": str(number), "split": split, "speaker": speaker, "label": number % 2}
    for number, (split, speaker) in enumerate(
        [("train", "x"), ("train", "y"), ("test", "x"), ("train", "z"), ("dev", "y")]
    )
]


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        (manifest.Lines(), [0, 1, 2, 3, 4]),
        (manifest.Lines(where={"split": "train"}), [0, 1, 3]),
        (manifest.Lines(where={"split": ("test", "dev")}), [2, 4]),
        (manifest.Lines(where={"split": "train", "label": 1}), [1, 3]),
        (manifest.Lines(exclude={"speaker": "x"}), [1, 3, 4]),
        (manifest.Lines(exclude={"speaker": ("x", "y")}), [3]),
        (manifest.Lines(where={"split": "train"}, exclude={"speaker": "y", "label": 0}), [3]),
    ],
)
def test_lines_are_chosen_by_their_fields(tmp_path, lines, wanted):
    assert opened(tmp_path, *ROWS).select(lines).tolist() == wanted


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (
            manifest.Lines(where={"split": "tset"}),
            "no line has split = 'tset'. Nearest: 'test'. There are: 'dev', 'test', 'train'",
        ),
        (manifest.Lines(exclude={"speaker": ("x", "theo")}), "no line has speaker = 'theo'"),
        (manifest.Lines(where={"splt": "test"}), "no field 'splt' to choose lines by. Nearest: 'split'"),
        (manifest.Lines(where={"label": "1"}), "no line has label = '1'"),
        (
            manifest.Lines(where={"split": "dev"}, exclude={"speaker": "y"}),
            "none of its 5 lines is one with split = 'dev' and without speaker = 'y'.",
        ),
    ],
)
def test_a_choice_that_names_what_is_not_there_is_refused(tmp_path, lines, reason):
    with pytest.raises(ValueError) as raised:
        opened(tmp_path, *ROWS).select(lines)
    assert reason in str(raised.value)


def test_shares_cut_a_manifest_once_and_for_all(tmp_path):
    rows = [{"id": f"utterance-{number}"} for number in range(2_000)]
    found = opened(tmp_path, *rows)
    cuts = [(0.0, 0.9), (0.9, 0.95), (0.95, 1.0)]
    parts = [found.select(manifest.Lines(share=cut)).tolist() for cut in cuts]
    assert sorted(index for part in parts for index in part) == list(range(2_000))
    for part, (low, high) in zip(parts, cuts, strict=True):
        assert abs(len(part) / 2_000 - (high - low)) < 0.02
    half = opened(tmp_path, *rows[1_000:]).select(manifest.Lines(share=cuts[1]))
    assert [index + 1_000 for index in half] == [index for index in parts[1] if index >= 1_000]
    with pytest.raises(ValueError, match=r"share=\(0\.9, 0\.5\)"):
        manifest.Lines(share=(0.9, 0.5))


def test_the_fingerprint_changes_with_what_is_said_of_the_lines_that_are_read(tmp_path):
    def fingerprint(rows, indices):
        return manifest.Reader(opened(tmp_path, *rows), indices).fingerprint()

    base = fingerprint(ROWS, [0, 1])
    changed = [{**row, "speaker": "w"} if row["id"] == "1" else row for row in ROWS]
    assert base == fingerprint(ROWS, [0, 1])
    assert base == fingerprint([*ROWS[:4], {**ROWS[4], "speaker": "w"}], [0, 1])
    assert len({base, fingerprint(ROWS, [0]), fingerprint(ROWS, [1, 0]), fingerprint(changed, [0, 1])}) == 4
    assert base.startswith("2-")
