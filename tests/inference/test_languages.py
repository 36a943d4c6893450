"""In which language the model is told that its inputs are."""

import dataclasses
import json

import pytest
import tiny_text

from speechlm_jax import vocabulary
from speechlm_jax.data import config
from speechlm_jax.inference import entries, languages, loading, uses


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("languages")
    said = [("de", "fr"), ("", ""), ("de", "de"), ("tlh", "de")]
    lines = [{"id": str(number), "audio": "x.wav", "lang": a, "spoken": b} for number, (a, b) in enumerate(said)]
    (made / "m.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for name, codes in (("one", ["de"]), ("all", ["de", "en", "fr"]), ("foreign", ["de", "fr"])):
        vocabulary.train(tiny_text.corpus(), made / f"{name}.model", 600, languages=codes)
    return made


def loaded(folder, words, manifest=None):
    """As much of a checkpoint as languages depend on."""
    nothing = dict.fromkeys(loading.Loaded._fields)
    data = config.Data(manifest=manifest)
    return loading.Loaded(
        **{**nothing, "folder": "run/3", "vocabulary": vocabulary.Vocabulary.load(folder / words), "data": data}
    )


def lines(folder):
    """The lines of a manifest, and a text without one."""
    return [
        *entries.find([str(folder / "m.jsonl")], uses.Request()),
        *entries.find([], uses.Request("translate", ("hello",), to="de")),
    ]


def test_the_language_is_what_the_line_says_then_what_is_asked_then_what_was_trained_on(folder):
    found = lines(folder)
    constant = config.Manifest(path="gone.jsonl", language="fr")
    assert languages.of_each(found, loaded(folder, "all.model", constant), None) == ["de", "fr", "de", "tlh", "fr"]
    assert languages.of_each(found, loaded(folder, "all.model", constant), "en") == ["de", "en", "de", "tlh", "en"]
    named = dataclasses.replace(constant, language="{spoken}")
    assert languages.of_each(found, loaded(folder, "all.model", named), "en") == ["fr", "en", "de", "de", "en"]
    assert languages.of_each(found[4:], loaded(folder, "one.model"), None) == ["de"]


def test_a_language_that_cannot_be_told_is_asked_for(folder, tmp_path, capsys):
    found = lines(folder)[4:]
    two = config.Manifest(path=str(folder / "m.jsonl"), language="{spoken}")
    with pytest.raises(ValueError, match=r"run/3.* found 2 that it may be: de, fr\. Say it with --language"):
        languages.of_each(found, loaded(folder, "all.model", two), None)
    with pytest.raises(ValueError, match=r"found 3 that it may be: de, en, fr"):
        languages.of_each(found, loaded(folder, "all.model", config.Manifest(path="gone.jsonl")), None)
    with pytest.raises(ValueError, match=r"found 2 that it may be: de, fr"):
        languages.of_each(found, loaded(folder, "foreign.model"), None)
    with pytest.raises(ValueError, match="language 'xx'"):
        languages.of_each(found, loaded(folder, "all.model"), "xx")
    assert languages.of_each(found, loaded(folder, "all.model"), None) == ["en"]
    assert "for English" in capsys.readouterr().err
    (tmp_path / "one.jsonl").write_text('{"audio": "x.wav", "text": "x", "lang": "fr"}\n')
    only = config.Manifest(path=str(tmp_path / "one.jsonl"))
    assert languages.of_each(found, loaded(folder, "all.model", only), None) == ["fr"]
