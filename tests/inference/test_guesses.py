"""What simple methods score: the commonest answer, and shallow classifiers of words and of speech."""

import collections

import numpy as np
import pytest
import seqio
import tiny_text

from speechlm_jax import vocabulary
from speechlm_jax.data import (
    config,
    features,
    measures,
    objectives,
    one_pass,
    paired_objectives,
    quarantine,
    sources,
    speech_objectives,
)
from speechlm_jax.inference import guesses

TEXTS = {"glad": ["I sing all day", "we sing and laugh"], "sad": ["he weeps a lot", "they weep at night"]}
ITEMS = [
    {"id": f"{label}{number}", "text": texts[number % 2], "mood": label}
    for label, texts in TEXTS.items()
    for number in range(8 if label == "glad" else 5)
]


@pytest.fixture(scope="module", autouse=True)
def words(tmp_path_factory):
    path = tmp_path_factory.mktemp("guesses") / "words.model"
    vocabulary.train([*tiny_text.corpus(), *(text for texts in TEXTS.values() for text in texts)], path, 700)
    with features.bound(path) as found:
        yield found


def task(name: str, items: list, steps: list, metric_fns: list) -> seqio.Task:
    source = sources.SequenceSource({"train": items, "test": items[:10]})
    return seqio.TaskRegistry.add(
        f"guesses_{name}",
        source=source,
        preprocessors=steps,
        output_features=features.OUTPUT_FEATURES,
        metric_fns=metric_fns,
    )


def test_labels_of_texts_are_learned_from_their_words(words):
    steps = paired_objectives.classification("mood", tuple(TEXTS), name="mood", texts=("text",))
    found = guesses.simple(task("mood", ITEMS, steps, measures.labels(*TEXTS)), "test", words)
    assert found["constant"]["accuracy"] == 0.8 and found["constant"]["unweighted_average_recall"] == 0.5
    assert found["shallow"]["accuracy"] == 1.0


def test_guesses_pass_through_what_a_task_does_to_outputs(words):
    """The metric is given numbers; and a wrong guess stays one."""
    steps = paired_objectives.classification("mood", tuple(TEXTS), texts=("text",))
    numbered = seqio.TaskRegistry.add(
        "guesses_numbered",
        source=sources.SequenceSource({"train": ITEMS, "test": ITEMS}),
        preprocessors=steps,
        postprocess_fn=lambda text, **_: list(TEXTS).index(text),
        output_features=features.OUTPUT_FEATURES,
        metric_fns=[lambda targets, predictions: {"off": float(np.mean(np.abs(np.subtract(targets, predictions))))}],
    )
    found = guesses.simple(numbered, "test", words)
    assert found["constant"]["off"] == pytest.approx(5 / 13) and found["shallow"]["off"] == 0.0


@pytest.mark.parametrize("enough", [7, 8])
def test_what_is_commonest_is_looked_for_all_over_the_split(words, monkeypatch, enough):
    monkeypatch.setattr(guesses, "ENOUGH", enough)
    items = [{**ITEMS[0], "passage": "a b", "ask": "who", "say": say} for say in ["no"] * 5 + ["yes"] * 9]
    steps = paired_objectives.question_answering("ask", "say", passage="passage")
    found = guesses.simple(task(f"ask_{enough}", items, steps, measures.answers()), "train", words)
    assert found["constant"]["exact_match"] == pytest.approx(9 / 14)


def test_of_several_right_answers_the_nearest_counts(words):
    items = [
        {**ITEMS[0], "passage": "a b", "ask": "who", "say": say, "right": [say, "no"]} for say in ("no", "no", "yes")
    ]
    steps = paired_objectives.question_answering("ask", "say", passage="passage", accepted="right")
    found = guesses.simple(task("ask_right", items, steps, measures.answers()), "train", words)
    assert found["constant"]["exact_match"] == 1.0


def test_where_no_answers_are_accepted_beside_it_the_answer_counts(words):
    items = [{**ITEMS[0], "passage": "a b", "ask": "who", "say": "no", "right": right} for right in (["no"], [], [])]
    steps = paired_objectives.question_answering("ask", "say", passage="passage", accepted="right")
    found = guesses.simple(task("ask_none", items, steps, measures.answers()), "train", words)
    assert found["constant"]["exact_match"] == 1.0


