"""Tests of preprocessors."""

import re
import unicodedata

import numpy as np
import pytest
import tensorflow as tf
from tiny_text import corpus

from speechlm_jax import vocabulary
from speechlm_jax.data import features, preprocessors

KEPT = {"_pos", "id"}


pytestmark = pytest.mark.usefixtures("words")


def records(**columns) -> tf.data.Dataset:
    number = len(next(iter(columns.values())))
    columns |= {"_pos": np.arange(number), "id": [f"record-{i}" for i in range(number)]}
    return tf.data.Dataset.from_tensor_slices(columns)


def run(dataset: tf.data.Dataset, *steps) -> list[dict]:
    for step in steps:
        dataset = step(dataset)
    return list(dataset.as_numpy_iterator())


def test_renaming_moves_fields_and_keeps_the_others():
    (example,) = run(records(transcript=["a"], speaker=["s"], text=["old"]), preprocessors.rename(text="transcript"))
    assert (example["text"], example["speaker"]) == (b"a", b"s")
    assert set(example) == {"text", "speaker"} | KEPT


def test_renaming_may_swap_two_fields():
    (example,) = run(records(de=["Haus"], en=["house"]), preprocessors.rename(de="en", en="de"))
    assert (example["de"], example["en"]) == (b"house", b"Haus")


def test_selecting_keeps_what_a_record_is_found_by():
    (example,) = run(records(text=["a"], speaker=["s"]), preprocessors.select("text"))
    assert set(example) == {"text"} | KEPT


@pytest.mark.parametrize(
    "step",
    [
        preprocessors.rename(text="transcript"),
        preprocessors.select("transcript"),
        preprocessors.drop_empty("transcript"),
        preprocessors.normalize_text("transcript"),
        preprocessors.tokenize(targets="transcript"),
        preprocessors.append_eos("transcript"),
        preprocessors.prompt("transcribe", "{transcript}"),
    ],
)
def test_a_missing_field_is_an_error_when_the_dataset_is_built(step):
    with pytest.raises(ValueError, match=r"no field 'transcript', it has id, text"):
        step(records(text=["a"]))


def test_filters_keep_the_positions_of_what_stays():
    dataset = records(text=["a", "", " \n", "b", "c"], seconds=[1.0, 1.0, 1.0, 9.0, 2.0])
    found = run(dataset, preprocessors.drop_empty("text"), preprocessors.keep_where(lambda e: e["seconds"] < 5))
    assert [example["_pos"] for example in found] == [0, 4]
    # A condition may be written as Python has it.
    short = preprocessors.keep_where(lambda example: example["seconds"] < 5 and example["text"] != "a")
    assert [example["_pos"] for example in run(dataset, short)] == [1, 2, 4]


def test_what_python_calls_space_is_no_text():
    spaces = [chr(code) for code in range(0x3001) if chr(code).isspace()]
    assert len(spaces) > 25
    assert not preprocessors.has_text(tf.constant(spaces)).numpy().any()


def test_empty_lists_are_dropped():
    dataset = records(ids=np.zeros((2, 3), np.int32))
    assert len(run(dataset, preprocessors.drop_empty("ids"))) == 2
    assert not run(records(ids=np.zeros((2, 0), np.int32)), preprocessors.drop_empty("ids"))


# Normalization of text.

EAST_ASIAN = r"[\u3005\u3007\u3040-\u3096\u309d-\u309f\u30a1-\u30fa\u30fd-\u30ff\u3400-\u4dbf\u4e00-\u9fff]"


def is_word(letter: str) -> bool:
    return unicodedata.category(letter)[0] in "LMN"


def is_mark(letter: str) -> bool:
    return not is_word(letter) and not letter.isspace()


