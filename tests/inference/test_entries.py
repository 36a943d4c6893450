"""What a command names: recordings, texts and lines of manifests, each under an id, each with what is said of it."""

import json
import os

import numpy as np
import pytest
import soundfile

from speechlm_jax.inference import entries, uses


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("entries")
    for name in ("a/one.wav", "b/one.wav", "b/two.wav"):
        (made / name).parent.mkdir(exist_ok=True)
        soundfile.write(made / name, np.random.default_rng(0).normal(0, 0.1, 9000), 16_000)
    lines = [
        {"id": "first", "audio": "a/one.wav", "text": "hello", "question": "who?"},
        {"id": "two.wav", "audio": None, "text": "", "question": ""},
    ]
    _write(made / "m.jsonl", lines)
    _write(made / "texts.jsonl", [{"text": "hello"}, {"text": "you"}])
    _write(made / "numbers.jsonl", [{"text": 3}])
    return made


def _write(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def find(*inputs, **request):
    return entries.find([str(name) for name in inputs], uses.Request(**request))


def _length(entry):
    samples = entry.samples()
    return None if samples is None else len(samples)


def ids(*inputs):
    return [entry.id for entry in find(*inputs)]


def test_every_recording_has_an_id_of_its_own(folder):
    assert ids(folder / "b", folder / "a/one.wav") == ["b/one.wav", "two.wav", "a/one.wav"]
    assert ids(folder) == ["a/one.wav", "b/one.wav", "b/two.wav"]
    again = ids(folder / "a", folder / "a", folder / "b/two.wav", folder / "m.jsonl")
    assert again == ["a/one.wav", "a/one.wav (2)", "b/two.wav", "first", "m.jsonl: two.wav"]


def test_ids_are_text_and_no_two_are_alike_whatever_files_are_called(tmp_path):
    for name in (b"\xff.wav", b"\xfe.wav", b"b.wav", b"b.wav (2).wav"):
        (tmp_path / os.fsdecode(name)).touch()
    assert sorted(ids(tmp_path)) == ["b.wav", "b.wav (2).wav", "\ufffd.wav", "\ufffd.wav (2)"]
    manifest = tmp_path / "lines.jsonl"
    _write(manifest, [{"id": "b.wav (2)", "audio": "b.wav"}])
    assert ids(tmp_path / "b.wav", manifest, tmp_path / "b.wav") == ["b.wav", "b.wav (2)", "b.wav (3)"]


def test_a_line_of_a_manifest_names_a_recording_of_any_length(folder, tmp_path):
    soundfile.write(tmp_path / "long.wav", np.random.default_rng(0).normal(0, 0.1, 61 * 16_000), 16_000)
    _write(tmp_path / "m.jsonl", [{"id": "a", "audio": "long.wav"}, {"id": "b", "text": "x"}])
    long, none = find(tmp_path / "m.jsonl", use="translate", to="de")
    assert sum(map(len, long.blocks())) == 61 * 16_000 and not long.is_short()
    assert long.files() == [str(tmp_path / "m.jsonl"), str(tmp_path / "long.wav")]
    assert none.blocks() is None and none.is_short() and none.files() == [str(tmp_path / "m.jsonl")]


def test_samples_and_texts_are_asked_about_one_after_the_other():
    with pytest.raises(ValueError, match="wanted samples or a text, found both"):
        entries.heard([np.ones(9_000, np.int16)], uses.Request("translate", ("x",), to="de"))


def test_texts_of_the_command_line_are_entries_in_their_order():
    found = find(use="answer", text=("one", "two"), question="which?")
    assert [(entry.id, entry.field("text"), entry.field("question")) for entry in found] == [
        ("text-1", "one", "which?"),
        ("text-2", "two", "which?"),
    ]
    assert found[0].samples() is None


def test_what_a_line_says_wins_over_the_command_line(folder):
    first, second = find(folder / "m.jsonl", use="answer", question="what?")
    assert (first.field("question"), first.field("text"), _length(first)) == ("who?", "hello", 9000)
    assert (second.field("question"), second.field("text"), _length(second)) == ("what?", "", None)
    (claimed,) = find(folder / "a", use="match", text=("you",))
    assert claimed.field("text") == "you" and _length(claimed) == 9000
    assert [line.field("text") for line in find(folder / "m.jsonl", use="match", text=("you",))] == ["hello", "you"]


@pytest.mark.parametrize(
    ("inputs", "request_", "message"),
    [
        ([], {}, "transcribing: wanted audio files, folders or a manifest, found none. Name them."),
        ([], {"use": "translate", "to": "de"}, "translating: wanted audio files.* or --text or a manifest, found none"),
        (["a"], {"use": "translate", "to": "de", "text": ("x",)}, "found both inputs and --text"),
        (["/nowhere.wav"], {}, "transcribing '/nowhere.wav': it does not exist"),
        (["."], {"use": "match", "text": ("x",)}, None),
        (["a/one.wav"], {"use": "match"}, "matching 'a/one.wav': wanted --text, found none"),
        (["a/one.wav"], {"use": "answer"}, "answering 'a/one.wav': wanted --question, found none"),
        ([], {"use": "answer", "text": ("x",)}, "answering '--text': wanted --question, found none"),
        (["a/one.wav"], {"use": "speak", "out_dir": "x"}, "speaking 'a/one.wav': wanted --text or a manifest"),
        (["texts.jsonl"], {}, r"transcribing the manifest .*: wanted a field 'audio', found \['id', 'text'\]"),
        (["texts.jsonl"], {"use": "classify", "about": "x"}, None),
        (["texts.jsonl"], {"use": "answer"}, "wanted a field 'question' of text, or --question"),
        (["numbers.jsonl"], {"use": "speak", "out_dir": "x"}, "wanted a field 'text' of text, found"),
        (["m.jsonl"], {"use": "answer"}, None),
        (["m.jsonl"], {"use": "match"}, None),
    ],
)
def test_what_is_not_there_to_be_used_is_told(folder, monkeypatch, inputs, request_, message):
    monkeypatch.chdir(folder)
    if message is None:
        assert find(*inputs, **request_)
    else:
        with pytest.raises(ValueError, match=message):
            find(*inputs, **request_)
