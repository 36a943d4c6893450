"""A cache gives back what was put in, is there whole or not at all, and tells when it is damaged."""

import json
import shutil
from concurrent import futures

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speechlm_jax.data import fields as kinds
from speechlm_jax.data import records

FIELDS = {
    "id": "text",
    "audio": "audio",
    "label": "int",
    "duration": "float",
    "target_audio": "audio",
    "tags": "texts",
    "offsets": "ints",
    "scores": "floats",
}


def example(number: int) -> dict:
    random = np.random.default_rng(number)
    return {
        "id": f"utterance {number} é",
        "audio": random.integers(-32768, 32768, random.integers(0, 3_000)).astype(np.int16),
        "label": number - 3,
        "duration": number / 7,
        "target_audio": random.integers(-32768, 32768, 100 * (number % 3)).astype(np.int16),
        "tags": [f"t{each}" for each in range(number % 4)],
        "offsets": list(range(number % 5)),
        "scores": [each / 3 for each in range(number % 3)],
    }


def assert_same(found: dict, wanted: dict, fields: dict = FIELDS):
    wanted = kinds.conform(wanted, fields)
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert type(found[name]) is type(value), name
        if isinstance(value, np.ndarray):
            assert found[name].dtype == value.dtype, name
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def write(folder, count: int = 11, first: int = 0, shards: int = 4, split: str = "train"):
    with records.Writer(folder, FIELDS, shards=shards) as writer:
        for number in range(first, first + count):
            writer.write(split, example(number))
    return folder


@pytest.mark.parametrize(("count", "shards"), [(11, 4), (3, 4), (8, 1), (12, 4)])
def test_records_come_back_in_the_order_in_which_they_were_written(tmp_path, count, shards):
    folder = write(tmp_path / "cache", count, shards=shards)
    reader = records.Reader(folder, "train")
    assert len(reader) == count
    assert reader.fields == FIELDS
    for number in range(count):
        assert_same(reader[number], example(number))
    assert sorted(path.name for path in folder.iterdir()) == ["info.json"] + [
        f"train-{index:05d}-of-{shards:05d}.arecord" for index in range(shards)
    ]


def test_info_counts_records_and_seconds_of_each_split(tmp_path):
    with records.Writer(tmp_path / "cache", FIELDS) as writer:
        for number in range(9):
            writer.write("test" if number % 3 == 0 else "train", example(number))
    info = records.read_info(tmp_path / "cache")
    for split, numbers in (("test", [0, 3, 6]), ("train", [1, 2, 4, 5, 7, 8])):
        samples = sum(len(example(number)[name]) for number in numbers for name in ("audio", "target_audio"))
        assert info["splits"][split]["records"] == len(numbers)
        assert info["splits"][split]["audio_seconds"] == pytest.approx(samples / 16_000, abs=1e-3)
        assert records.Reader(tmp_path / "cache", split).audio_seconds == info["splits"][split]["audio_seconds"]


VALUES = st.fixed_dictionaries(
    {
        "id": st.text(st.characters(exclude_categories=["Cs"])),
        "audio": st.lists(st.integers(-32768, 32767)).map(lambda x: np.array(x, np.int16)),
        "label": st.integers(-(2**63), 2**63 - 1),
        "duration": st.floats(width=32, allow_nan=False, allow_infinity=False),
        "target_audio": st.lists(st.integers(-32768, 32767)).map(lambda x: np.array(x, np.int16)),
        "tags": st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=5)),
        "offsets": st.lists(st.integers(-(2**63), 2**63 - 1)),
        "scores": st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False)),
    }
)


@settings(max_examples=60, deadline=None)
@given(VALUES)
def test_every_value_survives_encoding(value):
    found = records.decode(records.encode(value, FIELDS), FIELDS)
    assert_same(found, value)
    assert found["audio"].flags.aligned


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_bytes_are_a_record_error_or_a_record(data):
    encoded = bytearray(records.encode(example(5), FIELDS))
    for place, value in data.draw(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255)), max_size=6)):
        encoded[place] = value
    encoded = bytes(encoded[: data.draw(st.none() | st.integers(0, len(encoded)))])
    try:
        found = records.decode(encoded, FIELDS)
    except records.RecordError:
        return
    assert found.keys() == FIELDS.keys()
    assert sum(found[name].nbytes for name in ("audio", "target_audio")) < len(encoded)


def test_bytes_left_over_or_missing_are_a_record_error():
    encoded = records.encode(example(5), FIELDS)
    for wrong in (encoded + b"\0\0", encoded[:-2], encoded[:-1], encoded[:4], b"", b"SLR2" + encoded[4:]):
        with pytest.raises(records.RecordError, match="not a record of the fields id, audio"):
            records.decode(wrong, FIELDS)


