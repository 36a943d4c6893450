"""Which recordings are transcribed, under which id, in which language, and what becomes of the file of lines."""

import dataclasses
import json

import numpy as np
import pytest
import soundfile
import tiny_text

from speechlm_jax import vocabulary
from speechlm_jax.data import config
from speechlm_jax.inference import loading, recordings, transcription


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("recordings")
    for name in ("a/one.wav", "b/one.wav", "b/two.wav"):
        (made / name).parent.mkdir(exist_ok=True)
        soundfile.write(made / name, np.random.default_rng(0).normal(0, 0.1, 9000), 16_000)
    lines = [
        {"id": "first", "audio": "a/one.wav", "text": "x", "lang": "de", "spoken": "fr"},
        {"id": "two.wav", "audio": "b/two.wav", "text": "x", "lang": "", "spoken": ""},
        {"id": "mute", "audio": None, "text": "x", "lang": "de", "spoken": "de"},
        {"id": "strange", "audio": "a/one.wav", "text": "x", "lang": "tlh", "spoken": "de"},
    ]
    (made / "m.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    vocabulary.train(tiny_text.corpus(), made / "one.model", 600, languages=["de"])
    vocabulary.train(tiny_text.corpus(), made / "all.model", 600, languages=["de", "en", "fr"])
    vocabulary.train(tiny_text.corpus(), made / "foreign.model", 600, languages=["de", "fr"])
    return made


def loaded(folder, words, manifest=None):
    """As much of a checkpoint as languages depend on."""
    nothing = dict.fromkeys(loading.Loaded._fields)
    data = config.Data(manifest=manifest)
    return loading.Loaded(
        **{**nothing, "folder": "run/3", "vocabulary": vocabulary.Vocabulary.load(folder / words), "data": data}
    )


def ids(*inputs):
    return [recording.id for recording in recordings.find([str(name) for name in inputs])]


def test_every_recording_has_an_id_of_its_own(folder):
    assert ids(folder / "b", folder / "a/one.wav") == [f"{folder}/b/one.wav", "two.wav", f"{folder}/a/one.wav"]
    assert ids(folder) == ["a/one.wav", "b/one.wav", "b/two.wav"]
    again = ids(folder / "a", folder / "a", folder / "b/two.wav", folder / "m.jsonl")
    one, two = f"{folder}/a/one.wav", f"{folder}/m.jsonl: two.wav"
    assert again == [one, f"{one} (2)", f"{folder}/b/two.wav", "first", two, "mute", "strange"]


def test_the_language_is_what_the_line_says_then_what_is_asked_then_what_was_trained_on(folder):
    found = recordings.find([str(folder / "m.jsonl"), str(folder / "b/two.wav")])
    constant = config.Manifest(path="gone.jsonl", language="fr")
    assert recordings.languages(found, loaded(folder, "all.model", constant), None) == ["de", "fr", "de", "tlh", "fr"]
    assert recordings.languages(found, loaded(folder, "all.model", constant), "en") == ["de", "en", "de", "tlh", "en"]
    named = dataclasses.replace(constant, language="{spoken}")
    assert recordings.languages(found, loaded(folder, "all.model", named), "en") == ["fr", "en", "de", "de", "en"]
    assert recordings.languages(found[4:], loaded(folder, "one.model"), None) == ["de"]


def test_a_language_that_cannot_be_told_is_asked_for(folder, tmp_path, capsys):
    found = recordings.find([str(folder / "b/two.wav")])
    two = config.Manifest(path=str(folder / "m.jsonl"), language="{spoken}")
    with pytest.raises(ValueError, match=r"run/3.* found 2 that it may be: de, fr\. Say it with --language"):
        recordings.languages(found, loaded(folder, "all.model", two), None)
    with pytest.raises(ValueError, match=r"found 3 that it may be: de, en, fr"):
        recordings.languages(found, loaded(folder, "all.model", config.Manifest(path="gone.jsonl")), None)
    with pytest.raises(ValueError, match=r"found 2 that it may be: de, fr"):
        recordings.languages(found, loaded(folder, "foreign.model"), None)
    with pytest.raises(ValueError, match="language 'xx'"):
        recordings.languages(found, loaded(folder, "all.model"), "xx")
    assert recordings.languages(found, loaded(folder, "all.model"), None) == ["en"]
    assert "for English" in capsys.readouterr().err
    (tmp_path / "one.jsonl").write_text('{"audio": "x.wav", "text": "x", "lang": "fr"}\n')
    only = config.Manifest(path=str(tmp_path / "one.jsonl"))
    assert recordings.languages(found, loaded(folder, "all.model", only), None) == ["fr"]


def test_a_line_that_cannot_be_used_is_told_and_the_next_goes_on(folder):
    found = recordings.find([str(folder / "m.jsonl"), str(folder / "b/two.wav")])
    made, lines = loaded(folder, "all.model"), {}
    languages = recordings.languages(found, made, "en")
    examples = list(transcription._examples(found, languages, made, lines))
    assert [example["id"] for example in examples] == ["first", f"{folder}/m.jsonl: two.wav", f"{folder}/b/two.wav"]
    assert lines[2]["id"] == "mute" and "names no recording" in lines[2]["error"]
    assert lines[3]["id"] == "strange" and "language 'tlh'" in lines[3]["error"]


def test_a_file_of_lines_bears_its_name_once_it_is_whole(tmp_path, capsys):
    path = tmp_path / "lines.jsonl"
    path.write_text("former\n")

    def interrupted():
        with transcription._output(str(path)) as out:
            print("half", file=out)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "former\n" and f"{path}.part" in capsys.readouterr().err
    with transcription._output(str(path)) as out:
        print("whole", file=out)
    assert path.read_text() == "whole\n" and list(tmp_path.iterdir()) == [path]


def test_lines_wait_for_those_before_them(capsys):
    lines = {0: {"id": "a"}, 2: {"id": "c"}}
    with transcription._output(None) as out:
        assert transcription._write(lines, 0, out) == 1
        lines[1] = {"id": "b"}
        assert transcription._write(lines, 1, out) == 3
    assert [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()] == ["a", "b", "c"]
