"""Every objective of a manifest, by what a recipe binds alone."""

import gzip
import json
import pathlib

import numpy as np
import pytest
import seqio
import soundfile
from tiny_text import corpus

from speechlm_jax import vocabulary
from speechlm_jax.data import (
    config,
    features,
    manifest_objectives,
    manifest_tasks,
    one_pass,
    pipeline,
    quarantine,
    texts,
)

LINES = [
    {
        "id": f"clip{index}",
        "audio": f"clip{index}.wav",
        "text": f"The small House, {index}!",
        "translation": {"fr": f"La petite maison, {index}!"},
        "lang": "en",
        "mood": ["Glad", "Sad"][index % 2],
        "digit": index % 3,
        "speaker": "Anna",
        "question": "Which house?",
        "context": "It is a small house.",
        "answer": "The small one.",
        "split": "train" if index < 8 else "test",
    }
    for index in range(12)
]
CHOICES = {
    "target": "translation/fr",
    "target_language": "fr",
    "label": "mood",
    "about": "mood",
    "passage": "context",
    "speaker": "speaker",
}
WANTED = {
    "recognition": ("audio", "<task:transcribe> <lang:en>", "", "the small house 8"),
    "matching": ("audio", "<task:match>", "", None),
    "text_to_speech": ("target_audio", "", "<task:speak> <lang:en> Anna the small house 8", "the small house 8"),
    "span_corruption": ("", "", None, None),
    "masked_language_model": ("", "", None, None),
    "prefix_language_model": ("", "<task:continue>", None, None),
    "language_model": ("", "<task:transcribe> <lang:en>", "", "the small house 8"),
    "shuffled_spans": ("", "<task:continue>", None, None),
    "masked_speech": ("audio", "", "", None),
    "translation": ("", "<task:translate> <lang:en> <lang:fr>", "the small house 8", "la petite maison 8"),
    "speech_translation": ("audio", "<task:translate> <lang:en> <lang:fr>", "", "la petite maison 8"),
    "classification": ("", "<task:classify>", "mood </s> the small house 8", "Glad"),
    "spoken_classification": ("audio", "<task:classify>", "mood", "Glad"),
    "question_answering": ("", "<task:answer> which house", "it is a small house", "the small one"),
    "spoken_question_answering": ("audio", "<task:answer> which house", "", "the small one"),
}
"""The lane of the recording, the prompt, what goes into the encoder and what is to come out; None: it is random."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    place = tmp_path_factory.mktemp("manifest_tasks")
    random = np.random.default_rng(0)
    for line in LINES:
        soundfile.write(place / line["audio"], random.normal(0, 0.1, 9_600), 16_000)
    write(place / "manifest.jsonl", LINES)
    vocabulary.train(corpus(), place / "words.model", 640)
    return place


def write(path: pathlib.Path, lines) -> str:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


def register(path: str, *names: str, **choices) -> None:
    manifest_tasks.register(config.Manifest(path, objectives=tuple((name, 1.0) for name in names), **choices))


def read(folder: pathlib.Path, name: str, split: str = "test") -> list[dict]:
    bad = quarantine.Quarantine(config.BadRecords(max_share=0.0, grace=0))
    with features.bound(folder / "words.model"):
        return list(one_pass.examples(seqio.get_mixture_or_task(f"manifest_{name}"), split, quarantine=bad))


def test_every_objective_is_looked_at_here():
    assert set(WANTED) == set(manifest_objectives.OBJECTIVES)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name == "text_to_speech" else []) for name in WANTED]
)
def test_an_objective_makes_examples_of_a_manifest(name, folder):
    register(str(folder / "manifest.jsonl"), name, **CHOICES)
    lane, prompt, inputs, target = WANTED[name]
    found = read(folder, name)
    assert [example["id"] for example in found] == [b"clip8", b"clip9", b"clip10", b"clip11"]
    words = vocabulary.Vocabulary.load(folder / "words.model")
    first = found[0]
    assert {lane for lane in ("audio", "target_audio") if len(first[lane])} == {lane} - {""}
    assert words.show(first["prompt"].tolist()) == prompt
    if inputs is not None:
        assert words.show(first["inputs"].tolist()) == inputs
    if target is not None:
        assert first["targets_pretokenized"].decode() == target
    for metric in seqio.get_mixture_or_task(f"manifest_{name}").predict_metric_fns:
        answers = [example["targets_pretokenized"].decode() for example in found]
        heard = [example["target_audio"] for example in found]
        assert metric(*[heard if lane == "target_audio" else answers] * 2)


def test_texts_are_left_as_they_are_where_they_are_not_to_be_plain(folder):
    register(str(folder / "manifest.jsonl"), "translation", plain=False, **CHOICES)
    assert read(folder, "translation")[0]["targets_pretokenized"].decode() == "La petite maison, 8!"


def test_a_claimed_text_is_as_plain_as_the_true_one(folder):
    register(str(folder / "manifest.jsonl"), "matching", **CHOICES)
    words = vocabulary.Vocabulary.load(folder / "words.model")
    claimed = [words.decode(example["targets"].tolist()) for example in read(folder, "matching", "train")]
    assert {word for text in claimed for word in text.split()} <= {"the", "small", "house", *"01234567"}


def test_labels_may_be_numbers_and_are_known_from_all_splits(folder):
    register(str(folder / "manifest.jsonl"), "classification", "spoken_classification", label="digit")
    for name in ("classification", "spoken_classification"):
        assert [example["targets_pretokenized"] for example in read(folder, name)] == [b"2", b"0", b"1", b"2"]
    accuracy, _, recall = seqio.get_mixture_or_task("manifest_classification").predict_metric_fns
    assert accuracy(["0", "2", "1"], ["0", "7", "1"])["accuracy_outside"] == 1
    assert recall(["0", "2", "2"], ["0", "2", "1"])["unweighted_average_recall"] == 0.75


def test_labels_may_be_true_and_false(folder):
    lines = [{"text": f"the house {n}", "label": n % 2 == 0, "split": "test" if n > 1 else "train"} for n in range(4)]
    register(write(folder / "truths.jsonl", lines), "classification")
    assert [example["targets_pretokenized"] for example in read(folder, "classification")] == [b"1", b"0"]


def test_a_label_that_only_a_test_holds_is_told_once(folder, capsys):
    lines = [*LINES, {**LINES[0], "id": "strange", "mood": "Wild", "split": "test"}]
    for _ in range(2):
        register(write(folder / "strange.jsonl", lines), "classification", label="mood")
    told = capsys.readouterr().err
    assert told.count("no line of the split 'train' has the mood Wild of 'test'") == 1
    register(str(folder / "manifest.jsonl"), "classification", label="mood")
    assert not capsys.readouterr().err


def test_a_split_that_no_line_has_is_refused_where_it_was_asked_for(folder):
    with pytest.raises(ValueError, match=r"Manifest\.validation = 'tset', and no line has.*Nearest: 'test'"):
        register(str(folder / "manifest.jsonl"), "recognition", validation="tset")
    # That there is none is no mistake.
    register(str(folder / "manifest.jsonl"), "recognition")


def test_a_name_for_a_split_is_refused_where_lines_name_none(folder):
    lines = [{name: value for name, value in line.items() if name != "split"} for line in LINES]
    with pytest.raises(
        ValueError, match=r"Manifest\.test = 'tset' is a value of the field 'split', and there is no such"
    ):
        register(write(folder / "uncut.jsonl", lines), "recognition", test="tset")


def test_all_of_a_new_manifest_may_be_one_split_whatever_splits_were_called_before(folder):
    path = write(folder / "new.jsonl", [{**line, "split": "test"} for line in LINES])
    choices = config.Manifest(train="training", validation="dev", objectives=(("recognition", 1.0),))
    manifest_tasks.register(choices.at(path), whole="test")
    assert pipeline.source_of(pipeline.find("manifest_recognition")).num_input_examples("test") == len(LINES)


def test_a_split_field_of_numbers_is_told(folder, capsys):
    path = write(folder / "numbers.jsonl", [{**line, "split": index % 2} for index, line in enumerate(LINES)])
    register(path, "recognition")
    assert "lines whose split is 0, 1 are in none of its splits" in capsys.readouterr().err


def test_a_manifest_with_one_label_alone_is_told(folder, capsys):
    register(write(folder / "glad.jsonl", [{**line, "mood": "Glad"} for line in LINES]), "classification", label="mood")
    assert "every line has the same mood, Glad: there is nothing to tell apart" in capsys.readouterr().err


def test_a_task_that_is_asked_for_stands_in_for_objectives_that_a_manifest_cannot_serve():
    choices = config.Manifest(objectives=(("recognition", 1.0), ("matching", 2.0)), text="words")
    assert choices.at("m.jsonl", "manifest_translation").objectives == (("translation", 1.0),)
    for task in ("", "manifest", "manifest_matching", "digits"):
        assert choices.at("m.jsonl", task) == config.Manifest("m.jsonl", objectives=choices.objectives, text="words")


@pytest.mark.parametrize(
    "objectives", [(), (("recognition", 0.0),), (("recognition", 1.0), ("recognition", 2.0))], ids=str
)
def test_objectives_that_make_no_mixture_are_refused(folder, objectives):
    with pytest.raises(ValueError, match=r"wanted objectives, each once, .*Set Manifest\.objectives"):
        manifest_tasks.register(config.Manifest(str(folder / "manifest.jsonl"), objectives=objectives))


def test_lines_of_a_split_that_has_another_name_are_told(folder, capsys):
    lines = [{**line, "split": "dev"} if line["split"] == "test" else line for line in LINES]
    register(write(folder / "dev.jsonl", lines), "recognition")
    assert "lines whose split is 'dev' are in none of its splits" in capsys.readouterr().err
    register(str(folder / "dev.jsonl"), "recognition", validation="dev")
    assert not capsys.readouterr().err


def test_a_vocabulary_is_trained_on_what_objectives_read_and_write(folder):
    register(str(folder / "manifest.jsonl"), "translation", "spoken_question_answering", **CHOICES)
    found = set(texts.texts("manifest"))
    assert {"the small house 0", "la petite maison 0", "which house", "the small one"} <= found
    assert not any("context" in text or text != text.lower() for text in found)


def test_lines_without_a_recording_are_for_the_objectives_of_text(folder):
    lines = [*LINES, {"text": "never spoken", "lang": "en", "split": "test"}]
    register(write(folder / "mixed.jsonl", lines), "recognition", "prefix_language_model")
    assert [len(read(folder, name)) for name in ("recognition", "prefix_language_model")] == [4, 5]


def test_splits_may_be_tables_of_their_own_without_ids_or_recordings(folder):
    for name, size in (("train", 5), ("val", 2), ("test", 3)):
        rows = "".join(f"{index % 2}\tthe house {index}\n" for index in range(size))
        (folder / f"{name}.tsv.gz").write_bytes(gzip.compress(f"label\ttext\n{rows}".encode()))
    files = {"validation_path": str(folder / "val.tsv.gz"), "test_path": str(folder / "test.tsv.gz")}
    register(str(folder / "train.tsv.gz"), "classification", **files)
    assert [len(read(folder, "classification", split)) for split in ("train", "validation", "test")] == [5, 2, 3]
    assert read(folder, "classification")[1]["targets_pretokenized"] == b"1"
    # A model is scored on another manifest than its own: the files of training are no part of that.
    choices = config.Manifest(str(folder / "test.tsv.gz"), objectives=(("classification", 1.0),), **files)
    manifest_tasks.register(choices, whole="validation")
    task = seqio.get_mixture_or_task("manifest_classification")
    assert (set(task.splits), len(read(folder, "classification", "validation"))) == ({"validation"}, 3)


def test_a_file_for_a_split_stands_beside_a_field_for_the_others(folder):
    own = write(folder / "own.jsonl", [{"text": "the one"}])
    register(str(folder / "manifest.jsonl"), "prefix_language_model", validation_path=own)
    task = seqio.get_mixture_or_task("manifest_prefix_language_model")
    assert {split: task.num_input_examples(split) for split in task.splits} == {"train": 8, "validation": 1, "test": 4}


@pytest.mark.parametrize(
    ("name", "choices", "told"),
    [
        (
            "translation",
            {"target_language": "fr"},
            r"'translation' wants text in the field 'target'.*Manifest\.target=",
        ),
        ("translation", {"target": "translation/fr"}, r"'target_lang',.*Manifest\.target_language=en"),
        ("classification", {}, r"'classification' wants text in the field 'label'.*Manifest\.label="),
        ("question_answering", {}, r"text in the field 'passage', found text in \['id', 'text'.*Manifest\.passage="),
        ("text_to_speech", {"speaker": "voice"}, r"text in the field 'voice'.*Manifest\.speaker="),
        (
            "recognition",
            {"text": "digit"},
            r"'recognition' wants text in the field 'digit'.*--gin\.Manifest\.text=FIELD",
        ),
        ("recognition", {"text": "digit"}, r"found 'digit' is int, and text is in"),
        ("dictation", {}, r"no objective 'dictation', wanted one of recognition, .*Set Manifest\.objectives\."),
    ],
)
def test_an_objective_that_lacks_its_field_names_it_and_the_binding(name, choices, told, folder):
    with pytest.raises(ValueError, match=told):
        register(str(folder / "manifest.jsonl"), name, **choices)


def test_an_objective_of_speech_wants_recordings(folder):
    path = write(folder / "silent.jsonl", [{"text": "the house", "mood": "Glad"}])
    with pytest.raises(ValueError, match=r"silent\.jsonl: the objective 'spoken_classification' wants a field 'audio'"):
        register(path, "spoken_classification", label="mood")


def test_the_file_that_lacks_a_field_is_named(folder):
    other = write(folder / "other.jsonl", [{"text": "the house"}])
    with pytest.raises(
        ValueError, match=r"other\.jsonl: the objective 'classification' wants text in the field 'mood'"
    ):
        register(str(folder / "manifest.jsonl"), "classification", label="mood", validation_path=other)


def test_a_number_that_a_line_lacks_does_not_become_class_0(folder):
    path = write(folder / "gaps.jsonl", [{"text": "the house", "label": 1}, {"text": "the river"}])
    with pytest.raises(ValueError, match=r"numbers in the field 'label', wanted one in every line"):
        register(path, "classification")


def test_labels_that_are_all_empty_are_an_error(folder):
    path = write(folder / "empty.jsonl", [{"text": "the house", "label": " "}])
    with pytest.raises(ValueError, match=r"'label' is empty in every line"):
        register(path, "classification")