def test_absent_fields_are_empty_and_others_are_left_out():
    found = records.decode(records.encode({"id": "a", "more": 1, "label": None}, FIELDS), FIELDS)
    assert_same(found, {"id": "a"})
    assert found["label"] == 0
    assert len(found["audio"]) == len(found["tags"]) == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("audio", np.zeros(4, np.float32)),
        ("audio", np.zeros((2, 2), np.int16)),
        ("id", 3),
        ("label", "3"),
        ("label", 1.5),
        ("label", 2**63),
        ("duration", float("nan")),
        ("tags", [1]),
        ("offsets", [1.5]),
        ("scores", ["a"]),
    ],
)
def test_a_value_of_another_kind_is_refused(name, value):
    with pytest.raises(ValueError, match=name if name != "duration" else "JSON"):
        records.encode({name: value}, FIELDS)


def test_a_record_above_a_gibibyte_is_refused_before_it_is_made():
    with pytest.raises(ValueError, match="at most 1073741824"):
        records.encode({"audio": np.zeros(1 << 29, np.int16)}, {"audio": "audio"})


def test_nothing_stands_before_all_of_it_does(tmp_path):
    folder = tmp_path / "cache"

    def write_badly():
        with records.Writer(folder, FIELDS) as writer:
            writer.write("train", example(0))
            assert not folder.exists()
            writer.write("train", {"label": "x"})

    with pytest.raises(ValueError, match="field 'label'"):
        write_badly()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="nothing was written"), records.Writer(folder, FIELDS):
        pass
    assert list(tmp_path.iterdir()) == []
    write(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_of_two_writers_of_one_cache_the_first_stands(tmp_path):
    folder = tmp_path / "cache"
    with records.Writer(folder, FIELDS) as slow:
        slow.write("train", example(0))
        write(folder, 1)
        slow.write("train", example(1))
        shutil.rmtree(folder)
        write(folder, 2)
    assert len(records.Reader(folder, "train")) == 2
    slow = records.Writer(tmp_path / "other", FIELDS).__enter__()
    write(tmp_path / "other", 2)
    slow.write("train", example(7))
    with pytest.raises(ValueError, match="exists and is not empty"):
        slow.__exit__(None, None, None)
    assert len(records.Reader(tmp_path / "other", "train")) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "other"]
    with pytest.raises(ValueError, match="exists and is not empty"):
        records.Writer(folder, FIELDS)


def test_the_same_records_have_the_same_hash_and_others_another(tmp_path):
    def fingerprint(name, **options):
        return records.Reader(write(tmp_path / name, **options), "train").fingerprint()

    assert fingerprint("a") == fingerprint("b")
    assert len({fingerprint("c"), fingerprint("d", first=1), fingerprint("e", count=12), fingerprint("f")}) == 3


def test_threads_read_what_one_reads(tmp_path):
    reader = records.Reader(write(tmp_path / "cache", 40), "train")
    indices = np.random.default_rng(0).integers(0, 40, 1_000).tolist()
    with futures.ThreadPoolExecutor(8) as executor:
        for index, found in zip(indices, executor.map(reader.__getitem__, indices), strict=True):
            assert_same(found, example(index))


def test_shards_written_apart_are_read_one_after_the_other(tmp_path):
    shards = []
    for index, numbers in enumerate([range(5), range(5, 5), range(5, 12)]):
        writer = records.ShardWriter(tmp_path / records.shard_name("train", index, 3), FIELDS)
        for number in numbers:
            writer.write(example(number))
        shards.append(writer.close())
    records.write_info(tmp_path, FIELDS, {"train": shards}, order="consecutive")
    reader = records.Reader(tmp_path, "train")
    assert len(reader) == 12
    for number in range(12):
        assert_same(reader[number], example(number))
    assert reader.name(6) == "train-00002-of-00003.arecord[1]"
    with pytest.raises(IndexError, match="12 records, number 12"):
        reader[12]


def test_no_flipped_bit_passes_unnoticed(tmp_path):
    folder = write(tmp_path / "cache", 2, shards=1)
    path = folder / "train-00000-of-00001.arecord"
    data = path.read_bytes()
    first = data.index(b"SLR1")
    random = np.random.default_rng(0)
    for place in [first, first + 5, *random.integers(first, first + 2_000, 60).tolist()]:
        damaged = bytearray(data)
        damaged[place] ^= 1 << int(random.integers(8))
        path.write_bytes(damaged)
        reader = records.Reader(folder, "train")
        with pytest.raises(records.RecordError, match=r"^train-00000-of-00001\.arecord\[\d\]: [^\n]*$"):
            [reader[index] for index in range(2)]


