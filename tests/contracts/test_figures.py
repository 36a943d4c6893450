"""What the scripts of benchmarks/ keep."""

import argparse
import json

import figures
import pytest


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["/home/me/benchmarks/growth.py", "--plot", "docs/growth.png"], "growth.py --plot docs/growth.png"),
        (["x/step.py", "--lengths", "/data/libri.txt", "--rows", "4"], "step.py --lengths libri.txt --rows 4"),
        (["step.py", "--lengths=../data/libri.txt", "--no_peer"], "step.py --lengths=libri.txt --no_peer"),
    ],
)
def test_a_command_is_kept_as_one_would_give_it_anywhere(words, told):
    assert figures.command(words) == f"python benchmarks/{told}"


def test_what_is_kept_is_what_was_printed_with_what_it_was_made_with(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(figures, "KEPT", tmp_path)
    monkeypatch.setenv("GLIBC_TUNABLES", "some")
    told = figures.tell({"ratio": 1.5}, argparse.Namespace(keep="this"), "jaxlib")
    assert told == figures.kept("this") == json.loads(capsys.readouterr().out)
    assert told["ratio"] == 1.5 and told["environment"]["GLIBC_TUNABLES"] == "some"
    assert {"jax", "jaxlib"} <= told["versions"].keys() and told["cpus"] > 0


@pytest.mark.parametrize("words", [["--keep", "../other"], ["--keep", "a/b"], ["--rounds", "0"], ["--rounds", "-1"]])
def test_a_flag_that_a_script_could_not_go_by_is_refused(words, capsys):
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=figures.positive)
    figures.add_arguments(parser)
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args(words)
    assert words[1] in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "two\n", "1.5\n-2\n", "nan\n", "1 2\n3 4\n"])
def test_lengths_that_are_none_end_a_script(text, tmp_path):
    (tmp_path / "lengths.txt").write_text(text)
    with pytest.raises(SystemExit, match="lengths.txt: .*anted a duration in seconds"):
        figures.durations(str(tmp_path / "lengths.txt"))
    with pytest.raises(SystemExit, match="nowhere.txt.*not found"):
        figures.durations(str(tmp_path / "nowhere.txt"))
