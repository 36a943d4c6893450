"""What is counted of bad records, told of them and written down, and the verdict on a budget."""

import json

import pytest
import seqio

from speechlm_jax.data import config, features, pipeline, preprocessors, quarantine, sources


def test_a_verdict_stands_however_much_is_read_afterwards():
    kept = quarantine.Quarantine(config.BadRecords(max_share=0.02, grace=20))
    kept.count_read(100)
    for number in range(20):
        kept.add("task", f"bad{number}", "no sound")
    kept.check()
    kept.add("task", "bad20", "no sound")
    kept.count_read(100_000)
    assert kept.over_budget
    with pytest.raises(quarantine.TooManyBadRecords, match="21 of 100100 could not be used"):
        kept.check()


def test_a_few_records_that_are_met_again_in_every_pass_stay_a_few():
    kept = quarantine.Quarantine(config.BadRecords(max_share=0.02, grace=20))
    for _ in range(100):
        kept.count_read(10)
        kept.add("task", "bad", "no sound")
    kept.check()
    assert kept.skipped == 100
    # The same ones are too many where nearly nothing else is read.
    most = quarantine.Quarantine(config.BadRecords(max_share=0.02, grace=20))
    for number in range(21):
        most.count_read()
        most.add("task", f"bad{number % 3}", "no sound")
    with pytest.raises(quarantine.TooManyBadRecords, match="21 of 21 could not be used, 3 different ones"):
        most.check()
    # So are those of a small task beside one that is sound.
    beside = quarantine.Quarantine(config.BadRecords(max_share=0.02, grace=20))
    for number in range(21):
        beside.count_read(9, task="sound")
        beside.count_read(task="small")
        beside.add("small", f"bad{number % 3}", "no sound")
    with pytest.raises(quarantine.TooManyBadRecords, match="21 of 210 could not be used, 3 different ones"):
        beside.check()


def test_a_task_that_stopped_over_budget_is_an_error_though_others_read_on():
    source = sources.SequenceSource({"train": [{"id": "a", "text": "red"}]})
    steps = [preprocessors.rename(targets_pretokenized="text"), _no_tokens, preprocessors.lanes()]
    seqio.TaskRegistry.add("quarantine_stopped", source, features.OUTPUT_FEATURES, steps)
    kept = quarantine.Quarantine(config.BadRecords(grace=2))
    for number in range(3):
        kept.add("quarantine_stopped", f"bad{number}", "no sound")
    try:
        task = seqio.TaskRegistry.get("quarantine_stopped")
        reader = pipeline.Reader(task, "train", lambda: iter(range(1000)), seed=0, quarantine=kept)
    finally:
        seqio.TaskRegistry.remove("quarantine_stopped")
    kept.count_read(100_000)
    with pytest.raises(quarantine.TooManyBadRecords):
        reader.take(0)


def _no_tokens(dataset):
    return dataset.map(lambda example: {**example, "targets": [1]})


def test_each_record_is_told_once_however_many_there_are():
    told: list[quarantine.BadRecord] = []
    kept = quarantine.Quarantine(config.BadRecords(), told.append)
    for _ in range(2):
        for number in range(2500):
            kept.add("task", f"bad{number}", "no sound")
            kept.add("other", b"bad%d" % number, "no text")
    assert len(told) == len(set(told)) == 5000
    assert kept.skipped == 10_000 and kept.records == told[:1000]


def test_a_file_that_is_gone_on_with_holds_each_record_once(tmp_path):
    path = tmp_path / "bad_records.jsonl"
    records = [quarantine.BadRecord("task", name, "no sound") for name in ("ä", "b", "c")]
    first = quarantine.File(path)
    for record in (*records[:2], *records[:2]):
        first(record)
    # The process was killed in the middle of a line, and starts again.
    path.write_text(path.read_text() + '{"task": "ta')
    again = quarantine.File(path)
    for record in (*records, quarantine.BadRecord("other", "b", "no text")):
        again(record)
    lines = path.read_text().splitlines()
    assert lines.pop(2) == '{"task": "ta'
    assert [json.loads(line) for line in lines] == [
        {"task": "task", "id": "ä", "reason": "no sound"},
        {"task": "task", "id": "b", "reason": "no sound"},
        {"task": "task", "id": "c", "reason": "no sound"},
        {"task": "other", "id": "b", "reason": "no text"},
    ]