def stripped(text: str) -> str:
    """Without punctuation: each character by what stands around it."""
    out = []
    for i, letter in enumerate(text):
        if not is_mark(letter):
            out.append(letter)
            continue
        start, end = i, i + 1
        while start and is_mark(text[start - 1]):
            start -= 1
        while end < len(text) and is_mark(text[end]):
            end += 1
        before, after = text[:start][-1:], text[end:][:1]
        inside = bool(before and after) and is_word(before) and is_word(after)
        if re.match(EAST_ASIAN, before) or re.match(EAST_ASIAN, after):
            continue
        out.append("'" if inside and end - start == 1 and letter in "'’‘ʼ＇" else " ")
    return "".join(out)


def plain(text: str, *, lower: bool, strip: bool, form: str) -> str:
    """The same by the standard library."""
    text = unicodedata.normalize(form, text)
    if lower:
        text = text.lower()
    return " ".join((stripped(text) if strip else text).split())


TEXTS = [
    "Don't stop, “rock'n'roll” isn’t 'dead'!",
    "ÄÖÜ ß É Ça-va? 3.5 %  €",
    "decomposed: e\u0301 u\u0308 A\u030a",
    "你好，世界。“你好”！hello, world",
    "今天 天气(很)好……3点",
    "日本語・テスト、ー",
    "नमस्ते। दुनिया",
    "Ελληνικά; Русский — текст.",
    "''quoted'' 'tis dogs' tails it''s",
    " \t tabs\nand\u00a0spaces\u3000 ",
    "ﬁ ① ２ ½ ＡＢＣ",
    "",
    "…",
]


@pytest.mark.parametrize("form", ["NFC", "NFKC"])
@pytest.mark.parametrize(("lower", "strip"), [(False, False), (True, False), (False, True), (True, True)])
def test_normalized_text_is_what_the_standard_library_makes_of_it(lower, strip, form):
    step = preprocessors.normalize_text("text", lower=lower, strip_punctuation=strip, unicode_form=form)
    texts = TEXTS + corpus(80)
    found = [example["text"].decode() for example in run(records(text=texts), step)]
    assert found == [plain(text, lower=lower, strip=strip, form=form) for text in texts]


def test_normalized_text_reads_well():
    step = preprocessors.normalize_text("text", lower=True, strip_punctuation=True)
    found = [example["text"].decode() for example in run(records(text=TEXTS), step)]
    assert found[:5] == [
        "don't stop rock'n'roll isn't dead",
        "äöü ß é ça va 3 5",
        "decomposed é ü å",
        "你好世界你好hello world",
        "今天 天气很好3点",
    ]


def test_text_is_left_as_it_is_but_for_space_where_nothing_is_asked():
    step = preprocessors.normalize_text("text", unicode_form=None)
    found = [example["text"].decode() for example in run(records(text=TEXTS), step)]
    assert found == [" ".join(text.split()) for text in TEXTS]
    with pytest.raises(ValueError, match="unicode_form is 'NFC', 'NFKC' or None, found 'NFD'"):
        preprocessors.normalize_text("text", unicode_form="NFD")


# Tokens and prompts.


def test_tokens_are_those_of_the_vocabulary_and_waveforms_are_not_copied(words):
    dataset = records(en=["the river"], fr=["la rivière"], audio=np.zeros((1, 50), np.int16))
    steps = [preprocessors.tokenize(inputs="en", targets="fr"), preprocessors.append_eos("targets")]
    (example,) = run(dataset, *steps)
    assert example["inputs"].tolist() == words.encode("the river")
    assert example["targets"].tolist() == [*words.encode("la rivière"), vocabulary.EOS]
    assert set(example) == {"en", "fr", "inputs", "targets", "audio"} | KEPT


def test_a_prompt_is_a_task_and_languages_given_or_read_from_fields(words):
    dataset = records(text=["a", "b"], lang=["de", "zh"])
    found = run(dataset, preprocessors.prompt("translate", "{lang}", "en"))
    task = words.token("<task:translate>")
    assert [example["prompt"].tolist() for example in found] == [
        [task, words.language("de"), words.language("en")],
        [task, words.language("zh"), words.language("en")],
    ]
    assert found[0]["prompt"].dtype == np.int32


