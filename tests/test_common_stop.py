"""Processes of a group stop at one point, behind the farthest of them, whatever becomes of a call between them."""

import time

import pytest

from speechlm_jax import common_stop, peers


class Notes:
    """What two processes leave, of which this one is the first; the first few calls fail."""

    def __init__(self):
        self.left, self.failing = {}, 3

    def _may_fail(self):
        self.failing -= 1
        if self.failing >= 0:
            raise RuntimeError("UNAVAILABLE")

    def note(self, about, what):
        self._may_fail()
        self.left.setdefault(about, {})[0] = what

    def read(self, about):
        self._may_fail()
        return dict(self.left.get(about, {}))

    def other(self, about, what):
        """Leaves a note of the second process."""
        self.left.setdefault(about, {})[1] = what


@pytest.fixture
def notes(monkeypatch):
    made = Notes()
    monkeypatch.setattr(peers, "note", made.note)
    monkeypatch.setattr(peers, "notes", made.read)
    monkeypatch.setattr(peers, "count", lambda: 2)
    monkeypatch.setattr(common_stop, "_POLL_SECONDS", 0.01)
    monkeypatch.setattr(common_stop, "_SOON_SECONDS", 0.01)
    return made


def wait_for(happened):
    deadline = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_all_stop_behind_the_farthest(notes):
    stop = common_stop.CommonStop()
    assert [stop.reached() for _ in range(3)] == [False] * 3
    stop.tell()
    wait_for(lambda: notes.left.get(stop._at) == {0: "3"})
    notes.other(stop._at, "5")
    assert [stop.reached() for _ in range(3)] == [False, False, True]
    stop.close()


def test_one_that_hears_of_another_says_how_far_it_is(notes):
    stop = common_stop.CommonStop()
    stop.reached()
    notes.other(stop._told, "")
    wait_for(lambda: notes.left.get(stop._at) == {0: "1"})
    notes.other(stop._at, "0")
    assert stop.reached()
    stop.close()


def test_one_that_asks_no_more_says_so(notes):
    stop = common_stop.CommonStop()
    stop.reached()
    notes.failing = 0
    stop.close()
    assert not stop.reached()
    assert notes.left.get(stop._at) == {0: "1"}
