"""Tests of sources that bring fields of other examples along."""

import numpy as np
import pytest

from speechlm_jax.data import others, sources

ITEMS = [
    {"text": f"text {i}", "speaker": "ab"[i % 2], "audio": np.full(400 + i, i, np.int16), "id": str(i)}
    for i in range(9)
]
SOURCE = sources.SequenceSource({"train": ITEMS})


def test_others_are_other_texts_of_the_split():
    reader = others.WithOthers(SOURCE, ("text",), count=3).reader("train")
    seen = set()
    for i in range(9):
        found = reader[i]["other_text"].tolist()
        assert len(found) == 3 and f"text {i}" not in found
        seen |= set(found)
    assert len(seen) > 6, "the same few texts are brought along every time"
    assert reader.fields["other_text"] == "texts"


def test_another_recording_is_of_the_same_voice():
    reader = others.WithOthers(SOURCE, ("audio",), same="speaker").reader("train")
    for i in range(9):
        other = int(reader[i]["other_audio"][0])
        assert other != i and other % 2 == i % 2


def test_every_opening_brings_the_same_others():
    first, again = (others.WithOthers(SOURCE, ("text",)).reader("train") for _ in range(2))
    assert [first[i]["other_text"] for i in range(9)] == [again[i]["other_text"] for i in range(9)]


def test_a_voice_that_is_alone_is_a_bad_record():
    source = sources.SequenceSource({"train": [{**ITEMS[0], "speaker": "c"}, *ITEMS[1:]]})
    reader = others.WithOthers(source, ("audio",), same="speaker").reader("train")
    with pytest.raises(ValueError, match="no other example has speaker = 'c'"):
        reader[0]


def test_what_cannot_be_brought_is_named():
    with pytest.raises(ValueError, match="there is no field 'txt'.*text"):
        others.WithOthers(SOURCE, ("txt",)).reader("train")
    with pytest.raises(ValueError, match="field 'audio' is audio, wanted text, or count=1"):
        others.WithOthers(SOURCE, ("audio",), count=2).reader("train")


def test_a_dataset_of_it_carries_lists_of_texts():
    (found, *_) = others.WithOthers(SOURCE, ("text",), count=2).get_dataset("train", shuffle=False).as_numpy_iterator()
    assert found["other_text"].shape == (2,) and found["text"] == b"text 0"
