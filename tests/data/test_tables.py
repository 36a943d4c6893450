"""Tables are read into typed columns, or the line that is wrong is named."""

import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speechlm_jax.data import tables


def table(folder, content: str | bytes, name: str = "m.jsonl") -> tables.Table:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return tables.read(path)


def jsonl(*rows) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_each_kind_is_found_over_all_lines(tmp_path):
    found = table(
        tmp_path,
        jsonl(
            {"t": "a", "i": 1, "f": 1, "b": True, "ts": [], "is": [1], "fs": [1], "nest": [], "none": None},
            {"t": None, "f": 2.5, "ts": ["x", "y"], "is": [], "fs": [0.5], "nest": [{"text": "é"}]},
            {"i": -5, "ts": None},
        ),
    )
    assert found.fields == {
        "t": "text",
        "i": "int",
        "f": "float",
        "b": "int",
        "ts": "texts",
        "is": "ints",
        "fs": "floats",
        "nest": "text",
        "none": "text",
    }
    assert found.columns["t"] == ["a", None, None]
    assert found.columns["i"] == [1, None, -5]
    assert found.columns["f"] == [1, 2.5, None]
    assert found.columns["ts"] == [[], ["x", "y"], None]
    assert found.columns["is"] == [[1], [], None]
    assert found.columns["nest"] == ["[]", '[{"text": "é"}]', None]
    assert found.columns["none"] == [None, None, None]


def test_nested_maps_become_flat_fields(tmp_path):
    found = table(
        tmp_path,
        jsonl({"x": {"de": "a", "deep": {"er": 3}}, "y": None}, {"x": None, "y": {"z": 1.5}}, {"x": {}}),
    )
    assert found.fields == {"x/de": "text", "x/deep/er": "int", "y/z": "float"}
    assert found.columns == {"x/de": ["a", None, None], "x/deep/er": [3, None, None], "y/z": [None, 1.5, None]}


def test_tsv_and_plain_text_are_text_fields(tmp_path):
    found = table(tmp_path, 'en\tlabel\n"Hi"\t1\n\n\t2\r\n', "a.tsv")
    assert found.columns == {"en": ['"Hi"', ""], "label": ["1", "2"]}
    assert found.lines == [2, 4]
    found = table(tmp_path, "one\r\n\n \ntwo \u2028 still two\n", "a.txt")
    assert found.columns == {"text": ["one", "two \u2028 still two"]}
    assert found.lines == [1, 4]


def test_gzip_and_a_byte_order_mark_are_no_matter(tmp_path):
    plain = jsonl({"a": "é"}, {"a": "b"}).encode()
    for content, name in ((gzip.compress(plain), "a.jsonl.gz"), (b"\xef\xbb\xbf" + plain, "a.jsonl")):
        assert table(tmp_path, content, name).columns == {"a": ["é", "b"]}


