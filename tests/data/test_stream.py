"""The stream: the same rows wherever it is cut, whoever holds its shards, whatever was bad on the way."""

import dataclasses
import errno
import threading
from collections.abc import Sequence

import numpy as np
import pytest
import seqio
import tensorflow as tf

from speechlm_jax import audio, batch, endings, storage, vocabulary
from speechlm_jax.data import (
    config,
    features,
    objectives,
    paired_objectives,
    pipeline,
    prefetch,
    preprocessors,
    quarantine,
    sources,
    stream,
    stream_position,
)

ROW = batch.Row(audio_seconds=3.0, inputs=40, targets=48, segments=6)
SETTINGS = config.Stream(mixture="stream_test", data_shards=4, open_rows=3)
SPEECH, TEXT = 53, 31
WORDS = ["red", "green", "blue", "one", "two", "three", "four", "five", "six", "seven", "left", "right", "up", "down"]


def sentence(index: int, length: int = 6) -> str:
    return " ".join(WORDS[(index * 7 + 3 * place) % len(WORDS)] for place in range(length))


class Recordings(Sequence):
    """Records of noise, some of which cannot be read."""

    def __init__(self, bad: frozenset[int] = frozenset()):
        self.bad = bad

    def __len__(self) -> int:
        return SPEECH

    def __getitem__(self, index: int) -> dict:
        if index in self.bad:
            raise audio.AudioError("not audio")
        random = np.random.default_rng(index)
        samples = random.integers(-999, 999, int(random.integers(3000, 16000))).astype(np.int16)
        return {"id": f"speech-{index}", "audio": samples, "text": sentence(index, 3)}


FIELDS = {"id": "text", "audio": "audio", "text": "text"}


