"""JSON that is written whole."""

import json
import math
import os

import pytest

from speechlm_jax import whole_files
from speechlm_jax.data import records


def test_a_number_that_is_none_is_null(tmp_path):
    whole_files.write_json(
        tmp_path / "new" / "scores.json", {"auc": math.nan, "each": [1.5, {"most": math.inf}], "name": "nan"}
    )
    found = json.loads((tmp_path / "new" / "scores.json").read_text(), parse_constant=lambda name: 1 / 0)
    assert found == {"auc": None, "each": [1.5, {"most": None}], "name": "nan"}


def test_what_could_not_be_written_is_told_before_the_work(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"writing --out=.*: it is a folder\. Name a file"):
        whole_files.check_file(tmp_path, "--out")
    with pytest.raises(ValueError, match=r"writing --json=.*/file: Not a directory\. Name another place"):
        whole_files.check_file(tmp_path / "file" / "scores.json", "--json")
    for folder in (tmp_path / "file", "/proc/speechlm"):
        with pytest.raises(ValueError, match=r"writing --out_dir="):
            whole_files.check_folder(folder, "--out_dir")
    whole_files.check_file(tmp_path / "new" / "scores.json", "--json")
    whole_files.check_folder(tmp_path / "new", "--out_dir")
    whole_files.check_file(None, "--json")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_lines_stand_for_themselves_whatever_was_left_before_them(tmp_path):
    path = tmp_path / "lines.jsonl"
    path.write_text('{"whole": 1}\n{"to')
    lines = whole_files.Lines(path)
    assert lines.add('{"whole": 2}') and lines.add('{"whole": 3}')
    assert path.read_text().splitlines() == ['{"whole": 1}', '{"to', '{"whole": 2}', '{"whole": 3}']


def test_a_line_that_cannot_be_written_is_told_and_those_after_it_stand_for_themselves(tmp_path, caplog):
    path = tmp_path / "gone" / "lines.jsonl"
    lines = whole_files.Lines(path)
    assert not lines.add("lost")
    assert f"writing to {path}: No such file or directory. A line is missing there" in caplog.text
    path.parent.mkdir()
    assert lines.add("kept") and path.read_text() == "kept\n"


def test_a_file_that_is_larger_than_any_of_ours_is_not_read(tmp_path):
    path = tmp_path / "info.json"
    path.write_text("{}")
    assert whole_files.read_text(path) == "{}"
    os.truncate(path, whole_files.MOST_BYTES + 1)
    with pytest.raises(ValueError, match="268,435,457 bytes, wanted 268,435,456 at most"):
        whole_files.read_text(path)
    with pytest.raises(ValueError, match="info.json is damaged .*268,435,457 bytes"):
        records.read_info(tmp_path)


@pytest.mark.parametrize("path", ["/dev/full", "/dev/null", "/dev/stdout"])
def test_a_device_is_not_replaced_by_a_file(path):
    kind = os.lstat(path).st_mode
    with pytest.raises(ValueError, match=f"writing --json={path}: it is a device or a pipe"):
        whole_files.check_file(path, "--json")
    with pytest.raises(ValueError, match=f"writing {path}: it is a device or a pipe"):
        whole_files.write_json(path, {})
    assert os.lstat(path).st_mode == kind


def test_a_name_may_be_as_long_as_file_systems_take(tmp_path):
    path = tmp_path / ("\u5b57" * 83 + ".json")
    whole_files.write_text(path, "whole")
    assert path.read_text() == "whole" and list(tmp_path.iterdir()) == [path]


def test_whoever_comes_second_is_told(tmp_path):
    taken = pytest.raises(ValueError, match="another command is writing there")
    with whole_files.alone(tmp_path, "writing to"), taken, whole_files.alone(tmp_path, "writing to"):
        pass
