"""Sources give any position of an endless run, in order, whatever the threads, and leave bad records out by name."""

import errno
import gc
import itertools
import json
import logging
import math
import threading
import time
from collections.abc import Sequence

import numpy as np
import pytest
import seqio
import soundfile
import tensorflow as tf

from speechlm_jax import audio, storage
from speechlm_jax.data import manifest, order, records, sources


class Items(Sequence):
    """`count` items with speech, made when asked for, some of them bad; counts how often it is asked."""

    def __init__(self, count: int, bad: dict[int, Exception] | None = None, slow: float = 0.0):
        self.count, self.bad, self.slow, self.asked = count, bad or {}, slow, 0

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        self.asked += 1
        time.sleep(self.slow * (index % 3))
        if index in self.bad:
            raise self.bad[index]
        return {"id": f"u{index}", "audio": np.full(400, index, np.int16), "label": index}


FIELDS = {"id": "text", "audio": "audio", "label": "int"}


def source(items: Items) -> sources.SequenceSource:
    return sources.SequenceSource({"train": items}, FIELDS)


def labels(dataset: tf.data.Dataset, count: int | None = None) -> list[int]:
    return [int(example["label"]) for example in itertools.islice(dataset.as_numpy_iterator(), count)]


@pytest.mark.parametrize("threads", [0, 1, 4])
@pytest.mark.parametrize("shuffle", [True, False])
def test_positions_are_answered_in_order_whatever_the_threads(threads, shuffle):
    positions = [0, 3, 4, 29, 10, 10, 57, 1_000_003]
    dataset = source(Items(10, slow=0.002)).at(
        "train", lambda: iter(positions), seed=5, shuffle=shuffle, threads=threads
    )
    found = list(dataset.as_numpy_iterator())
    wanted = [order.record(position, 10, seed=5, shuffle=shuffle) for position in positions]
    assert [int(example["label"]) for example in found] == wanted
    assert [int(example["_pos"]) for example in found] == positions
    assert [example["id"] for example in found] == [f"u{index}".encode() for index in wanted]
    assert all((example["audio"] == example["label"]).all() for example in found)
    assert [int(example["label"]) for example in dataset.as_numpy_iterator()] == wanted


