"""Tests of rates that follow from the tasks of a mixture."""

import math

import numpy as np
import pytest
import seqio
from tiny_text import corpus

from speechlm_jax import batch
from speechlm_jax.data import config, features, mixing, paired_objectives, pipeline, sources, speech_objectives, stream

SIZES = {"mixing_short": 400, "mixing_long": 100}


pytestmark = pytest.mark.usefixtures("words")


@pytest.fixture(scope="module", autouse=True)
def tasks():
    """Short texts, and few long ones; and speech."""
    random, lines = np.random.default_rng(0), corpus(60)
    for name, count in SIZES.items():
        length = 2 if name == "mixing_short" else 9
        items = [
            {"en": " ".join(random.choice(lines, random.integers(1, length))), "de": "gut", "id": str(i)}
            for i in range(count)
        ]
        _add(name, items, paired_objectives.translation("de", "en", "de", text="en"))
    # Three records of four have no translation, and become no example.
    gaps = [{**item, "id": f"{item['id']}-{i}", "de": "" if i else "gut"} for item in items for i in range(4)]
    _add("mixing_gaps", gaps, paired_objectives.translation("de", "en", "de", text="en"))
    speech = [{"audio": np.zeros(16_000 * (1 + i % 3), np.int16) + 1, "id": str(i)} for i in range(9)]
    _add("mixing_speech", speech, speech_objectives.masked_speech())
    yield
    for name in (*SIZES, "mixing_gaps", "mixing_speech"):
        seqio.TaskRegistry.remove(name)


def _add(name, items, steps):
    source = sources.SequenceSource({"train": items})
    seqio.TaskRegistry.add(name, source=source, preprocessors=steps, output_features=features.OUTPUT_FEATURES)


def shares(rates):
    """Task -> its share of the draws."""
    seqio.MixtureRegistry.add("mixing", rates)
    try:
        found, values = pipeline.tasks_and_rates("mixing", "train")
        return {task.name: value for task, value in zip(found, values, strict=True)}
    finally:
        seqio.MixtureRegistry.remove("mixing")


@pytest.mark.parametrize(("temperature", "share"), [(1.0, 0.8), (2.0, 2 / 3), (math.inf, 0.5)])
def test_a_temperature_lifts_small_tasks(temperature, share):
    assert shares(mixing.by_size(SIZES, temperature=temperature))["mixing_short"] == pytest.approx(share)


def test_a_large_task_may_count_as_a_smaller_one():
    assert shares(mixing.by_size(SIZES, most=200))["mixing_short"] == pytest.approx(2 / 3)


@pytest.mark.slow
@pytest.mark.parametrize("other", ["mixing_long", "mixing_gaps"])
def test_tokens_are_drawn_in_the_asked_shares(other):
    wanted = {"mixing_short": 1.0, other: 3.0}
    seqio.MixtureRegistry.add("mixing", mixing.by_amount(wanted, "tokens"))
    try:
        row = batch.Row(inputs=600, targets=600, segments=32)
        settings = config.Stream(mixture="mixing", data_shards=2)
        source = stream.Stream(settings, row, rows=2, seed=0)
        drawn = source.draw(8_000)
        source.close()
    finally:
        seqio.MixtureRegistry.remove("mixing")
    tokens = np.zeros(2)
    for example in drawn:
        tokens[example["task"]] += sum(len(example[lane]) for lane in ("inputs", "prompt", "targets"))
    realised = dict(zip(source.tasks, tokens / tokens.sum(), strict=True))
    assert realised[other] == pytest.approx(0.75, abs=0.01)


def test_a_record_that_becomes_no_example_is_a_draw_for_nothing():
    rates = [rate for _, rate in mixing.by_amount({"mixing_long": 1.0, "mixing_gaps": 1.0}, "tokens")]
    long, gaps = (
        rate(seqio.TaskRegistry.get(name)) for rate, name in zip(rates, ("mixing_long", "mixing_gaps"), strict=True)
    )
    assert gaps == pytest.approx(4 * long)


def test_seconds_of_speech_are_what_a_rate_is_made_of():
    ((_, rate),) = mixing.by_amount({"mixing_speech": 6.0}, "audio_seconds")
    assert rate(seqio.TaskRegistry.get("mixing_speech")) == pytest.approx(3.0)


def test_a_task_without_speech_has_no_rate_by_its_seconds():
    ((_, rate),) = mixing.by_amount({"mixing_short": 1.0}, "audio_seconds")
    with pytest.raises(ValueError, match="examples of task 'mixing_short' have none"):
        rate(seqio.TaskRegistry.get("mixing_short"))


def test_shares_and_temperatures_out_of_range_are_refused():
    with pytest.raises(ValueError, match="a temperature is 1 or more, found 0.5"):
        mixing.by_size(SIZES, temperature=0.5)
    with pytest.raises(ValueError, match="found most=0"):
        mixing.by_size(SIZES, most=0)
    with pytest.raises(ValueError, match="shares are positive numbers"):
        mixing.by_amount({"mixing_short": 0.0}, "tokens")
