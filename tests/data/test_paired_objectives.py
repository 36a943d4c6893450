"""Tests of objectives whose answer is text."""

import collections

import numpy as np
import pytest
import tensorflow as tf

from speechlm_jax import vocabulary
from speechlm_jax.data import paired_objectives, seeds

SPEECH = np.arange(800, dtype=np.int16)


pytestmark = pytest.mark.usefixtures("words")


def run(steps, *, seed=0, count=1, **fields):
    """The examples that become of `count` records with these fields."""
    columns = {name: [value] * count for name, value in fields.items()}
    dataset = tf.data.Dataset.from_tensor_slices(
        {**columns, "_pos": np.arange(count), "id": [f"record-{i}" for i in range(count)]}
    )
    with seeds.position_seeds(seed, "task"):
        for step in steps:
            dataset = step(dataset)
    return list(dataset.as_numpy_iterator())


def prompt(words, task, *languages):
    return [words.token(f"<task:{task}>"), *map(words.language, languages)]


def test_translated_speech_goes_in_and_the_other_language_comes_out(words):
    steps = paired_objectives.translation("german", "{lang}", "de")
    (found,) = run(steps, audio=SPEECH, german="guten Tag", lang="en")
    assert found["prompt"].tolist() == prompt(words, "translate", "en", "de")
    assert found["targets"].tolist() == [*words.encode("guten Tag"), vocabulary.EOS]
    assert found["targets_pretokenized"] == b"guten Tag"
    assert len(found["audio"]) == 800 and not len(found["inputs"]) and found["ctc"].tolist() == [0]


def test_translated_text_leaves_the_speech_alone(words):
    (found,) = run(paired_objectives.translation("de", "en", "de", text="en"), audio=SPEECH, en="good day", de="Tag")
    assert found["inputs"].tolist() == words.encode("good day") and not len(found["audio"])


def test_a_language_without_a_token_is_an_error_that_names_it():
    with pytest.raises(Exception, match=r"a language without a token.*xx"):
        run(paired_objectives.translation("de", "{lang}", "de"), audio=SPEECH, de="Tag", lang="xx")


def test_a_question_is_the_end_of_the_prompt_and_its_passage_is_read(words):
    fields = {"question": "who?", "answer": "Anna", "text": "Anna was it."}
    (found,) = run(paired_objectives.question_answering(passage="text"), **fields)
    assert found["prompt"].tolist() == [words.token("<task:answer>"), *words.encode("who?")]
    assert found["inputs"].tolist() == words.encode("Anna was it.") and not len(found["audio"])
    assert words.decode(found["targets"].tolist()) == "Anna"
    (spoken,) = run(paired_objectives.question_answering(), audio=SPEECH, **fields)
    assert spoken["prompt"].tolist() == found["prompt"].tolist()
    assert not len(spoken["inputs"]) and len(spoken["audio"]) == 800


def test_of_several_questions_each_pass_asks_one_with_its_answer(words):
    several = {"questions": ["who?", "when?", "where?"], "answers": ["Anna", "today", "here"], "text": "Anna was it."}
    steps = paired_objectives.question_answering("questions", "answers", passage="text")
    first, again, other = (run(steps, seed=seed, count=60, **several) for seed in (0, 0, 1))
    asked = [(words.decode(one["prompt"].tolist()[1:]), one["targets_pretokenized"].decode()) for one in first]
    assert set(asked) == set(zip(several["questions"], several["answers"], strict=True))
    assert min(collections.Counter(asked).values()) > 8
    assert [one["prompt"].tolist() for one in first] == [one["prompt"].tolist() for one in again]
    assert [one["prompt"].tolist() for one in first] != [one["prompt"].tolist() for one in other]
    assert not run(steps, questions=np.array([], str), answers=np.array([], str), text="Anna was it.")


def test_questions_without_as_many_answers_are_an_error():
    steps = paired_objectives.question_answering("questions", "answers", passage="text")
    with pytest.raises(Exception, match=r"wanted as many answers as questions, found.*1.*2"):
        run(steps, questions=["who?", "when?"], answers=["Anna"], text="Anna was it.")


def test_a_list_of_questions_and_one_answer_are_refused():
    steps = paired_objectives.question_answering("questions", "answer", passage="text")
    with pytest.raises(ValueError, match=r"wanted a text each in 'questions' and 'answer', or a list each, found"):
        run(steps, questions=["who?", "when?"], answer="Anna", text="Anna was it.")


def test_all_that_is_right_is_kept_for_the_metrics(words):
    fields = {"question": "who?", "answer": "Anna", "text": "Anna B. was it.", "right": ["Anna", "Anna B."]}
    (found,) = run(paired_objectives.question_answering(passage="text", accepted="right"), **fields)
    assert words.decode(found["targets"].tolist()) == "Anna" and found["accepted"].tolist() == [b"Anna", b"Anna B."]
    steps = paired_objectives.question_answering("question", "answer", passage="text", accepted="right")
    with pytest.raises(ValueError, match="wanted one question for the answers of 'right', found a list"):
        run(steps, **fields | {"question": ["who?"], "answer": ["Anna"]})


def test_a_question_that_is_empty_is_not_asked(words):
    steps = paired_objectives.question_answering("questions", "answers", passage="text")
    pairs = {"questions": ["", "who?", "when?", " "], "answers": ["no one", "Anna", " ", ""]}
    found = run(steps, count=20, text="Anna was it.", **pairs)
    assert len(found) == 20 and {one["targets_pretokenized"].decode() for one in found} == {"Anna"}
    assert not run(steps, questions=["", " "], answers=["x", "y"], text="Anna was it.")


