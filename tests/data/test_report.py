"""What is measured of a mixture, whatever room the recipe's row has."""

import dataclasses
import json

import numpy as np
import pytest
import seqio
from sentencepiece import sentencepiece_model_pb2

from speechlm_jax import batch, data_verb, vocabulary
from speechlm_jax.data import config, features, objectives, paired_objectives, sources

SECONDS = (0.5, 1.0, 4.0)
ROW = batch.Row(audio_seconds=2.0, inputs=64, targets=64, segments=8)
TEXT = "red green blue one two three"


@pytest.fixture(scope="module", autouse=True)
def words(tmp_path_factory):
    path = tmp_path_factory.mktemp("words") / "vocabulary.model"
    colours = TEXT.split()
    vocabulary.train([" ".join(colours[i % 6 :] + colours[: i % 4]) for i in range(300)], path, 440)
    speech = [
        {"id": f"clip{i}", "audio": np.ones(int(16_000 * seconds), np.int16), "text": "red green"}
        for i, seconds in enumerate(SECONDS)
    ]
    speech_task = sources.SequenceSource({"train": speech})
    text_task = sources.SequenceSource({"train": [{"id": f"text{i}", "text": TEXT} for i in range(10)]})
    for name, source, steps in (
        ("report_speech", speech_task, objectives.recognition()),
        ("report_text", text_task, objectives.masked_language_model()),
    ):
        seqio.TaskRegistry.add(name, source, features.OUTPUT_FEATURES, steps)
    seqio.MixtureRegistry.add("report_test", ["report_speech", "report_text"], default_rate=1.0)
    with features.bound(path):
        yield path
    seqio.MixtureRegistry.remove("report_test")
    for name in ("report_speech", "report_text"):
        seqio.TaskRegistry.remove(name)


def reported(words, row: batch.Row = ROW, **others) -> dict:
    flags = {name: others.pop(name) for name in ("propose_row", "json") if name in others}
    stream = config.Stream(mixture="report_test", open_rows=2)
    data = config.Data(task_modules=(), vocabulary=str(words), row=row, stream=stream, **others)
    return data_verb.run(data=data, examples=60, show=0, **flags)


def test_lengths_are_measured_beyond_the_row_and_what_does_not_fit_is_told(words, tmp_path, capsys):
    found = reported(words, json=str(tmp_path / "report.json"))
    speech, text = found["tasks"]["report_speech"], found["tasks"]["report_text"]
    assert speech["lanes"]["audio"]["max"] == 4.0 / 0.04
    # Every third recording is longer than the row.
    large = speech["too_large"]
    assert large["examples"] == pytest.approx(large["of"] / 3, abs=1) and large["examples"] > 5
    assert large["rooms"] == {"Row.audio_seconds": large["examples"]}
    assert text["too_large"]["examples"] == 0
    assert found["bad_records"]["skipped"] == 0
    assert 0 < found["useful_shares"]["audio"] <= 1
    said = capsys.readouterr().out
    assert f"{large['examples']} of {large['of']} do not fit the row" in said and said.count("do not fit") == 1
    assert json.loads((tmp_path / "report.json").read_text()) == found


def test_a_row_is_proposed_that_holds_what_the_recipe_row_does_not(words):
    bindings = reported(words, propose_row=True)["proposal"]["bindings"]
    seconds = next(float(text.split(" = ")[1]) for text in bindings if text.startswith("Row.audio_seconds"))
    assert seconds >= 8


def test_a_lane_without_room_is_reported_not_refused(words):
    found = reported(words, dataclasses.replace(ROW, inputs=0), propose_row=True)
    large = found["tasks"]["report_text"]["too_large"]
    assert large["examples"] == large["of"] > 20 and large["rooms"] == {"Row.inputs": large["of"]}
    assert any(text.startswith("Row.inputs = ") and text != "Row.inputs = 0" for text in found["proposal"]["bindings"])


