"""JSON that is written whole."""

import json
import math

import pytest

from speechlm_jax import whole_files


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
