"""Storage that does not answer is asked again, and told apart from what is damaged."""

import errno
import math
import pickle
import threading

import pytest

from speechlm_jax import storage


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    monkeypatch.setattr(storage, "FIRST_WAIT_SECONDS", 0.01)
    monkeypatch.setattr(storage, "LONGEST_WAIT_SECONDS", 0.03)
    monkeypatch.setattr(storage, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(storage, "MOST_PATIENCE_SECONDS", 0.5)


@pytest.fixture
def patient(monkeypatch):
    """However slow the machine is."""
    monkeypatch.setattr(storage, "MOST_PATIENCE_SECONDS", 60.0)


GONE = OSError(errno.ESTALE, "Stale file handle")


class Fails:
    """A call that fails so many times, by an error, before it answers; counts how often it is made."""

    def __init__(self, times: float, error: Exception = GONE):
        self.times, self.error, self.made = times, error, 0

    def __call__(self) -> str:
        self.made += 1
        if self.made <= self.times:
            raise self.error
        return "found"


def of_library() -> RuntimeError:
    return RuntimeError("pread() failed: Input/output error; reading a.arecord; at byte 64")


def chained() -> ValueError:
    try:
        try:
            raise OSError(errno.EIO, "Input/output error")
        except OSError as error:
            raise KeyError("a") from error
    except KeyError:
        try:
            raise ValueError("reading b")
        except ValueError as error:
            return error


def taken() -> ValueError:
    try:
        raise OSError(errno.EIO, "Input/output error")
    except OSError:
        try:
            raise ValueError("another command is writing there") from None
        except ValueError as error:
            return error


def of_itself() -> ValueError:
    error = ValueError("a")
    error.__cause__ = error
    return error


@pytest.mark.parametrize(
    ("error", "momentary"),
    [
        (GONE, True),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), True),
        (of_library(), True),
        (chained(), True),
        (FileNotFoundError(errno.ENOENT, "No such file or directory"), False),
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (PermissionError(errno.EACCES, "Permission denied"), False),
        (OSError("Input/output"), False),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), False),
        (RuntimeError("gloo: Connection reset by peer"), False),
        (ValueError("80 of 100 records could not be used. Most often: Input/output error"), False),
        (taken(), False),
        (of_itself(), False),
        (ValueError("seven is no number"), False),
    ],
)
def test_what_is_of_storage_that_does_not_answer(error, momentary):
    assert storage.is_momentary(error) == momentary


def test_what_answers_again_is_found_and_told(caplog, patient):
    call = Fails(4)
    assert storage.patiently(call, "reading a", answers=Fails(math.inf)) == "found"
    assert call.made == 5
    first, last = (record.getMessage() for record in caplog.records)
    assert "reading a: [Errno 116] Stale file handle. It is tried again" in first
    assert "reading a: storage answers again" in last


def test_what_is_damaged_is_asked_for_once():
    call = Fails(1, ValueError("torn"))
    with pytest.raises(ValueError, match="torn"):
        storage.patiently(call, "reading a", answers=Fails(0))
    assert call.made == 1


def test_what_alone_does_not_answer_is_given_up_after_a_while():
    call, other = Fails(math.inf), Fails(0)
    with pytest.raises(OSError, match="Stale"):
        storage.patiently(call, "reading a", answers=other)
    assert call.made > 2 and other.made == 1


def test_where_nothing_answers_it_is_waited_for_longer(patient):
    call, other = Fails(8), Fails(math.inf)
    assert storage.patiently(call, "reading a", answers=other) == "found"
    assert other.made > 0


def test_but_not_for_ever():
    with pytest.raises(
        storage.NoAnswer, match=r"^reading a: storage has not answered for \d+ s \(.*Stale file handle\)"
    ):
        storage.patiently(Fails(math.inf), "reading a", answers=Fails(math.inf))


def test_nor_once_nobody_wants_it():
    ended = threading.Event()
    ended.set()
    call = Fails(math.inf)
    with pytest.raises(storage.NoAnswer, match="Stale file handle.*nobody waits for it any more"):
        storage.patiently(call, "reading a", Fails(math.inf), ended)
    assert call.made == 1


def test_it_is_told_to_other_processes():
    told = pickle.loads(pickle.dumps(storage.NoAnswer("reading a: it has not answered")))
    assert isinstance(told, storage.NoAnswer) and str(told) == "reading a: it has not answered"
    assert storage.is_momentary(told)


def test_another_that_is_damaged_is_an_answer():
    with pytest.raises(OSError, match="Stale"):
        storage.patiently(Fails(math.inf), "reading a", answers=Fails(1, ValueError("torn")))
