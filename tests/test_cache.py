"""Verb `cache`: what it refuses, before anything slow is imported."""

import importlib.util
import sys

import pytest

from speechlm_jax import cli


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "--out must be set, and nothing sets it."),
        (["--out=out"], "wanted a task and a split, found '' and 'train'. Give --task and --split."),
        (["--out=out", "--task=some", "--split=,"], "wanted a task and a split, found 'some' and ','."),
        (["--out=out", "--task=some", "--shards=0"], "wanted --shards of 1 or more, found 0."),
        (["--out=out", "--task=some", "--workers=-1"], "wanted --workers of 1 or more, found -1."),
        (["--out=out", "--task=some", "--beam_option=a=b"], "Give --beam_runner, too."),
        (["--out=out", "--task=some", "--manifest=no.jsonl"], "manifest no.jsonl: there is no such file."),
        (["--out=out", "--task=some", "--manifest=."], "manifest .: it is a folder. Set Manifest.path to a .jsonl"),
        (["--out=out", "--task=manifest"], "reading a manifest: none is named."),
    ],
)
def test_a_mistake_is_told_before_anything_is_read(capsys, tmp_path, monkeypatch, words, told):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["cache", *words]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert told in err
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(importlib.util.find_spec("apache_beam") is not None, reason="apache-beam is installed")
def test_without_apache_beam_its_extra_is_named(capsys):
    assert cli.main(["cache", "--out=out", "--task=some", "--beam_runner=DirectRunner"]) == 2
    assert "Install the extra [beam]" in capsys.readouterr().err
    assert "apache_beam" not in sys.modules