def test_an_endless_run_holds_every_record_once_an_epoch():
    dataset = source(Items(7)).at("train", itertools.count, seed=1)
    found = labels(dataset, 21)
    epochs = [found[start : start + 7] for start in (0, 7, 14)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len(set(map(tuple, epochs))) > 1


@pytest.mark.parametrize("threads", [0, 3])
def test_bad_records_are_told_in_order_and_left_out(threads):
    bad = {
        2: audio.AudioError("x.wav: silent"),
        5: records.RecordError("torn"),
        6: RuntimeError("two\nlines"),
        8: KeyError("gone"),
    }
    told = []
    dataset = source(Items(10, bad, slow=0.002)).at(
        "train", lambda: range(20), shuffle=False, threads=threads, on_bad=lambda *each: told.append(each)
    )
    assert labels(dataset) == [index for _ in range(2) for index in (0, 1, 3, 4, 7, 9)]
    reasons = {2: "x.wav: silent", 5: "torn", 6: "RuntimeError: two lines", 8: "KeyError: 'gone'"}
    assert told == [
        (position, f"train[{position % 10}]", reasons[position % 10])
        for position in range(20)
        if position % 10 in reasons
    ]


class Store(Items):
    """Items on storage that answers nothing for a while, and never gives one of them."""

    def __init__(self, count: int, never: int):
        super().__init__(count)
        self.never, self.back = never, math.inf

    def __getitem__(self, index):
        if self.asked >= 3 and self.back == math.inf:
            self.back = time.monotonic() + 1.5
        if index == self.never or math.inf > self.back > time.monotonic():
            raise OSError(errno.EIO, "Input/output error")
        return super().__getitem__(index)


@pytest.mark.parametrize("threads", [0, 3])
def test_storage_that_does_not_answer_is_waited_for(monkeypatch, threads):
    monkeypatch.setattr(storage, "LONGEST_WAIT_SECONDS", 0.1)
    monkeypatch.setattr(storage, "PATIENCE_SECONDS", 0.3)
    told, items = [], Store(10, never=6)
    dataset = source(items).at(
        "train", lambda: range(10), shuffle=False, threads=threads, on_bad=lambda *each: told.append(each)
    )
    assert labels(dataset) == [0, 1, 2, 3, 4, 5, 7, 8, 9]
    assert told == [(6, "train[6]", "OSError: [Errno 5] Input/output error")] and items.back < math.inf


def test_storage_that_never_answers_makes_no_record_a_bad_one(monkeypatch):
    monkeypatch.setattr(storage, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(storage, "MOST_PATIENCE_SECONDS", 0.3)
    told = []
    gone = dict.fromkeys(range(4), OSError(errno.ESTALE, "Stale file handle"))
    dataset = source(Items(4, gone)).at("train", itertools.count, on_bad=lambda *each: told.append(each))
    with pytest.raises(tf.errors.UnknownError, match=r"NoAnswer: reading train\[\d\]: storage has not answered"):
        next(dataset.as_numpy_iterator())
    assert told == []


def test_values_that_do_not_fit_are_bad_records():
    items = [
        {"label": "three"},
        {"label": 3, "audio": np.zeros(400, np.float32)},
        {"label": 3, "audio": np.ones(200, np.int16)},
        {"label": 3, "id": "\ud800"},
        ["label"],
        {"label": 4, "id": None, "more": 1},
    ]
    told = []
    found = sources.SequenceSource({"train": items}, FIELDS)
    dataset = found.at("train", lambda: range(6), shuffle=False, on_bad=lambda *each: told.append(each))
    examples = list(dataset.as_numpy_iterator())
    assert [example["id"] for example in examples] == [b"train[5]"]
    assert set(examples[0]) == {"id", "audio", "label", "_pos"}
    assert [position for position, _, _ in told] == [0, 1, 2, 3, 4]
    for (_, _, reason), wanted in zip(
        told, ["field 'label'", "field 'audio'", "too short", "surrogates", ""], strict=True
    ):
        assert wanted in reason


def test_bad_records_are_logged_where_nobody_is_told(caplog):
    with caplog.at_level(logging.WARNING):
        assert labels(source(Items(3, {1: audio.AudioError("silent")})).get_dataset(shuffle=False)) == [0, 2]
    assert "position 1: train[1] left out: silent" in caplog.text


def test_what_on_bad_raises_ends_the_dataset():
    def stop(position: int, name: str, reason: str) -> None:
        raise RuntimeError(f"over budget at {position}: {name}: {reason}")

    dataset = source(Items(9, {4: audio.AudioError("silent")})).at("train", itertools.count, shuffle=False, on_bad=stop)
    iterator = dataset.as_numpy_iterator()
    assert [int(next(iterator)["label"]) for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(tf.errors.UnknownError, match=r"over budget at 4: train\[4\]: silent"):
        next(iterator)


def test_a_source_of_nothing_but_bad_records_ends():
    bad = {index: ValueError("no") for index in range(3)}
    dataset = source(Items(3, bad)).at("train", itertools.count, on_bad=lambda *_: None)
    with pytest.raises(tf.errors.InvalidArgumentError, match="100 records of split 'train' in a row are bad"):
        next(dataset.as_numpy_iterator())


def test_reading_threads_end_with_the_iterator(threads_at_work):
    items = Items(60, slow=0.1)
    iterator = source(items).at("train", itertools.count, threads=3).as_numpy_iterator()
    assert next(iterator)["_pos"] == 0
    assert threads_at_work() == 3
    del iterator
    for _ in range(100):
        gc.collect()
        if not threads_at_work():
            break
        time.sleep(0.05)
    assert threads_at_work() == 0
    assert items.asked < 20, "reads that nobody waits for are not begun"


def task(name: str, items: Items) -> seqio.Task:
    return seqio.Task(
        name,
        source=source(items),
        preprocessors=[],
        output_features={"audio": seqio.Feature(seqio.PassThroughVocabulary(1), add_eos=False, dtype=tf.int16)},
        metric_fns=[],
    )


@pytest.mark.parametrize("num_shards", [1, 3, 4])
def test_seqios_shards_hold_every_record_once_and_in_balance(num_shards):
    made = task(f"shards_{num_shards}", Items(10))
    parts = [
        labels(made.get_dataset(None, "train", seed=3, shard_info=seqio.ShardInfo(index, num_shards)))
        for index in range(num_shards)
    ]
    assert sorted(label for part in parts for label in part) == list(range(10))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert parts != [sorted(part) for part in parts]


def test_seqio_does_not_keep_small_sources_in_memory():
    items = Items(6)
    made = task("not_cached", items)
    assert made.num_input_examples("train") == 6
    assert seqio.mixing_rate_num_examples(made, maximum=4) == 4
    assert len(labels(made.get_dataset(None, "train", num_epochs=3))) == 18
    assert items.asked == 18


def test_the_sources_own_epochs_have_orders_of_their_own():
    found = labels(source(Items(8)).get_dataset("train", seed=2, num_epochs=2))
    assert sorted(found[:8]) == sorted(found[8:]) == list(range(8))
    assert found[:8] != found[8:]
    assert len(labels(source(Items(8)).get_dataset("train", num_epochs=None), 30)) == 30
    assert labels(source(Items(8)).get_dataset("train")) == labels(source(Items(8)).get_dataset("train", seed=0))


def test_nothing_is_opened_before_it_is_used_and_then_once():
    opened = []

    def items():
        opened.append(1)
        time.sleep(0.05)
        return Items(4)

    found = sources.SequenceSource({"train": items, "test": items}, FIELDS)
    assert found.splits == ("train", "test")
    assert opened == []
    threads = [threading.Thread(target=found.num_input_examples, args=("train",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found.num_input_examples("train") == 4
    assert len(opened) == 1


def test_a_split_that_is_not_there_or_empty_says_so():
    found = sources.SequenceSource({"train": Items(2), "test": []}, FIELDS)
    with pytest.raises(ValueError, match=r"no split 'tain' in SequenceSource.* Nearest: 'train'"):
        found.reader("tain")
    with pytest.raises(ValueError, match="split 'test' of SequenceSource.* has no records"):
        found.get_dataset("test")


def test_kinds_of_a_sequence_are_found_over_all_items():
    items = [
        {"a": 1, "t": "x", "l": [], "w": np.zeros(300, np.int16)},
        {"a": 1.5, "l": ["é", "b"], "none": None, "n": np.array([1.5])},
    ]
    found = sources.SequenceSource({"train": items})
    assert found.fields("train") == {
        "a": "float",
        "t": "text",
        "l": "texts",
        "w": "audio",
        "none": "text",
        "n": "floats",
        "id": "text",
    }
    spec = found.spec("train")
    assert spec["w"] == tf.TensorSpec([None], tf.int16)
    assert spec["l"] == tf.TensorSpec([None], tf.string)
    assert spec["_pos"] == tf.TensorSpec([], tf.int64)
    dataset = found.get_dataset("train", shuffle=False)
    assert dataset.element_spec == spec
    first, second = dataset.as_numpy_iterator()
    assert (first["a"], first["t"], first["id"], len(first["l"])) == (1.0, b"x", b"train[0]", 0)
    assert (second["a"], second["t"], list(second["l"])) == (1.5, b"", ["é".encode(), b"b"])
    with pytest.raises(ValueError, match=r"train\[1\]: the field 'a' is text, and int in an item before"):
        sources.SequenceSource({"train": [{"a": 1}, {"a": "x"}]}).fields("train")
    with pytest.raises(ValueError, match=r"train\[0\], field 'a': a field holds"):
        sources.SequenceSource({"train": [{"a": {"b": 1}}]}).fields("train")


def test_fingerprints_tell_other_records_apart(tmp_path):
    def of(*items):
        return sources.SequenceSource({"train": list(items)}).fingerprint("train")

    prints = [of({"a": 1}), of({"a": 2}), of({"a": 1}, {"a": 2}), of({"b": 1}), of({"a": np.zeros(300, np.int16)})]
    assert len({*prints, of({"a": np.ones(300, np.int16)})}) == 6
    assert of({"a": 1}) == prints[0]


@pytest.fixture
def corpus(tmp_path):
    rows = []
    for number, split in enumerate(["train", "train", "train", "test", "train"]):
        wave = np.random.default_rng(number).integers(-900, 900, 1_000 + number).astype(np.int16)
        soundfile.write(tmp_path / f"{number}.flac", wave, 16_000)
        rows.append({"id": f"u{number}", "audio": f"{number}.flac", "split": split, "text": "ä" * number})
    rows.append({"id": "gone", "audio": "gone.flac", "split": "train", "text": "-"})
    (tmp_path / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_a_manifest_is_a_source_of_decoded_speech(corpus):
    calls = []
    found = sources.ManifestSource(
        lambda: calls.append(1) or corpus / "manifest.jsonl",
        {"train": "train", "all": manifest.Lines(), "some": manifest.Lines(where={"id": ("u1", "u3")})},
    )
    assert calls == []
    told = []
    dataset = found.at("train", lambda: range(5), shuffle=False, on_bad=lambda *each: told.append(each))
    examples = list(dataset.as_numpy_iterator())
    assert [example["id"] for example in examples] == [b"u0", b"u1", b"u2", b"u4"]
    assert [len(example["audio"]) for example in examples] == [1_000, 1_001, 1_002, 1_004]
    assert examples[1]["text"] == "ä".encode()
    assert told == [(4, "gone", f"{corpus / 'gone.flac'}: there is no such file")]
    assert (found.num_input_examples("all"), found.num_input_examples("some")) == (6, 2)
    assert len({found.fingerprint(split) for split in found.splits}) == 3
    assert len(calls) == 1


def test_each_split_may_have_a_manifest_of_its_own(tmp_path):
    (tmp_path / "train.tsv").write_text("en\tde\none\teins\ntwo\tzwei\n")
    (tmp_path / "val.tsv").write_text("en\tde\nthree\tdrei\n")
    found = sources.ManifestSource({"train": tmp_path / "train.tsv", "validation": tmp_path / "val.tsv"})
    assert found.splits == ("train", "validation")
    examples = list(found.get_dataset("train", shuffle=False).as_numpy_iterator())
    assert [(example["en"], example["de"]) for example in examples] == [(b"one", b"eins"), (b"two", b"zwei")]
    assert found.num_input_examples("validation") == 1


def test_a_manifest_source_says_what_it_lacks(corpus):
    with pytest.raises(ValueError, match="Give splits="):
        sources.ManifestSource("manifest.jsonl")
    with pytest.raises(ValueError, match="wanted the same ones"):
        sources.ManifestSource({"train": "a.tsv"}, {"test": "test"})
    found = sources.ManifestSource(corpus / "manifest.jsonl", {"train": "trian"})
    with pytest.raises(ValueError, match="no line has split = 'trian'. Nearest: 'train'"):
        found.num_input_examples("train")


def test_the_limit_on_length_is_the_sources(corpus):
    found = sources.ManifestSource(corpus / "manifest.jsonl", {"test": "test"}, max_seconds=0.05)
    told = []
    dataset = found.at("test", lambda: range(1), on_bad=lambda *each: told.append(each[2]))
    assert list(dataset.as_numpy_iterator()) == []
    assert "above max_seconds=0.05" in told[0]


def test_a_cache_gives_what_the_manifest_gave(corpus):
    def folder():
        live = sources.ManifestSource(corpus / "manifest.jsonl", {"train": "train", "test": "test"})
        with records.Writer(corpus / "cache", live.reader("train").fields) as writer:
            for split in live.splits:
                for index in range(live.num_input_examples(split)):
                    if live.reader(split).name(index) != "gone":
                        writer.write(split, live.reader(split)[index])
        return corpus / "cache"

    found = sources.RecordsSource(folder, {"train": "train", "validation": "test"})
    assert not (corpus / "cache").exists()
    live = sources.ManifestSource(corpus / "manifest.jsonl", {"train": "train", "validation": "test"})
    for split in found.splits:
        pairs = zip(
            found.get_dataset(split, shuffle=False).as_numpy_iterator(),
            live.get_dataset(split, shuffle=False).as_numpy_iterator(),
            strict=True,
        )
        for one, other in pairs:
            assert one.keys() == other.keys()
            assert all(np.array_equal(one[name], other[name]) for name in one)
    assert found.fingerprint("train").startswith("4-")
    assert sources.RecordsSource(corpus / "cache", ["train"]).num_input_examples("train") == 4