GOOD = jsonl({"a": 1})


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (GOOD + '{"a": 2', r"line 2: not JSON \(.*column 8\)"),
        (GOOD + "\n" + "nothing", "line 3: not JSON"),
        (GOOD + '{"a": NaN}', r"line 2: not JSON \(NaN\)"),
        (GOOD + '{"a": -Infinity}', r"line 2: not JSON \(-Infinity\)"),
        (GOOD + "[1]", "line 2: wanted a JSON object, found list"),
        (GOOD + "3", "line 2: wanted a JSON object, found int"),
        (GOOD + "[" * 200_000, "line 2: nested too deeply"),
        (GOOD + '{"a":' * 200_000, "line 2: nested too deeply"),
        (GOOD + '{"b": "\\ud800"}', "line 2: half of a surrogate pair"),
        (GOOD + '{"b": {"\\udc00": 1}}', "line 2: half of a surrogate pair"),
        (GOOD.encode() + b'{"b": "\xff"}', r"line 2: not UTF-8 \(byte 0xff\)"),
        (GOOD + '{"a": "x"}', "line 2: the field 'a' is text, and int in line 1"),
        (GOOD + '{"a": [1]}', "line 2: the field 'a' is ints, and int in line 1"),
        (GOOD + '{"a": []}', "line 2: the field 'a' is empty list, and int in line 1"),
        (GOOD + '{"a": 1.5}\n{"a": "x"}', "line 3: the field 'a' is text, and int in line 1"),
        (jsonl({"a": [1]}, {"a": ["x"]}), "line 2: the field 'a' is texts, and ints in line 1"),
        (GOOD + '{"a": {"b": 1}}', "line 1: the field 'a' is int, and a map with 'a/b' in line 2"),
        ('{"a/b": 1, "a": {"b": 2}}', "line 1: two values for the field 'a/b'"),
        (GOOD + '{"a": 9223372036854775808}', "line 2: the field 'a' is 9223372036854775808, which no int64 holds"),
        (GOOD + '{"b": 1e39}', r"line 2: the field 'b' is 1e\+39, which no float32 holds"),
        (GOOD + '{"b": [0.5, 1e999]}', "line 2: the field 'b' is .*, which no float32 holds"),
        (GOOD + '{"": 1}', "line 2: a field cannot be named ''"),
        (GOOD + '{"_pos": 1}', "line 2: a field cannot be named '_pos'"),
        (jsonl({"scores": {f"u{i}": 1 for i in range(300)}}), "line 1: 'scores/u256' is a field too many: at most 256"),
        ("", "there is no example in it"),
        ("\n \n", "there is no example in it"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path, content, reason):
    with pytest.raises(ValueError, match=rf"^manifest .*m\.jsonl(, |: ){reason}"):
        table(tmp_path, content)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("a\tb\n1\t2\n1\n", "line 3: 1 columns, the header has 2"),
        ("a\ta\n1\t2\n", "line 1: the header names each column once"),
        ("a\t\n1\t2\n", "line 1: the header names each column once"),
        ("a\tb\n", "there is no example in it"),
        ("", "line 1: the header"),
    ],
)
def test_a_wrong_tsv_is_named_with_its_line(tmp_path, content, reason):
    with pytest.raises(ValueError, match=reason):
        table(tmp_path, content, "m.tsv")


def test_a_file_that_cannot_be_a_table_says_so(tmp_path):
    with pytest.raises(ValueError, match="there is no such file"):
        tables.read(tmp_path / "none.jsonl")
    for name in ("m.csv", "m", "m.gz"):
        with pytest.raises(ValueError, match=r"wanted a file named \.jsonl, \.tsv or \.txt"):
            table(tmp_path, GOOD, name)
    whole = gzip.compress(GOOD.encode() * 99)
    for content in (whole[:-9], whole[:20] + b"\0\0\0" + whole[23:], b"\x1f\x8b"):
        with pytest.raises(ValueError, match="cannot be read"):
            table(tmp_path, content, "m.jsonl.gz")
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(ValueError, match="cannot be read"):
        tables.read(tmp_path / "folder.jsonl")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(st.dictionaries(st.sampled_from("abc"), JSON, max_size=3), max_size=4), damage=st.binary(max_size=3)
)
def test_any_json_gives_columns_of_one_length_or_a_value_error(tmp_path_factory, rows, damage):
    content = jsonl(*rows).encode(errors="surrogatepass")
    place = len(content) // 2
    path = tmp_path_factory.getbasetemp() / "fuzz.jsonl"
    path.write_bytes(content[:place] + damage + content[place:])
    try:
        found = tables.read(path)
    except ValueError:
        return
    assert set(found.fields) == set(found.columns)
    assert {len(column) for column in found.columns.values()} <= {len(found.lines)}
    for name, kind in found.fields.items():
        assert {type(value) for value in found.columns[name]} - {type(None)} <= {
            "text": {str},
            "int": {int, bool},
            "float": {int, float, bool},
            **{each: {list} for each in ("texts", "ints", "floats")},
        }[kind]