def test_text_that_goes_on_is_guessed_by_its_commonest_token_and_speech_by_another_recording(words):
    steps = objectives.prefix_language_model()
    found = guesses.simple(task("on", ITEMS, steps, []), "test", words)
    bad = quarantine.Quarantine(config.BadRecords())
    made = seqio.TaskRegistry.get("guesses_on")
    known, wanted = (
        np.concatenate([one["targets"] for one in one_pass.examples(made, split, quarantine=bad)])
        for split in ("train", "test")
    )
    (commonest, _), *_ = collections.Counter(known.tolist()).most_common(1)
    assert found["constant"] == {"hits/targets": pytest.approx(np.mean(wanted == commonest))}
    waves = [np.random.default_rng(n).normal(0, 3000, 4000 + 500 * n).astype(np.int16) for n in range(3)]
    items = [{"id": str(n), "text": "a b", "audio": wave} for n, wave in enumerate(waves)]
    measured = [
        lambda targets, predictions: {"same": sum(len(t) == len(p) for t, p in zip(targets, predictions, strict=True))}
    ]
    steps = speech_objectives.text_to_speech("text", "en")
    assert guesses.simple(task("say", items, steps, measured), "test", words)["constant"] == {"same": 0}
    assert guesses.simple(seqio.TaskRegistry.get("guesses_say"), "test", words, limit=1)["constant"] == {}


def test_what_was_never_trained_on_has_no_simple_guess(words):
    seqio.TaskRegistry.add(
        "guesses_untaught",
        source=sources.SequenceSource({"test": ITEMS}),
        preprocessors=paired_objectives.classification("mood", tuple(TEXTS), texts=("text",)),
        output_features=features.OUTPUT_FEATURES,
        metric_fns=measures.labels(*TEXTS),
    )
    found = guesses.simple(seqio.TaskRegistry.get("guesses_untaught"), "test", words)
    assert found == {"constant": {}, "shallow": {}}


def test_labels_of_speech_are_learned_from_its_spectrum(words):
    random, time = np.random.default_rng(0), np.arange(8000) / 16_000
    items = [
        {
            "id": str(number),
            "audio": (9000 * np.sin(2 * np.pi * pitch * time) + random.normal(0, 500, 8000)).astype(np.int16),
            "mood": label,
        }
        for number in range(6)
        for label, pitch in (("glad", 1500 + 40 * number), ("sad", 300 + 20 * number))
    ]
    steps = paired_objectives.classification("mood", tuple(TEXTS), speech=True)
    found = guesses.simple(task("sung", items, steps, measures.labels(*TEXTS)), "test", words)
    assert found["constant"]["accuracy"] == 0.5 and found["shallow"]["accuracy"] == 1.0


def test_the_commonest_masked_token_is_the_guess_of_masked_language_models(words):
    items = [{"id": str(number), "text": "sing sing sing sing sing weep"} for number in range(20)]
    made = task("masked", items, objectives.masked_language_model("text"), [])
    bad = quarantine.Quarantine(config.BadRecords(max_share=0.0))
    hidden = np.concatenate([one["masked_tokens"] for one in one_pass.examples(made, "train", quarantine=bad)])
    tokens, counts = np.unique(hidden[hidden > 0], return_counts=True)
    told = np.concatenate([one["masked_tokens"] for one in one_pass.examples(made, "test", quarantine=bad)])
    found = guesses.simple(made, "test", words)
    assert found["constant"]["hits/masked_tokens"] == np.mean(told[told > 0] == tokens[counts.argmax()])
    assert found["shallow"] == {}


def test_speech_alone_has_no_guess(words):
    items = [{"id": str(n), "audio": np.full(9000, n, np.int16)} for n in range(3)]
    found = guesses.simple(task("hidden", items, speech_objectives.masked_speech(), []), "test", words)
    assert found == {"constant": {}, "shallow": {}}
