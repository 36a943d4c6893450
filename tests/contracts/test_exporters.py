"""Every format offers what the verbs ask of it."""

import pathlib

import pytest

from speechlm_jax import export, exporters


def test_every_file_of_the_folder_is_a_format():
    (folder,) = map(pathlib.Path, exporters.__path__)
    assert sorted(export.names()) == sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("name", export.names())
def test_a_format_writes_reads_back_and_says_what_it_leaves_out(name):
    member = export.find(name)
    assert all(callable(getattr(member, part)) for part in ("write", "check", "left_out"))
    assert isinstance(member.LIBRARY, str)
    assert hasattr(member, "bring") == hasattr(member, "check_against")


def test_a_format_that_is_not_there_is_told():
    with pytest.raises(ValueError, match=r"one of .*whisper.*found 'whispr'\. Nearest: 'whisper'"):
        export.find("whispr")
