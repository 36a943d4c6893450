"""Examples that are looked into: which they are, what is told of them, and that it comes back from its file."""

import numpy as np
import pytest
import tiny_evaluation
import tiny_text

from speechlm_jax import array_files, evaluate, vocabulary
from speechlm_jax.inference import kept_batches, looking, shown, speaking


def told(likelihood, tokens=2):
    return kept_batches.Told({"id": "a", "targets": np.zeros(tokens, np.int32)}, "x", likelihood)


def test_examples_are_shown_on_a_page_of_one_checkpoint():
    evaluate._check_page("page.html", None, ["a"])
    with pytest.raises(ValueError, match="--show names examples of a page, found no --html"):
        evaluate._check_page(None, None, ["a"])
    with pytest.raises(ValueError, match="--before names another"):
        evaluate._check_page("page.html", "before", [])


def test_the_least_likely_and_the_likeliest_come_first():
    # By token: the long one is likelier than the short one.
    short, long, best, unknown = told(-4.0), told(-6.0, tokens=6), told(-1.0), told(None)
    found = looking.choose([long, short, unknown, best], [], 3)
    assert [(one.why, one.what) for one in found[:2]] == [("least likely", short), ("likeliest", best)]
    assert found[2].what is long and len(found) == 3
    assert looking.choose([short], [], 0) == [] and looking.choose([], [], 2) == []
    spoken = speaking.Spoken({"id": "b"}, np.zeros(3, np.int16), cut=False)
    assert [one.what for one in looking.choose([unknown], [spoken], 2)] == [unknown, spoken]


def test_examples_that_are_asked_for_are_those_that_are_shown():
    first, second = told(-1.0), told(-2.0)._replace(example={"id": b"b", "targets": np.zeros(2, np.int32)})
    (chosen,) = looking.choose([first, second], [], 4, ["b", "c"])
    assert chosen.what is second and chosen.why == "asked for"


@pytest.fixture(scope="module")
def words(tmp_path_factory) -> vocabulary.Vocabulary:
    """That has whole words: letters would be more than short recordings have positions for."""
    path = tmp_path_factory.mktemp("vocabulary") / vocabulary.FILE
    return vocabulary.train(tiny_text.corpus(), path, 700)


@pytest.fixture(scope="module")
def found(words) -> list[shown.Shown]:
    return tiny_evaluation.scores(words, shown=3)["shown"]


@pytest.mark.slow
def test_an_example_is_told_with_its_words_and_looks(found):
    assert [one.why for one in found] == ["least likely", "likeliest", "one of the first"]
    assert found[0].likelihood < found[2].likelihood < found[1].likelihood < 0
    for one in found:
        assert one.wanted == "the small house" and one.written is not None and one.by_ctc is not None
        seconds = len(one.heard) / 16_000
        assert [word for word, *_ in one.words] == ["the", "small", "house"]
        times = [time for _, start, end in one.words for time in (start, end)]
        assert times == sorted(times) and 0 <= times[0] < times[-1] <= seconds + 0.04
        look = one.look
        # A prompt of two, what is said, and an end; a position every 40 ms.
        assert look.steps[0] == "<task:transcribe>" and look.steps[-1] == "</s>" and not look.places
        assert "".join(look.steps[2:-1]).replace(" ", "") == "thesmallhouse"
        assert look.shares.shape[0] == len(look.steps) and look.shares.shape[1] == pytest.approx(seconds / 0.04, abs=2)
        np.testing.assert_allclose(look.shares.sum(-1), 1, atol=2e-3)


@pytest.mark.slow
def test_what_is_written_comes_back(found, tmp_path):
    path = tmp_path / shown.FILE
    spoken = found[0]._replace(spoken=np.arange(5, dtype=np.int16), look=None, words=[])
    shown.write(path, 7, [*found, spoken])
    step, again = shown.read(path)
    assert step == 7 and len(again) == 4
    for one, other in zip([*found, spoken], again, strict=True):
        for name, value in one._asdict().items():
            if name == "look" and value is not None:
                np.testing.assert_array_equal(value.shares, other.look.shares)
                assert value._replace(shares=None) == other.look._replace(shares=None)
            elif isinstance(value, np.ndarray):
                np.testing.assert_array_equal(value, getattr(other, name))
            else:
                assert value == getattr(other, name), name
    assert [file.name for file in tmp_path.iterdir()] == [shown.FILE]


@pytest.mark.parametrize("spoil", [lambda content: content[:200], lambda content: b"", lambda content: b"PK" + content])
def test_a_damaged_file_is_told(tmp_path, spoil):
    path = tmp_path / shown.FILE
    shown.write(path, 7, [])
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(ValueError, match=r"examples\.npz is damaged"):
        shown.read(path)


LINE = {
    "task": "t",
    "id": "i",
    "why": "w",
    "wanted": "x",
    "written": None,
    "by_ctc": None,
    "likelihood": None,
    "words": [],
}


@pytest.mark.parametrize(
    "changes", [{"likelihood": "much"}, {"words": [["a", 0.0]]}, {"words": 3}, {"look": {"steps": []}}], ids=str
)
def test_examples_of_a_stranger_that_are_none_are_refused(tmp_path, changes):
    path = tmp_path / shown.FILE
    array_files.write(path, {"0/heard": np.zeros(3, np.int16)}, {"step": 1, "examples": [LINE | changes]})
    with pytest.raises(ValueError, match="reading the examples of a run"):
        shown.read(path)


@pytest.mark.parametrize("heard", [np.zeros((2, 2), np.int16), np.array(["a"])], ids=["rank", "kind"])
def test_arrays_of_a_stranger_that_are_none_are_refused(tmp_path, heard):
    path = tmp_path / shown.FILE
    array_files.write(path, {"0/heard": heard}, {"step": 1, "examples": [LINE]})
    with pytest.raises(ValueError, match="wanted numbers of rank 1"):
        shown.read(path)


def test_a_small_file_that_would_unpack_to_a_large_one_is_refused(tmp_path):
    path = tmp_path / shown.FILE
    array_files.write(path, {"0/heard": np.zeros(2**28, np.int16)}, {"step": 1, "examples": []})
    assert path.stat().st_size < 2**20
    with pytest.raises(ValueError, match="at most"):
        shown.read(path)


@pytest.mark.slow
def test_a_ctc_head_that_was_not_trained_tells_no_times(words, found):
    assert found[0].words
    (one,) = tiny_evaluation.scores(words, ctc=False, shown=1)["shown"]
    assert one.words == [] and one.by_ctc is None and one.look is not None
