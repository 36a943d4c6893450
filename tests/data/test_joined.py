"""Examples that are said one after the other in one recording."""

import numpy as np
import pytest

from speechlm_jax.data import joined, sources

RATE = 16_000
ITEMS = [
    {"text": f"text {i}", "lang": "en" if i % 2 else "de", "audio": np.full(RATE // 2 + i, 1000 * i, np.int16), "n": i}
    for i in range(1, 20)
]
SOURCE = sources.SequenceSource({"train": ITEMS})


def reader(**choices):
    return joined.Joined(SOURCE, ("text",), **{"max_seconds": 9.0, "same": "lang", **choices}).reader("train")


def said(wave_N):
    """Which items a recording is made of, in their order: pauses are faint."""
    marks_N = np.where(wave_N % 1000 == 0, wave_N // 1000, 0)
    begins = np.flatnonzero(np.diff(marks_N, prepend=0))
    return [int(marks_N[place]) for place in begins if marks_N[place]]


def test_each_is_the_first_of_one_and_texts_follow_recordings():
    found = [reader()[index] for index in range(len(ITEMS))]
    counts = set()
    for item, one in zip(ITEMS, found, strict=True):
        numbers = said(one["audio"])
        assert one["text"] == " ".join(f"text {number}" for number in numbers)
        assert one["text"].startswith(item["text"]) and set(one) == {"audio", "text", "lang"}
        assert {ITEMS[number - 1]["lang"] for number in numbers} == {item["lang"]}
        counts.add(len(numbers))
    assert counts == {1, 2, 3, 4}


def test_pauses_are_as_long_as_asked_and_faint():
    found = reader(pause_seconds=(0.25, 0.5), most=2)
    pauses = []
    for index in range(len(ITEMS)):
        one = found[index]
        spoken = sum(len(ITEMS[number - 1]["audio"]) for number in said(one["audio"]))
        if len(one["audio"]) > spoken:
            pauses.append(len(one["audio"]) - spoken)
            own = len(ITEMS[index]["audio"])
            pause_N = one["audio"][own : own + pauses[-1]]
            assert 0 < np.abs(pause_N).max() < 1000
    assert pauses and 0.25 * RATE <= min(pauses) < max(pauses) <= 0.5 * RATE


def test_nothing_is_longer_than_asked_but_what_is_so_by_itself():
    lengths = [len(reader(max_seconds=1.2)[index]["audio"]) for index in range(len(ITEMS))]
    assert max(lengths) <= 1.2 * RATE and max(lengths) > 0.6 * RATE
    assert [len(reader(max_seconds=0.1)[index]["audio"]) for index in range(len(ITEMS))] == [
        len(item["audio"]) for item in ITEMS
    ]


def test_every_opening_joins_the_same_and_says_so():
    first, again = reader(), reader()
    assert first.fingerprint() == again.fingerprint() != reader(most=3).fingerprint()
    for index in range(len(ITEMS)):
        np.testing.assert_array_equal(first[index]["audio"], again[index]["audio"])
        assert first.values(index, ("text",))["text"] == again[index]["text"]
        assert first.values(index, ("lang",))["lang"] == ITEMS[index]["lang"]


def test_a_dataset_of_it_has_every_record_once():
    source = joined.Joined(SOURCE, ("text",), max_seconds=9.0)
    found = list(source.get_dataset("train", shuffle=False).as_numpy_iterator())
    assert [one["text"].decode().split()[1] for one in found] == [str(item["n"]) for item in ITEMS]
    assert {one["audio"].dtype for one in found} == {np.dtype(np.int16)}


def test_what_lacks_a_text_or_a_recording_is_joined_with_nothing():
    wanting = [{**ITEMS[0], "text": " "}, {**ITEMS[1], "audio": np.zeros(0, np.int16)}, *ITEMS[2:]]
    source = sources.SequenceSource({"train": wanting})
    found = joined.Joined(source, ("text",), max_seconds=9.0).reader("train")
    assert said(found[0]["audio"]) == [1] and found[0]["text"] == " "
    assert not len(found[1]["audio"]) and found[1]["text"] == "text 2"
    others = [found[index] for index in range(2, len(ITEMS))]
    assert any(len(said(one["audio"])) > 1 for one in others)
    assert all(one["text"] == " ".join(f"text {number}" for number in said(one["audio"])) for one in others)


def test_what_has_nothing_in_common_with_others_stands_alone():
    source = sources.SequenceSource({"train": [{**ITEMS[0], "lang": "fr"}, *ITEMS[1:]]})
    found = joined.Joined(source, ("text",), max_seconds=9.0, same="lang").reader("train")
    assert found[0]["text"] == "text 1"


@pytest.mark.parametrize(
    ("choices", "told"),
    [
        ({"most": 1}, "wanted 2 or more at most"),
        ({"pause_seconds": (1.0, 0.5)}, "pauses from a shortest to a longest"),
        ({"recording": "sound"}, "split 'train': there is no field 'sound'"),
        ({"same": "speaker"}, "there is no field 'speaker'"),
        ({"recording": "n"}, "wanted field 'n' to be audio, found int"),
    ],
)
def test_what_cannot_be_joined_is_told(choices, told):
    with pytest.raises(ValueError, match=told):
        reader(**choices)