def test_records_without_question_or_label_are_left_out():
    assert not run(paired_objectives.question_answering(passage="text"), question=" ", answer="a", text="b")
    steps = paired_objectives.question_answering("questions", "answers", passage="text")
    assert not run(steps, questions=["what", ""], answers=["", "b"], text="b"), "no question has its own answer"
    assert not run(paired_objectives.classification("label", texts=("text",)), label="", text="b")


def test_a_label_is_asked_for_by_name_and_written_as_text(words):
    steps = paired_objectives.classification("mood", ("glad", "sad"), name="mood", texts=("text",), speech=True)
    (found,) = run(steps, mood="glad", text="I sing", audio=SPEECH)
    assert found["inputs"].tolist() == [*words.encode("mood"), vocabulary.EOS, *words.encode("I sing")]
    assert found["prompt"].tolist() == prompt(words, "classify")
    assert words.decode(found["targets"].tolist()) == "glad" and len(found["audio"]) == 800


def test_a_label_that_is_not_in_the_set_is_an_error_that_names_both():
    steps = paired_objectives.classification("mood", ("glad", "sad"), texts=("text",))
    with pytest.raises(Exception, match=r"wanted a label of glad, sad, found.*angry"):
        run(steps, mood="angry", text="I sing")


def test_a_classification_of_nothing_is_refused():
    with pytest.raises(ValueError, match=r"looks at nothing. Give it texts"):
        paired_objectives.classification("label")


TRUTH = "the red house is big"
OTHERS = ["a cat sleeps there", "my dog runs"]


def claims(count, seed=0, truth=TRUTH, others=OTHERS, **shares):
    return run(
        paired_objectives.matching(**shares), seed=seed, count=count, text=truth, other_text=others, audio=SPEECH
    )


def test_claims_come_in_the_asked_shares_and_answers_are_true(words):
    found = claims(600, other_share=0.3, near_share=0.2)
    kinds = collections.Counter(example["kind"].decode() for example in found)
    for kind, share in (("match", 0.5), ("other", 0.3), ("near", 0.2)):
        assert abs(kinds[kind] / 600 - share) < 0.06
    foreign = {word for other in OTHERS for word in other.split()}
    for example in found:
        claimed, kind = words.decode(example["targets"].tolist()), example["kind"].decode()
        answer = "match" if claimed == TRUTH else "mismatch"
        assert example["targets_pretokenized"].decode() == answer
        assert (kind == "match") == (claimed == TRUTH) and (kind == "other") == (claimed in OTHERS)
        if kind == "near":
            changed = [word for word, true in zip(claimed.split(), TRUTH.split(), strict=True) if word != true]
            assert len(changed) == 1 and changed[0] in foreign


def test_claims_are_repeated_by_the_seed_alone():
    first, again, other = (claims(60, seed) for seed in (0, 0, 1))
    assert [one["targets"].tolist() for one in first] == [one["targets"].tolist() for one in again]
    assert [one["targets"].tolist() for one in first] != [one["targets"].tolist() for one in other]


def test_a_claim_is_the_target_and_said_to_be_true_or_false(words):
    for example in claims(20):
        assert example["prompt"].tolist() == [words.token("<task:match>")] and not len(example["inputs"])
        assert len(example["audio"]) == 800 and example["targets"][-1] == vocabulary.EOS
        assert example["claim"].tolist() == ([1.0] if example["kind"] == b"match" else [-1.0])


def test_a_near_miss_in_chinese_changes_one_character(words):
    truth = "我喜欢吃苹果A。"
    found = claims(40, truth=truth, others=["他 在B学校，"], other_share=0.0, near_share=1.0)
    for example in found:
        claimed = words.decode(example["targets"].tolist())
        changed = [(a, b) for a, b in zip(claimed, truth, strict=True) if a != b]
        assert len(changed) == 1 and changed[0][0] in "他在学校" and changed[0][1] not in "A。"


def test_the_word_of_a_near_miss_is_sought_in_all_other_texts():
    found = claims(40, others=["the house", "big red dog"], other_share=0.0, near_share=1.0)
    assert {example["kind"] for example in found} == {b"near"}


def test_shares_that_are_more_than_all_are_refused():
    with pytest.raises(ValueError, match=r"other_share=0.9, near_share=0.2"):
        paired_objectives.matching(other_share=0.9, near_share=0.2)


@pytest.mark.parametrize("empty", ["", " ", "\u3000", "\u00a0\n"])
def test_a_text_that_is_empty_teaches_nothing(empty):
    translate = paired_objectives.translation("de", "en", "de", text="en")
    assert not run(translate, en=empty, de="Tag") and not run(translate, en="day", de=empty)
    answer = paired_objectives.question_answering(passage="text")
    assert not run(answer, text=empty, question="who?", answer="Anna")
    assert not run(answer, text="Anna sang.", question=["who?", empty], answer=[empty, "Anna"])
    assert run(answer, text="Anna sang.", question=["who?", empty], answer=["Anna", empty])
    pair = {"label": "yes", "one": "a", "two": empty}
    assert not run(paired_objectives.classification("label", texts=("two",)), **pair)
    # Of several texts not all need be there.
    assert run(paired_objectives.classification("label", texts=("one", "two")), **pair)


def test_a_claim_with_other_spaces_is_the_same_text(words):
    steps = paired_objectives.matching(other_share=0.5, near_share=0.5)
    found = run(steps, count=30, audio=SPEECH, text="the house", other_text=["the  house "])
    assert {float(one["claim"][0]) for one in found} == {1.0}


def test_a_near_miss_of_one_word_is_another_word(words):
    steps = paired_objectives.matching(other_share=0.0, near_share=1.0)
    found = run(steps, count=10, audio=SPEECH, text="yes", other_text=["no thanks"])
    assert {words.decode(one["targets"].tolist()) for one in found} == {"no", "thanks"}
