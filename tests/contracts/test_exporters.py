"""Every format offers what the verbs ask of it."""

import pkgutil

import pytest

from speechlm_jax import export, exporters

NAMES = [module.name for module in pkgutil.iter_modules(exporters.__path__)]


@pytest.mark.parametrize("name", NAMES)
def test_a_format_writes_reads_back_and_says_what_it_leaves_out(name):
    member = export.find(name)
    assert all(callable(getattr(member, part)) for part in ("write", "check", "left_out"))
    assert hasattr(member, "bring") == hasattr(member, "check_against")


def test_a_format_that_is_not_there_is_told():
    with pytest.raises(ValueError, match=r"one of .*whisper.*found 'whispr'\. Nearest: 'whisper'"):
        export.find("whispr")