def halves(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Two examples of each record, and none of every fifth."""
    dataset = dataset.filter(lambda example: not tf.strings.regex_full_match(example["id"], ".*[05]"))

    def cut(example):
        words = tf.strings.split(example["text"])
        texts = tf.stack([tf.strings.reduce_join(part, separator=" ") for part in (words[:3], words[3:])])
        return tf.data.Dataset.from_tensor_slices(texts).map(lambda text: {**example, "text": text})

    return dataset.flat_map(cut)


def add(name: str, source, steps) -> None:
    if name in seqio.TaskRegistry.names():
        seqio.TaskRegistry.remove(name)
    seqio.TaskRegistry.add(name, source, features.OUTPUT_FEATURES, steps)


@pytest.fixture(scope="module", autouse=True)
def tasks(tmp_path_factory):
    path = tmp_path_factory.mktemp("words") / "vocabulary.model"
    vocabulary.train([sentence(i, 9) for i in range(300)], path, 450)
    texts = {"train": [{"id": f"text-{i}", "text": sentence(i, 8)} for i in range(TEXT)]}
    add("stream_speech", sources.SequenceSource({"train": Recordings()}, FIELDS), objectives.recognition())
    add("stream_spans", sources.SequenceSource(texts), [halves, *objectives.span_corruption()])
    add("stream_masked", sources.SequenceSource(texts), objectives.masked_language_model())
    bad = sources.SequenceSource({"train": Recordings(frozenset({3, 11}))}, FIELDS)
    add("stream_bad", bad, objectives.recognition())
    seqio.MixtureRegistry.add("stream_test", [("stream_speech", 2.0), ("stream_spans", 1.0), ("stream_masked", 1.0)])
    with features.bound(path):
        yield
    seqio.MixtureRegistry.remove("stream_test")


def opened(settings: config.Stream = SETTINGS, **others) -> stream.Stream:
    return stream.Stream(settings, ROW, rows=8, seed=1, **others)


def take(source: stream.Stream, number: int) -> list[stream_position.Step]:
    steps = [next(source) for _ in range(number)]
    source.close()
    return steps


def assert_same(left: batch.Batch, right: batch.Batch) -> None:
    for lane, (one, other) in zip(batch.Batch._fields, zip(left, right, strict=True), strict=True):
        for name, a, b in zip(one._fields if one else (), one or (), other or (), strict=True):
            assert np.array_equal(a, b), (lane, name)


def test_a_stream_that_starts_again_anywhere_goes_on_as_if_it_had_not_stopped():
    through = take(opened(), 9)
    for cut in (1, 4, 6):
        resumed = take(opened(state=through[cut - 1].state), 9 - cut)
        for want, got in zip(through[cut:], resumed, strict=True):
            assert_same(want.batch, got.batch)
            assert want.state == got.state


@pytest.mark.parametrize("hosts", [pytest.param(2, marks=pytest.mark.slow), 4])
def test_any_number_of_hosts_makes_the_same_global_batches(hosts):
    whole = take(opened(), 5)
    per_host = SETTINGS.data_shards // hosts
    parts = [take(opened(shards=range(h * per_host, (h + 1) * per_host)), 5) for h in range(hosts)]
    for step, want in enumerate(whole):
        lanes = [part[step].batch for part in parts]
        for lane in ("audio", "inputs", "targets", "segments"):
            for name, value in getattr(want.batch, lane)._asdict().items():
                joined = np.concatenate([getattr(getattr(one, lane), name) for one in lanes])
                assert np.array_equal(joined, value), (lane, name)
    # And the state of one number of hosts serves another.
    merged = {shard: state for part in parts for shard, state in part[2].state.items()}
    resumed = take(opened(state=merged), 2)
    assert_same(resumed[0].batch, whole[3].batch)
    assert_same(resumed[1].batch, whole[4].batch)


@pytest.mark.slow
def test_starting_over_to_free_memory_changes_no_batch(monkeypatch):
    want = take(opened(), 6)
    monkeypatch.setattr(stream.Stream, "MAX_QUEUED_BYTES", -1)
    for one, other in zip(want, take(opened(), 6), strict=True):
        assert_same(one.batch, other.batch)


def test_what_is_held_ahead_is_counted():
    source = opened()
    take(source, 3)
    shards = list(source._shards.values())
    assert any(shard.finished for shard in shards)
    for shard in shards:
        assert shard.bytes == sum(row.bytes for row in shard.finished)
        for row in shard.finished:
            assert row.bytes > sum(2 * len(item.example["audio"]) for item in row.items)


def test_every_epoch_of_a_task_holds_each_record_once():
    settings = dataclasses.replace(SETTINGS, mixture="stream_speech")
    seen = []
    for made in take(opened(settings), 45):
        lines = made.batch.segments
        for shard, draw, _ in lines.origins[lines.weights > 0]:
            seen.append(int(shard) + SETTINGS.data_shards * int(draw))
    # Open rows hold a few positions back; those that came out are all different.
    assert len(seen) == len(set(seen))
    assert set(range(SPEECH)) <= set(seen), sorted(set(range(SPEECH)) - set(seen))


@pytest.mark.slow
def test_realised_rates_are_those_that_were_asked_for():
    source = opened()
    counts = np.bincount([example["task"] for example in source.draw(6000)], minlength=3)
    source.close()
    # Spans: 4 records of 5 pass, and become two examples each.
    assert source.tasks == ["stream_masked", "stream_spans", "stream_speech"]
    want = np.array([1.0, 1.6, 2.0])
    assert counts / counts.sum() == pytest.approx(want / want.sum(), abs=0.02)


@pytest.mark.slow
def test_a_task_of_few_labelled_records_gets_the_rate_that_was_asked_for():
    items = [{"id": str(i), "text": sentence(i, 8), "mood": "glad" if i % 6 == 1 else ""} for i in range(240)]
    source = sources.SequenceSource({"train": items})
    add("stream_moods", sources.Having(source, "mood"), paired_objectives.classification("mood", texts=("text",)))
    seqio.MixtureRegistry.add("stream_labelled", [("stream_masked", 1.0), ("stream_moods", 1.0)])
    try:
        drawn = opened(dataclasses.replace(SETTINGS, mixture="stream_labelled"))
        counts = np.bincount([example["task"] for example in drawn.draw(8000)], minlength=2)
        drawn.close()
    finally:
        seqio.MixtureRegistry.remove("stream_labelled")
    assert counts / counts.sum() == pytest.approx([0.5, 0.5], abs=0.01)


def test_bad_records_are_counted_told_and_skipped():
    told: list[quarantine.BadRecord] = []
    source = opened(dataclasses.replace(SETTINGS, mixture="stream_bad"), on_bad=told.append)
    source.draw(200)
    source.close()
    assert {record.id for record in told} <= {"train[3]", "train[11]"} and told
    assert all(record.reason == "not audio" and record.task == "stream_bad" for record in told)


def test_too_many_bad_records_end_the_run_with_the_reasons():
    settings = dataclasses.replace(
        SETTINGS, mixture="stream_bad", bad_records=config.BadRecords(max_share=0.01, grace=1)
    )
    source = opened(settings)
    with pytest.raises(quarantine.TooManyBadRecords, match="not audio.*raise BadRecords.max_share"):
        source.draw(2000)
    source.close()


def test_an_example_too_large_for_a_row_is_skipped_and_told():
    told: list[quarantine.BadRecord] = []
    small = dataclasses.replace(ROW, audio_seconds=0.6)
    settings = dataclasses.replace(SETTINGS, mixture="stream_speech", bad_records=config.BadRecords(max_share=1.0))
    source = stream.Stream(settings, small, rows=8, seed=1, on_bad=told.append)
    made = next(source)
    source.close()
    assert told and all("lane audio: needs" in record.reason for record in told)
    frames = (made.batch.audio.segment_ids > 0).sum(axis=1)
    assert (frames > 0).all() and (frames <= 60).all()


def test_a_filter_that_drops_everything_is_an_error(monkeypatch):
    monkeypatch.setattr(pipeline, "LOST", 500)
    drop = preprocessors.keep_where(lambda example: tf.constant(False))
    texts = {"train": [{"id": "a", "text": "red green blue"}]}
    add("stream_nothing", sources.SequenceSource(texts), [drop, *objectives.masked_language_model()])
    source = opened(dataclasses.replace(SETTINGS, mixture="stream_nothing"))
    with pytest.raises(ValueError, match="none of 500 records in a row passed"):
        source.draw(1)


def test_of_a_small_source_a_few_passes_are_enough_to_tell_that_nothing_passes():
    drop = preprocessors.keep_where(lambda example: tf.constant(False))
    texts = {"train": [{"id": f"{i}", "text": "red green blue"} for i in range(300)]}
    add("stream_small_nothing", sources.SequenceSource(texts), [drop, *objectives.masked_language_model()])
    source = opened(dataclasses.replace(SETTINGS, mixture="stream_small_nothing"))
    with pytest.raises(ValueError, match="none of 1200 records in a row passed"):
        source.draw(1)


def test_what_python_raises_in_a_preprocessor_is_told_with_its_task_and_record():
    def broken(dataset: tf.data.Dataset) -> tf.data.Dataset:
        def read(name: tf.Tensor) -> tf.Tensor:
            if name.numpy() == b"two":
                raise RuntimeError("the dictionary is gone")
            return name

        return dataset.map(
            lambda one: {**one, "text": tf.ensure_shape(tf.py_function(read, [one["text"]], "string"), ())}
        )

    texts = {"train": [{"id": name, "text": name} for name in ("one", "two")]}
    add("stream_broken", sources.SequenceSource(texts), [broken, *objectives.masked_language_model()])
    told = r"task 'stream_broken', record train\[1\]: RuntimeError: the dictionary is gone$"
    with pytest.raises(ValueError, match=told):
        opened(dataclasses.replace(SETTINGS, mixture="stream_broken")).draw(2)


def test_a_task_whose_examples_end_is_an_error():
    def few(dataset: tf.data.Dataset) -> tf.data.Dataset:
        return dataset.take(5)

    texts = {"train": [{"id": "a", "text": "red green blue"}]}
    add("stream_few", sources.SequenceSource(texts), [*objectives.masked_language_model(), few])
    source = opened(dataclasses.replace(SETTINGS, mixture="stream_few"))
    with pytest.raises(ValueError, match="task 'stream_few': wanted examples without end"):
        source.draw(20)


class Gone(Recordings):
    """Records on storage that answers so often and no more; `asked` once it has not."""

    def __init__(self, answers: int = 0):
        super().__init__()
        self.answers, self.asked = answers, threading.Event()

    def __getitem__(self, index: int) -> dict:
        self.answers -= 1
        if self.answers >= 0:
            return super().__getitem__(index)
        self.asked.set()
        raise OSError(errno.ESTALE, "Stale file handle")


def test_storage_that_never_answers_ends_a_stream_as_something_to_start_again(monkeypatch):
    monkeypatch.setattr(storage, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(storage, "MOST_PATIENCE_SECONDS", 0.3)
    add("stream_gone", sources.SequenceSource({"train": Gone()}, FIELDS), [*objectives.masked_language_model()])
    with pytest.raises(storage.NoAnswer, match="reading task 'stream_gone': reading train.*has not answered") as found:
        opened(dataclasses.replace(SETTINGS, mixture="stream_gone")).draw(1)
    code, said = endings.judged(found.value)
    assert code == endings.STALLED and said == str(found.value)


@pytest.mark.parametrize("does", ["fill a row", "start over", "wait for storage"])
def test_a_stream_that_is_closed_while_it_is_at_work_ends(does, monkeypatch):
    # A row that is not filled in a test's time, or one after which the stream starts over each time.
    queued, mixture = -1 if does == "start over" else stream.Stream.MAX_QUEUED_BYTES, "stream_masked"
    records = Gone(answers=100)
    if does == "wait for storage":
        mixture = "stream_waits"
        add(mixture, sources.SequenceSource({"train": records}, FIELDS), [*objectives.recognition()])
    monkeypatch.setattr(stream.Stream, "MAX_QUEUED_BYTES", queued)
    row = dataclasses.replace(ROW, segments=10**6, inputs=10**8) if queued > 0 else ROW
    source = stream.Stream(dataclasses.replace(SETTINGS, mixture=mixture), row, rows=8, seed=1)
    begun, ended = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        for _ in source:
            pass
        ended.set()

    threading.Thread(target=work, daemon=True).start()
    begun.wait()
    assert not ended.wait(0.5)
    assert does != "wait for storage" or records.asked.wait(20)
    source.close()
    assert ended.wait(10)
    with pytest.raises(StopIteration):
        source.draw(10)


def test_a_preprocessor_that_drops_the_position_is_an_error_that_says_so():
    def forget(dataset: tf.data.Dataset) -> tf.data.Dataset:
        return dataset.map(lambda example: {"text": example["text"], "id": example["id"]})

    texts = {"train": [{"id": "a", "text": "red green blue"}]}
    add("stream_forgets", sources.SequenceSource(texts), [forget, *objectives.masked_language_model()])
    with pytest.raises(ValueError, match="_pos"):
        opened(dataclasses.replace(SETTINGS, mixture="stream_forgets"))


def test_a_language_without_a_token_is_an_error_that_names_it():
    texts = {"train": [{"id": "a", "lang": "xx", "text": "red green blue", "audio": np.ones(4000, np.int16)}]}
    add("stream_foreign", sources.SequenceSource(texts), objectives.recognition(language="{lang}"))
    with pytest.raises(ValueError, match="task 'stream_foreign'.*language without a token.*xx"):
        opened(dataclasses.replace(SETTINGS, mixture="stream_foreign")).draw(1)


def test_masks_of_a_record_differ_from_epoch_to_epoch_and_repeat_with_the_seed():
    settings = dataclasses.replace(SETTINGS, mixture="stream_masked", data_shards=1)

    def masks(seed: int) -> dict[bytes, list[bytes]]:
        source = stream.Stream(settings, ROW, rows=8, seed=seed)
        found: dict[bytes, list[bytes]] = {}
        for example in source.draw(4 * TEXT):
            found.setdefault(example["id"], []).append(example["masked_weights"].tobytes())
        source.close()
        return found

    first = masks(5)
    assert first == masks(5) != masks(6)
    assert sum(len(set(each)) > 1 for each in first.values()) > 0.9 * TEXT


def test_a_changed_recipe_is_refused_with_what_changed():
    def made(**changes):
        settings = dataclasses.replace(SETTINGS, **changes)
        return stream.fingerprint(config.Data(row=ROW, rows=8, stream=settings), seed=1, vocabulary="abc")

    stream_position.check(made(), made(prefetch=7, read_threads=1))
    with pytest.raises(ValueError, match="data_shards: 4 -> 2"):
        stream_position.check(made(), made(data_shards=2))
    with pytest.raises(ValueError, match="rates.stream_masked: 0.25 -> None"):
        stream_position.check(made(), made(mixture="stream_speech"))


def test_tasks_in_another_order_are_refused(monkeypatch):
    def made():
        return stream.fingerprint(config.Data(row=ROW, rows=8, stream=SETTINGS), seed=1, vocabulary="abc")

    before = made()
    stream_position.check({name: value for name, value in before.items() if name != "tasks"}, before)
    tasks, rates = pipeline.tasks_and_rates(SETTINGS.mixture, SETTINGS.split)
    monkeypatch.setattr(pipeline, "tasks_and_rates", lambda *_: (tasks[::-1], rates[::-1]))
    with pytest.raises(ValueError, match=r"tasks: \['stream_masked', .*\] -> \['stream_speech', "):
        stream_position.check(before, made())


def test_unknown_tasks_and_splits_are_errors_that_name_the_nearest():
    with pytest.raises(ValueError, match="'stream_tset' is not registered. Nearest: 'stream_test'"):
        pipeline.find("stream_tset")
    with pytest.raises(ValueError, match="no task of it has a split 'dev', found \\['train'\\]"):
        pipeline.tasks_and_rates("stream_test", "dev")


def test_what_fails_in_the_prefetching_thread_is_raised_where_it_is_asked_for():
    def elements():
        yield 1
        raise ValueError("broken")

    ahead = prefetch.Prefetch(elements(), 2, lambda element: element + 1)
    assert next(ahead) == 2
    for _ in range(2):
        with pytest.raises(ValueError, match="broken"):
            next(ahead)
    ahead.close()
    assert list(prefetch.Prefetch(iter(range(5)), 2)) == list(range(5))
