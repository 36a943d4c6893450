"""What is asked of a model is what its tasks taught: the same prompt, the same inputs, the same lanes."""

import json

import numpy as np
import pytest
import seqio
import tensorflow as tf

from speechlm_jax import vocabulary
from speechlm_jax.data import config as data_config
from speechlm_jax.data import features, manifest_tasks, registration, seeds
from speechlm_jax.inference import asking, entries, questions, uses
from tasks.embedded_corpus import config, meanings


@pytest.fixture(scope="module")
def records():
    """Every sentence of a small embedded corpus, with noise for its speech and itself for the text of another."""
    registration.import_tasks("tasks.embedded")
    noise = np.random.default_rng(0)
    return [
        {
            **utterance.fields(),
            "audio": noise.integers(-9_000, 9_000, 1_600).astype(np.int16),
            "other_spoken": [utterance.fields()["spoken"]],
        }
        for utterance in meanings.utterances(config.SMALL)
    ]


def taught(task, record):
    """What a registered task makes of a record."""
    one = {name: tf.constant(value) for name, value in record.items()}
    dataset = tf.data.Dataset.from_tensors({**one, "_pos": 0})
    with seeds.position_seeds(0, task):
        for step in seqio.TaskRegistry.get(task).preprocessors:
            dataset = step(dataset)
    (example,) = dataset.as_numpy_iterator()
    return example


CASES = {
    "recognition_zh": ("transcribe", "text", lambda r: asking.Given(r["audio"], language="zh")),
    "translation_zh_en": ("translate", "text", lambda r: asking.Given(text=r["text"], language="zh", to="en")),
    "speech_translation_en_zh": ("translate", "text", lambda r: asking.Given(r["audio"], language="en", to="zh")),
    "sentiment_zh": ("classify", "sentiment", lambda r: asking.Given(text=r["text"], about="sentiment")),
    "spoken_intent_en": ("classify", "intent", lambda r: asking.Given(r["audio"], r["text"], about="intent")),
    "question_answering_en": ("answer", "question", lambda r: asking.Given(text=r["text"], question=r["question"])),
    "spoken_question_answering_zh": (
        "answer",
        "question",
        lambda r: asking.Given(r["audio"], r["text"], question=r["question"]),
    ),
    "matching_en": ("match", "text", lambda r: asking.Given(r["audio"], r["spoken"])),
    "text_to_speech_zh": ("speak", "text", lambda r: asking.Given(None, r["spoken"], "zh", speaker=r["speaker"])),
}
"""Task of the embedded corpus -> the use that asks for the same, a field that the record must have, what is given."""


@pytest.mark.slow
@pytest.mark.parametrize("task", CASES)
def test_a_use_asks_as_the_task_that_taught_it(words, records, task):
    use, wanted, given = CASES[task]
    language = "zh" if "_zh" in task.removesuffix("_en_zh") else "en"
    # One that is held out has one question.
    record = next(one for one in records if one["lang"] == language and one[wanted] and one["split"] != "train")
    found, lesson = uses.USES[use].example(given(record), words), taught(f"embedded_{task}", record)
    # What is yet to come out is not asked for; but a match is, since it is to be weighed.
    answer = {"speak": "target_audio", "match": ""}.get(use, "targets")
    assert found.keys() == features.OUTPUT_FEATURES.keys()
    for name in found:
        assert found[name].dtype == lesson[name].dtype, name
        if name == answer:
            assert not len(found[name]) and len(lesson[name])
        else:
            np.testing.assert_array_equal(found[name], lesson[name], err_msg=name)


def test_every_use_is_compared_with_a_task():
    assert {use for use, *_ in CASES.values()} == set(uses.USES) == set(vocabulary.TASKS) - {"denoise", "continue"}


@pytest.mark.parametrize(
    ("use", "given", "message"),
    [
        ("transcribe", asking.Given(text="x", language="en"), "there is no recording$"),
        ("match", asking.Given(text="x"), "there is no recording$"),
        ("match", asking.Given(np.zeros(9, np.int16), " "), "there is no text$"),
        ("translate", asking.Given(language="en", to="de"), "no recording and no text"),
        ("translate", asking.Given(text="x", language="tlh", to="de"), "language 'tlh'"),
        ("answer", asking.Given(text="x"), "there is no question"),
        ("speak", asking.Given(np.zeros(9, np.int16), language="en"), "there is no text$"),
    ],
)
def test_what_is_not_there_is_not_asked_about(words, use, given, message):
    with pytest.raises(ValueError, match=message):
        uses.USES[use].example(given, words)


def test_a_classification_without_a_name_has_its_text_alone(words):
    found = asking.classify(asking.Given(text="you are here"), words)
    assert found["inputs"].tolist() == words.encode("you are here")


@pytest.mark.parametrize("plain", [True, False])
def test_a_question_on_a_manifests_text_is_asked_as_it_taught(words, tmp_path, plain):
    line = {
        "id": "1",
        "context": "Mary went to the kitchen. John ran.",
        "question": "Where is Mary?",
        "answer": "kitchen",
    }
    path = tmp_path / "questions.jsonl"
    path.write_text(json.dumps(line) + "\n")
    choices = data_config.Manifest(
        str(path), text="context", passage="context", plain=plain, objectives=(("question_answering", 1.0),)
    )
    manifest_tasks.register(choices, whole="train")
    lesson = taught("manifest_question_answering", line)
    entry = entries.Entry("1", said={"text": line["context"], "question": line["question"]})
    request = uses.Request("answer", question=line["question"])
    given = questions._given(entry, None, "", request, questions.plainly(choices))
    found = asking.answer(given, words)
    for name in ("inputs", "prompt"):
        np.testing.assert_array_equal(found[name], lesson[name], err_msg=name)