def test_languages_and_tasks_without_a_token_are_errors():
    dataset = records(text=["a"], lang=["tlh"])
    with pytest.raises(ValueError, match="Nearest: '<task:transcribe>'"):
        run(dataset, preprocessors.prompt("transcibe", "en"))
    with pytest.raises(ValueError, match="token of language 'xx'"):
        run(dataset, preprocessors.prompt("transcribe", "xx"))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"(?s)field {lang} .*add_language.*tlh"):
        run(dataset, preprocessors.prompt("transcribe", "{lang}"))


# Lanes.


def test_what_no_metric_would_see_is_not_kept():
    with pytest.raises(ValueError, match=r"wanted keep to be of \('kind', 'accepted'\).*found \['speaker'\]"):
        preprocessors.lanes(keep=["speaker"])


def test_absent_lanes_are_filled_and_other_fields_dropped():
    dataset = records(inputs=np.array([[5, 6]], np.int64), text=["a"], kind=["s"], targets_pretokenized=["a"])
    (example,) = run(dataset, preprocessors.lanes(keep=["kind"]))
    assert set(example) == set(features.OUTPUT_FEATURES) | KEPT | {"kind", "targets_pretokenized"}
    assert {name: example[name].dtype for name in features.OUTPUT_FEATURES} == {
        name: feature.dtype.as_numpy_dtype for name, feature in features.OUTPUT_FEATURES.items()
    }
    filled = {name: example[name].tolist() for name in features.OUTPUT_FEATURES if len(example[name])}
    assert filled == {"inputs": [5, 6], "ctc": [0], "claim": [0.0], "mask_share": [0.0], "weight": [1.0]}


def test_what_a_task_gives_is_not_overwritten():
    dataset = records(
        audio=np.full((1, 7), -5, np.int16),
        ctc=np.array([[1]]),
        weight=np.array([[0.5]]),
        mask_share=np.array([[0.25]], np.float32),
        claim=np.array([[-1]], np.float32),
    )
    (example,) = run(dataset, preprocessors.lanes())
    assert example["audio"].tolist() == [-5] * 7
    given = [example[name].tolist() for name in ("ctc", "weight", "mask_share", "claim")]
    assert given == [[1], [0.5], [0.25], [-1]]


def test_an_example_without_an_id_is_named_by_its_position():
    dataset = tf.data.Dataset.from_tensor_slices({"inputs": [[1]], "_pos": [17]})
    assert [example["id"] for example in run(dataset, preprocessors.lanes())] == [b"17"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"text": ["a"]}, r"none of audio, inputs, targets, target_audio is there, found \['_pos', 'id', 'text'\]"),
        ({"audio": np.zeros((1, 4, 2), np.int16)}, r"feature 'audio' has shape \(4, 2\), wanted rank 1"),
        ({"inputs": [3]}, r"feature 'inputs' has shape \(\), wanted rank 1"),
        ({"inputs": [[3]], "weight": [1.0]}, r"feature 'weight' has shape \(\), wanted rank 1 and length 1"),
        ({"inputs": [[3]], "ctc": [[1, 0]]}, r"feature 'ctc' has shape \(2,\), wanted rank 1 and length 1"),
        ({"audio": np.zeros((1, 4), np.float32)}, r"'audio' is float32, wanted int16. Scale a waveform"),
        ({"audio": np.zeros((1, 4), np.int32)}, r"'audio' is int32, wanted int16"),
        ({"inputs": np.zeros((1, 4), np.float32)}, r"'inputs' is float32, wanted int32"),
        ({"targets": [["text"]]}, r"'targets' is string, wanted int32"),
    ],
)
def test_examples_that_no_row_can_hold_are_errors_when_the_dataset_is_built(columns, message):
    with pytest.raises(ValueError, match=message):
        preprocessors.lanes()(records(**columns))


def test_a_dropped_position_is_an_error_when_the_dataset_is_built():
    dataset = records(inputs=[[1]]).map(lambda example: {"inputs": example["inputs"]})
    with pytest.raises(ValueError, match=r"dropped the feature `_pos`.*Found: \['inputs'\]"):
        preprocessors.lanes()(dataset)