def test_what_is_written_of_records_is_read_without_their_recordings(tmp_path):
    folder, names = write(tmp_path / "cache", 150, shards=2), ("id", "label", "duration", "tags", "offsets", "scores")
    path = folder / "train-00001-of-00002.arecord"
    path.write_bytes(path.read_bytes().replace(b"SLR1", b"SLR2"))
    reader = records.Reader(folder, "train")
    for number in range(150):
        assert_same(dict(reader.values(number, names)), example(number), {name: FIELDS[name] for name in names})
    assert_same(dict(reader.values(2, ("id", "audio"))), example(2), {"id": "text", "audio": "audio"})
    with pytest.raises(records.RecordError, match=r"train-00001-of-00002\.arecord\[1\]: "):
        reader.values(3, ("id", "audio"))


def test_where_a_block_of_headers_is_damaged_records_tell_themselves(tmp_path):
    folder = write(tmp_path / "cache", 3, shards=1)
    path = folder / "train-00000-of-00001.arecord"
    data = bytearray(path.read_bytes())
    data[data.rindex(b'"label"')] ^= 1
    path.write_bytes(data)
    reader = records.Reader(folder, "train")
    assert dict(reader.values(2, ("label",))) == {"label": example(2)["label"]}
    path.write_bytes(bytes(data).replace(b"SLR1", b"SLR2"))
    with pytest.raises(records.RecordError, match=r"train-00000-of-00001\.arecord\[2\]: "):
        records.Reader(folder, "train").values(2, ("label",))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.write_bytes(path.read_bytes()[:-5_000]), "damaged"),
        (lambda path: path.write_bytes(b""), "damaged"),
        (lambda path: path.write_bytes(b"text " * 30_000), "damaged"),
        (lambda path: path.write_bytes((path.parent / "train-00003-of-00004.arecord").read_bytes()), "3 records and"),
    ],
)
def test_a_damaged_shard_is_named_when_the_cache_is_opened(tmp_path, spoil, reason):
    folder = write(tmp_path / "cache", 11)
    spoil(folder / "train-00001-of-00004.arecord")
    with pytest.raises(records.RecordError, match=rf"train-00001-of-00004\.arecord: .*{reason}"):
        records.Reader(folder, "train")


def test_a_shard_of_another_cache_is_a_record_error(tmp_path):
    folder = write(tmp_path / "cache", 4)
    with records.Writer(tmp_path / "other", {"text": "text"}) as writer:
        for number in range(4):
            writer.write("train", {"text": str(number)})
    name = "train-00002-of-00004.arecord"
    (folder / name).write_bytes((tmp_path / "other" / name).read_bytes())
    reader = records.Reader(folder, "train")
    assert_same(reader[1], example(1))
    with pytest.raises(
        records.RecordError, match=r"train-00002-of-00004\.arecord\[0\]: not a record of the fields id, "
    ):
        reader[2]


def test_a_folder_that_is_no_cache_says_so(tmp_path):
    with pytest.raises(ValueError, match=r"has no info\.json"):
        records.Reader(tmp_path / "none", "train")
    folder = write(tmp_path / "cache")
    with pytest.raises(ValueError, match=r"no split 'trian' in .* Nearest: 'train'"):
        records.Reader(folder, "trian")
    whole = (folder / "info.json").read_text()
    for text in ("", "[]", "{}", whole[:100], whole.replace('"audio": "audio"', '"audio": "sound"'), '{"format": "x"}'):
        (folder / "info.json").write_text(text)
        with pytest.raises(ValueError, match=r"info\.json"):
            records.Reader(folder, "train")
    (folder / "info.json").write_text(json.dumps({**json.loads(whole), "version": 1}))
    with pytest.raises(ValueError, match="has version 1, this code reads 2"):
        records.Reader(folder, "train")


def test_names_that_would_make_odd_files_or_fields_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"found '\.\./x'"), records.Writer(tmp_path / "cache", FIELDS) as writer:
        writer.write("../x", example(0))
    for fields in ({"_pos": "int"}, {"": "text"}, {"a": "sound"}):
        with pytest.raises(ValueError, match="field"):
            records.Writer(tmp_path / "cache", fields)
    with pytest.raises(ValueError, match="shards=0"):
        records.Writer(tmp_path / "cache", FIELDS, shards=0)