def test_a_row_that_holds_nothing_at_all_is_told(words, capsys):
    reported(words, dataclasses.replace(ROW, inputs=0, audio_seconds=0.2))
    assert "none of them fits the row" in capsys.readouterr().out
    reported(words, dataclasses.replace(ROW, inputs=0))
    assert "none of them fits the row" not in capsys.readouterr().out


def test_lengths_are_those_of_augmented_speech(words):
    slow = reported(words, augmentation=config.Augmentation(speed=(0.5, 0.5)))
    assert slow["tasks"]["report_speech"]["lanes"]["audio"]["max"] == 8.0 / 0.04


def test_a_task_most_of_whose_records_become_nothing_is_told(words, capsys):
    items = [{"id": str(i), "text": TEXT, "mood": "" if i else "glad"} for i in range(10)]
    steps = paired_objectives.classification("mood", texts=("text",))
    source = sources.SequenceSource({"train": items})
    seqio.TaskRegistry.add("report_moods", source, features.OUTPUT_FEATURES, steps)
    seqio.TaskRegistry.add("report_chosen", sources.Having(source, "mood"), features.OUTPUT_FEATURES, steps)
    seqio.MixtureRegistry.add("report_few", ["report_moods", "report_text", "report_chosen"], default_rate=1.0)
    try:
        stream = config.Stream(mixture="report_few", open_rows=2)
        data = config.Data(task_modules=(), vocabulary=str(words), row=ROW, stream=stream)
        found = data_verb.run(data=data, examples=60, show=0)
    finally:
        seqio.MixtureRegistry.remove("report_few")
        seqio.TaskRegistry.remove("report_moods")
        seqio.TaskRegistry.remove("report_chosen")
    assert found["tasks"]["report_moods"]["realised"] < 0.2
    told = capsys.readouterr().out
    assert told.index("  report_moods:") < told.index("sources.Having") < told.index("  report_text:")
    assert told.count("sources.Having") == 1
    # One of ten has a mood; the order is shuffled anew for each ten.
    empty = found["tasks"]["report_moods"]["empty"]
    assert empty["of"] > 20 and empty["records"] == pytest.approx(0.9 * empty["of"], abs=2)
    assert f"{empty['records']} of {empty['of']} records drawn became no example" in told
    assert found["tasks"]["report_text"]["empty"]["records"] == 0
    # Nor is one that its source leaves out passed over in silence.
    assert [found["tasks"][f"report_{name}"]["left_out"] for name in ("moods", "text", "chosen")] == [0, 0, 9]
    assert "9 more lack a text that the task reads" in told


def test_the_vocabulary_of_checkpoints_is_not_written_over(tmp_path):
    path = tmp_path / "vocabulary.model"
    stream = config.Stream(mixture="report_test")
    data = config.Data(task_modules=(), vocabulary=str(path), stream=stream)
    data_verb.run(data=data, train_vocabulary=440)
    (tmp_path / "checkpoints").mkdir()
    before = path.read_bytes()
    with pytest.raises(
        ValueError, match=r"the checkpoints beside it were trained with it\. Leave --train_vocabulary out"
    ):
        data_verb.run(data=data, train_vocabulary=450)
    assert path.read_bytes() == before


def test_no_examples_are_no_report(tmp_path):
    with pytest.raises(ValueError, match="--examples=0 is the number to measure, 1 or more"):
        data_verb.run(data=config.Data(vocabulary=str(tmp_path)), examples=0)


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_a_vocabulary_is_of_the_kind_that_the_recipe_names(kind, tmp_path):
    path = tmp_path / "vocabulary.model"
    stream = config.Stream(mixture="report_test")
    data = config.Data(task_modules=(), vocabulary=str(path), vocabulary_kind=kind, stream=stream)
    data_verb.run(data=data, train_vocabulary=440)
    spec = sentencepiece_model_pb2.ModelProto.FromString(path.read_bytes()).trainer_spec
    assert spec.model_type == getattr(spec, kind.upper())
