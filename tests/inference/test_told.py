"""Answers go out in order, the pieces of a recording as one, to files that bear their names once they are whole."""

import json

import pytest

from speechlm_jax.inference import told, transcripts


def one(name, text="x", **more):
    return {"id": name, "text": text, **more}


def piece(name, number, text, *, last=False):
    heard = transcripts.Heard(text, (number, number + 1.0), None, [(number, number + 1.0)])
    return {"id": name, "seconds": number + 1.0, "heard": heard, "last": last}


def test_lines_wait_for_those_before_them(capsys):
    with told.opened(None, None, "jsonl", None) as out:
        assert out.add(2, one("c")) == 0 and out.add(0, one("a")) == 1
        assert capsys.readouterr().out == '{"id": "a", "text": "x"}\n'
        assert out.add(1, {"id": "b", "error": "why"}) == 2
    assert [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()] == ["b", "c"]
    assert (out.written, out.entries, out.answered, out.pieces) == (3, 3, 2, 0)


def test_a_file_bears_its_name_once_it_is_whole(tmp_path, capsys):
    path = tmp_path / "lines.jsonl"
    path.write_text("former\n")

    def interrupted():
        with told.opened(str(path), "abc", "jsonl", None) as out:
            out.add(0, one("a"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    (part,) = tmp_path.glob("lines.jsonl.*.part")
    with part.open("a") as file:
        file.write('{"id": "ha')
    assert path.read_text() == "former\n" and str(part) in capsys.readouterr().err
    with told.opened(str(path), "of another command", "jsonl", None) as out:
        assert out.written == 0
    assert path.read_text() == ""
    with told.opened(str(path), "abc", "jsonl", None) as out:
        assert (out.written, out.entries, out.answered) == (1, 1, 1)
        out.add(1, one("b"))
    assert path.read_text() == '{"id": "a", "text": "x"}\n{"id": "b", "text": "x"}\n'
    assert list(tmp_path.iterdir()) == [path]
    assert f"going on behind the 1 lines of this command that stand in {part}" in capsys.readouterr().err


def test_pieces_are_told_as_one_and_gone_on_with(tmp_path, capsys):
    lines = [one("a"), piece("b", 0, "one"), piece("b", 1, "two"), piece("b", 2, "three", last=True), one("c")]
    with told.opened(None, None, "jsonl", None) as out:
        for number, line in enumerate(lines):
            out.add(number, line)
    wanted = capsys.readouterr().out
    whole = json.loads(wanted.splitlines()[1])
    assert (whole["text"], whole["seconds"], whole["coverage"]["pieces"]) == ("one two three", 3.0, 3)
    path = tmp_path / "out.jsonl"

    def interrupted():
        with told.opened(str(path), 1, "jsonl", None) as out:
            for number, line in enumerate(lines[:3]):
                out.add(number, line)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with told.opened(str(path), 1, "jsonl", None) as out:
        assert (out.written, out.entries, out.pieces) == (3, 1, 2)
        for number, line in enumerate(lines[3:], 3):
            out.add(number, line)
    assert path.read_text() == wanted


def test_a_piece_that_was_cut_off_is_not_forgotten(capsys):
    lines = [piece("a", 0, "one"), piece("a", 1, "two") | {"cut": True}, piece("a", 2, "three", last=True), one("b")]
    assert [answer.get("cut", False) for answer in told.answers(lines)] == [True, False]


def test_an_error_within_a_recording_keeps_what_was_heard(capsys):
    with told.opened(None, None, "jsonl", None) as out:
        out.add(0, piece("a", 0, "one"))
        out.add(1, {"id": "a", "error": "it is cut short"})
    line = json.loads(capsys.readouterr().out)
    assert (line["error"], line["text"], out.answered) == ("it is cut short", "one", 0)


def test_texts_go_to_one_place(tmp_path):
    with pytest.raises(ValueError, match="--out_dir=.*found both"), told.opened("x", 1, "text", str(tmp_path)):
        pass


@pytest.mark.parametrize("name", ["../out", "/etc/x", "a//b", "x" * 260, "a\0b"])
def test_an_id_that_is_no_name_of_a_file_is_refused(name):
    with pytest.raises(ValueError, match="not a path below a folder"):
        told.file_in("folder", name, ".srt")
    assert str(told.file_in("folder", "deep/er", ".srt")) == "folder/deep/er.srt"
