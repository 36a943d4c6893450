"""Some records of a source, read by position: a share that is the same wherever they stand, or those with a field."""

import numpy as np
import pytest

from speechlm_jax.data import manifest, sources

ITEMS = [{"id": f"u{index}", "text": f"text {index}", "audio": np.full(400, index, np.int16)} for index in range(400)]
SOURCE = sources.SequenceSource({"train": ITEMS, "test": ITEMS[:30]})


def ids(source: sources.RandomAccessSource, split: str = "train") -> list[str]:
    reader = source.reader(split)
    return [reader[index]["id"] for index in range(len(reader))]


def test_shares_part_a_split_into_disjoint_records():
    tenth, rest = (ids(sources.ShareOf(SOURCE, share)) for share in ((0.0, 0.1), (0.1, 1.0)))
    assert 20 <= len(tenth) <= 60
    assert sorted(tenth + rest) == sorted(item["id"] for item in ITEMS)


def test_a_record_stays_in_its_share_when_the_corpus_grows_or_is_turned_around():
    tenth = set(ids(sources.ShareOf(SOURCE, (0.0, 0.1))))
    other = sources.SequenceSource({"train": ITEMS[200:][::-1]})
    assert set(ids(sources.ShareOf(other, (0.0, 0.1)))) == tenth & {item["id"] for item in ITEMS[200:]}


def test_a_share_is_that_of_a_manifest(tmp_path):
    lines = ["id\ttext", *(f"{item['id']}\t{item['text']}" for item in ITEMS)]
    (tmp_path / "manifest.tsv").write_text("\n".join(lines) + "\n")
    opened = manifest.Manifest(tmp_path / "manifest.tsv")
    chosen = opened.select(manifest.Lines(share=(0.3, 0.6)))
    assert ids(sources.ShareOf(SOURCE, (0.3, 0.6))) == [f"u{index}" for index in chosen]


def test_splits_that_are_not_named_stay_whole():
    source = sources.ShareOf(SOURCE, (0.0, 0.1), splits=("train",))
    assert source.num_input_examples("test") == 30 and source.num_input_examples("train") < 60


def test_an_endless_run_holds_every_record_of_the_share_once_an_epoch():
    source = sources.ShareOf(SOURCE, (0.0, 0.1))
    count = source.num_input_examples("train")
    found = list(source.at("train", lambda: iter(range(2 * count)), seed=3).as_numpy_iterator())
    first, second = ([example["id"].decode() for example in found[start : start + count]] for start in (0, count))
    assert sorted(first) == sorted(second) == sorted(ids(source)) and first != second
    assert [int(example["_pos"]) for example in found] == list(range(2 * count))
    assert all((example["audio"] == int(example["id"][1:])).all() for example in found)


def test_a_record_without_an_id_is_told_apart_by_its_place():
    nameless = sources.SequenceSource({"train": [{"text": item["text"]} for item in ITEMS]})
    found = sources.ShareOf(nameless, (0.0, 0.1)).reader("train")
    assert 20 <= len(found) <= 60
    assert found.values(0, ("text",)) == {"text": f"text {found.name(0)[len('train[') : -1]}"}


def test_another_share_has_another_fingerprint():
    shares = [(0.0, 0.1), (0.1, 0.2), (0.0, 1.0)]
    assert len({sources.ShareOf(SOURCE, share).fingerprint("train") for share in shares}) == 3


def test_a_share_that_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match=r"wanted 0 <= low < high <= 1, found \(0.5, 0.5\)"):
        sources.ShareOf(SOURCE, (0.5, 0.5))
    with pytest.raises(ValueError, match=r"it has no split 'trian'.*train"):
        sources.ShareOf(SOURCE, (0.0, 0.1), splits=("trian",))


LABELS = ["l" if index % 4 == 1 else " " for index in range(len(ITEMS))]
HALF = sources.SequenceSource(
    {"train": [{**item, "label": label, "note": "x"} for item, label in zip(ITEMS, LABELS, strict=True)]}
)


def test_records_without_a_field_are_left_out():
    found = sources.Having(HALF, "label", "note")
    assert ids(found) == [item["id"] for item in ITEMS[1::4]] and found.num_input_examples("train") == 100
    reader = found.reader("train")
    assert reader.values(2, ("label",)) == {"label": "l"} and reader.name(2) == "train[9]"
    prints = [source.fingerprint("train") for source in (HALF, found, sources.Having(HALF, "label"))]
    assert len(set(prints)) == 3


def test_a_bad_record_is_left_to_be_told_when_it_is_read():
    class Broken(sources.RandomAccessSource):
        def open(self, split):
            return Reader(HALF.reader(split))

    class Reader(type(HALF.reader("train"))):
        def __init__(self, inner):
            self.__dict__.update(inner.__dict__)

        def values(self, index, names):
            if index == 7:
                raise ValueError("unreadable")
            return super().values(index, names)

    assert "u7" in ids(sources.Having(Broken(["train"]), "label"))


def test_where_no_record_has_the_field_that_is_said():
    empty = sources.SequenceSource({"train": [{"id": "a", "label": ""}, {"id": "b", "label": " "}]})
    with pytest.raises(ValueError, match=r"split 'train' of .* with a text in label has no records"):
        sources.Having(empty, "label").reader("train")


def test_a_field_that_is_not_there_or_is_no_text_is_refused():
    with pytest.raises(ValueError, match=r"it has no text field 'lable'.*label"):
        sources.Having(HALF, "lable").reader("train")
    with pytest.raises(ValueError, match=r"it has no text field 'audio'"):
        sources.Having(HALF, "audio").reader("train")
