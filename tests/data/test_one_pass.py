"""A record that a preprocessor refuses is named, in words."""

import pytest
import seqio

from speechlm_jax import endings
from speechlm_jax.data import (
    config,
    features,
    objectives,
    one_pass,
    paired_objectives,
    preprocessors,
    quarantine,
    sources,
)


@pytest.mark.usefixtures("words")
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_label_that_there_is_not_is_told_with_its_record(split):
    # More records than are read ahead; of the wrong label, and of lines without any, which are left out.
    moods = ["good"] * 90 + [""] * 5 + ["mürrisch 好"] + ["bad"] * 9
    items = [{"id": f"u{number}", "text": "a b", "mood": mood} for number, mood in enumerate(moods)]
    steps = paired_objectives.classification("mood", ("good", "bad"), texts=("text",))
    task = seqio.Task(
        "one_pass_moods",
        source=sources.SequenceSource({"train": items, "test": items[90:]}),
        preprocessors=steps,
        output_features=features.OUTPUT_FEATURES,
    )
    with pytest.raises(ValueError, match="wanted a label of good, bad") as told:
        list(one_pass.examples(task, split, quarantine=quarantine.Quarantine(config.BadRecords())))
    number = {"train": 95, "test": 5}[split]
    assert str(told.value) == (
        f"reading task 'one_pass_moods', record {split}[{number}]: making an example of the classification 'mood': "
        "wanted a label of good, bad, found mürrisch 好"
    )


@pytest.mark.usefixtures("words")
@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ([preprocessors.tokenize(targets="text")], r"reading task 'one_pass_wrong': .*preprocessors\.lanes\(\)"),
        (objectives.recognition("txt"), r"reading task 'one_pass_wrong': .*no field 'txt', it has id, text\."),
    ],
    ids=["no lanes", "no such field"],
)
def test_what_is_wrong_with_preprocessors_is_told_with_their_task(steps, told):
    source = sources.SequenceSource({"train": [{"id": "a", "text": "a b"}]})
    task = seqio.Task("one_pass_wrong", source, features.OUTPUT_FEATURES, steps)
    with pytest.raises(ValueError, match=told) as error:
        list(one_pass.examples(task, "train", quarantine=quarantine.Quarantine(config.BadRecords())))
    assert endings.raised_on_purpose(error.value)
