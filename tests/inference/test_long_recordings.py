"""Recordings that no row holds are heard in pieces, told when what was said, and written as people read them."""

import dataclasses
import json
import re

import numpy as np
import pytest
import soundfile
from inference import untrained

import speechlm_jax
from speechlm_jax import cli, endings
from speechlm_jax.inference import config, told

pytestmark = pytest.mark.slow
SECONDS = 11.0
FEWER = 600
"""Pieces of another vocabulary."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("long")
    random = np.random.default_rng(0)
    parts = [random.normal(0, 0.1 * (number % 2 == 0), 8_000) for number in range(22)]
    soundfile.write(made / "long.flac", np.concatenate(parts), 16_000)
    soundfile.write(made / "short.wav", parts[0], 16_000)
    soundfile.write(made / "other.wav", np.repeat(np.concatenate(parts), 2)[: 32_000 * 5], 32_000)
    content = (made / "long.flac").read_bytes()
    (made / "cut.flac").write_bytes(content[: len(content) * 2 // 3])
    untrained.write(made / "run")
    return made


def infer(folder, *words):
    return cli.main(["infer", f"--checkpoint={folder}/run", "--language=en", *map(str, words)])


def lines(capsys, folder, *words):
    assert infer(folder, *words) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def check(line, seconds):
    """What is told of a recording hangs together."""
    assert line["seconds"] == pytest.approx(seconds, abs=0.01)
    spans = [(segment["start"], segment["end"]) for segment in line["segments"]]
    assert all(0 <= start < end <= seconds + 0.1 for start, end in spans) and spans == sorted(spans)
    words = [word for segment in line["segments"] for word in segment["words"]]
    assert "".join(word["word"] for word in words) == "".join(line["text"].split())
    assert 0 <= line["coverage"]["share"] <= 1


@pytest.mark.parametrize("search", ["decoder", "ctc"])
def test_a_long_recording_is_heard_in_pieces_whatever_shares_their_rows(folder, capsys, search):
    found = lines(
        capsys, folder, f"--search={search}", folder / "long.flac", folder / "short.wav", folder / "other.wav"
    )
    assert [line["id"] for line in found] == ["long.flac", "short.wav", "other.wav"]
    check(found[0], SECONDS)
    check(found[2], 5.0)
    assert found[0]["coverage"]["pieces"] > 5 and 2 < found[2]["coverage"]["pieces"] < 5
    assert set(found[1]) - {"cut"} == {"id", "text", "seconds"}
    assert found[0]["coverage"]["seconds_of_sound"] == pytest.approx(SECONDS / 2, abs=0.3)
    (alone,) = lines(capsys, folder, f"--search={search}", "--rows=1", folder / "long.flac")
    assert alone == found[0]


def test_times_are_told_of_short_ones_where_they_are_asked_for(folder, capsys):
    (line,) = lines(capsys, folder, "--times", folder / "short.wav")
    check(line, 0.5)
    assert line["coverage"]["pieces"] == 1


def test_pieces_are_as_long_as_asked(folder, capsys):
    (line,) = lines(capsys, folder, "--piece_seconds=1", folder / "long.flac")
    assert line["coverage"]["pieces"] > 11
    assert infer(folder, "--piece_seconds=3", folder / "long.flac") == 2
    assert "wanted --piece_seconds of 2.38 at most, which a row holds" in capsys.readouterr().err


def test_another_checkpoint_tells_when_words_were_said(folder, capsys, tmp_path):
    """Of a model that spells otherwise, and of one that has no CTC head itself."""
    untrained.write(tmp_path / "other", pieces=FEWER, noise=0.2)
    untrained.write(tmp_path / "deaf", ctc=False, noise=0.2)
    by_other, short = f"--aligner={tmp_path}/other", "--gin.infer.run.decode_steps=6"
    for asked in ([f"--checkpoint={folder}/run"], [f"--checkpoint={tmp_path}/deaf", short]):
        asked += ["--times", folder / "short.wav"]
        (plain,), (found,) = lines(capsys, folder, *asked), lines(capsys, folder, by_other, *asked)
        check(found, 0.5)
        assert found["text"] == plain["text"] and found["segments"] != plain["segments"]
    assert "words" not in plain["segments"][0]
    check(*lines(capsys, folder, by_other, *asked[:2], folder / "long.flac"), SECONDS)
    assert infer(folder, f"--aligner={tmp_path}/deaf", folder / "long.flac") == 2
    assert "it was trained with no CTC head" in capsys.readouterr().err


def test_an_aligner_hears_whole_pieces(folder, capsys, tmp_path):
    untrained.write(tmp_path, row=dataclasses.replace(untrained.ROW, audio_seconds=1.6))
    asked = (f"--aligner={tmp_path}", folder / "long.flac")
    assert infer(folder, *asked) == 2
    error = capsys.readouterr().err
    shorter = re.search(r"it hears (\S+) s at once, and pieces have 2.38. Add (--piece_seconds=\1), or", error)
    check(*lines(capsys, folder, shorter[2], *asked), SECONDS)


def test_a_translation_has_the_times_of_pieces(folder, capsys):
    (line,) = lines(capsys, folder, "--use=translate", "--to=de", folder / "other.wav")
    assert len(line["segments"]) == line["coverage"]["pieces"] and "words" not in line["segments"][0]
    assert line["text"] == " ".join(segment["text"] for segment in line["segments"])


def test_what_was_heard_of_a_recording_that_is_cut_short_is_not_lost(folder, capsys):
    found = lines(capsys, folder, folder / "cut.flac", folder / "long.flac")
    assert "cut" in found[0]["error"] and found[0]["coverage"]["pieces"] > 1
    check(found[1], SECONDS)


def test_subtitles_and_text(folder, capsys, tmp_path):
    assert infer(folder, "--format=srt", folder / "long.flac") == 0
    assert capsys.readouterr().out.startswith("1\n00:00:0")
    assert infer(folder, "--format=vtt", folder / "long.flac", f"--out={tmp_path}/long.vtt") == 0
    assert (tmp_path / "long.vtt").read_text().startswith("WEBVTT\n\n00:00:0") and len(list(tmp_path.iterdir())) == 1
    capsys.readouterr()
    both = (folder / "long.flac", folder / "cut.flac")
    assert infer(folder, "--format=text", *both, folder / "short.wav") == 0
    said = capsys.readouterr()
    assert said.out.count("\n") == 3 and "cut.flac: " in said.err
    assert infer(folder, "--format=vtt", *both, f"--out_dir={tmp_path}/each") == 0
    assert sorted(path.name for path in (tmp_path / "each").iterdir()) == ["cut.flac.vtt", "long.flac.vtt"]
    assert (tmp_path / "each" / "cut.flac.vtt").read_text().count("-->") > 1, "what was heard before the damage"
    assert (tmp_path / "each" / "long.flac.vtt").read_text() == (tmp_path / "long.vtt").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--format=srt", "{folder}/long.flac", "{folder}/short.wav"], "makes a file of each recording, found 2"),
        (["--format=sub", "{folder}/long.flac"], "jsonl, text, srt, vtt, found 'sub'"),
        (["--out_dir={folder}/out", "{folder}/long.flac"], "Name their --format"),
        (["--use=classify", "--about=x", "--times", "{folder}/long.flac"], "--times means nothing to --use=classify"),
        (["--use=classify", "--about=x", "--format=vtt", "{folder}/long.flac"], "says what was said when"),
        (["--piece_seconds=0.5", "{folder}/long.flac"], "--piece_seconds of 1 or more"),
        (["--use=translate", "--to=de", "--aligner=a", "{folder}/long.flac"], "--aligner means nothing to --use=trans"),
        (["--aligner={folder}/none", "{folder}/long.flac"], "none' does not exist"),
    ],
)
def test_mistakes_are_told_in_a_line(folder, capsys, words, message):
    assert cli.main(["infer", f"--checkpoint={folder}/run", *(word.format(folder=folder) for word in words)]) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


def test_a_command_that_was_ended_within_a_recording_goes_on_in_it(folder, capsys, tmp_path, monkeypatch):
    files = (folder / "short.wav", folder / "long.flac", folder / "other.wav")
    assert infer(folder, "--rows=1", *files, f"--out={tmp_path}/whole.jsonl") == 0
    add, written = told.Out.add, []

    def ended(out, number, line):
        if len(written) == 4:
            raise KeyboardInterrupt
        written.append(number)
        return add(out, number, line)

    monkeypatch.setattr(told.Out, "add", ended)
    assert infer(folder, "--rows=1", *files, f"--out={tmp_path}/ended.jsonl") == endings.INTERRUPTED
    monkeypatch.undo()
    assert not (tmp_path / "ended.jsonl").exists()
    assert infer(folder, "--rows=1", *files, f"--out={tmp_path}/ended.jsonl") == 0
    assert "going on behind the 4 lines" in capsys.readouterr().err
    assert (tmp_path / "ended.jsonl").read_text() == (tmp_path / "whole.jsonl").read_text()
    assert not list(tmp_path.glob("*.part"))


def test_python_gives_what_the_command_line_writes(folder, capsys):
    wanted = lines(capsys, folder, folder / "long.flac", folder / "short.wav")
    model = speechlm_jax.load(folder / "run")
    assert model.transcribe([folder / "long.flac", folder / "short.wav"], language="en") == wanted
    samples, _ = soundfile.read(folder / "short.wav", dtype="int16")
    (line,) = model.transcribe(samples, language="en")
    assert line == {**wanted[1], "id": "recording-1"}
    (line,) = model.transcribe(samples, language="en", search=config.Search(beam=2), times=True)
    assert line["coverage"]["pieces"] == 1
    assert len(model.translate(to="de", text=["you", "and me"], language="en")) == 2
    programs = len(model._answers)
    assert len(model.translate(to="zh", text="another", language="en")) == 1 and len(model._answers) == programs
    assert model.classify(samples, about="mood", labels=["happy", "sad"])[0]["text"] in ("happy", "sad")
    assert "text" in model.answer("who?", samples)[0] and "score" in model.match(samples, "you")[0]
    assert "error" in model.transcribe(samples[:100], language="en")[0]
    with pytest.raises(ValueError, match="wanted samples as int16 of rank 1"):
        model.transcribe(samples.astype(np.float32))
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        _ = speechlm_jax.lode
