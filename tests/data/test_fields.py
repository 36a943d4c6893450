"""Values have one kind each, and conform to it or are refused."""

import numpy as np
import pytest

from speechlm_jax.data import fields


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("a", "text"),
        (b"a", "text"),
        (3, "int"),
        (np.int16(3), "int"),
        (True, "int"),
        (1.5, "float"),
        (np.float32(1.5), "float"),
        ([1, 2], "ints"),
        ([1, 2.5], "floats"),
        (np.array([1.5]), "floats"),
        (np.array([1, 2]), "ints"),
        (["a", "b"], "texts"),
        (np.array(["a"]), "texts"),
        (np.zeros(3, np.int16), "audio"),
        (np.zeros(0, np.int16), "audio"),
        ([], None),
        (None, None),
    ],
)
def test_a_value_has_a_kind_and_conforms_to_it(value, kind):
    assert fields.kind_of(value) == kind
    if kind:
        found = fields.conform({"x": value}, {"x": kind})["x"]
        assert fields.kind_of(found) == (None if kind == "audio" and not kind else kind)
        assert type(found) is type(fields.empty(kind))


@pytest.mark.parametrize("value", [{"a": 1}, [[1]], [1, "a"], np.zeros((2, 2)), object()])
def test_a_value_without_a_kind_is_refused(value):
    with pytest.raises(ValueError, match="a field holds text, a number, audio or a flat list"):
        fields.kind_of(value)


@pytest.mark.parametrize(("kind", "dtype"), [("ints", np.int64), ("floats", np.float32), ("audio", np.int16)])
def test_empty_values_have_the_type_of_their_kind(kind, dtype):
    assert fields.empty(kind).dtype == dtype
    assert fields.empty(kind).shape == (0,)
    assert fields.conform({}, {"x": kind})["x"].dtype == dtype


def test_numbers_widen_and_nothing_else_does():
    assert fields.common(["int", "float", None]) == "float"
    assert fields.common(["ints", "floats"]) == "floats"
    assert fields.common(["int", "text"]) is None
    assert fields.common(["int", "ints"]) is None
    assert fields.common([None]) is None


def test_a_wrong_value_is_named_with_its_field():
    with pytest.raises(ValueError, match=r"field 'label' holds 'x', wanted int"):
        fields.conform({"label": "x"}, {"label": "int"})
    with pytest.raises(ValueError, match=r"field 'text' holds b'\\xff', wanted text"):
        fields.conform({"text": b"\xff"}, {"text": "text"})


def test_the_nearest_name_is_offered():
    assert fields.nearest("trian", ["test", "train"]) == "Nearest: 'train'. There are: 'test', 'train'."
    assert fields.nearest("x", []) == "There are: none."
    assert "and 5 more" in fields.nearest("x", map(str, range(25)))
