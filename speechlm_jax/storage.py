"""Storage that fails for a moment, as a file server does that is restarted: told apart from files that are damaged, and
asked again."""

import errno
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

Found = TypeVar("Found")

_NUMBERS = {
    *{errno.EIO, errno.EREMOTEIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.ESHUTDOWN},
    *{errno.ECONNABORTED, errno.ECONNREFUSED, errno.ECONNRESET, errno.EHOSTDOWN, errno.EHOSTUNREACH},
    *{errno.ENETDOWN, errno.ENETRESET, errno.ENETUNREACH},
}
"""What the system says of storage that does not answer, and may answer later."""
_TOLD = (errno.EIO, errno.EREMOTEIO, errno.ESTALE, errno.ENOTCONN, errno.ESHUTDOWN, errno.EHOSTDOWN)
_WORDS = tuple(os.strerror(number) for number in _TOLD)
"""By which libraries quote it that raise a RuntimeError. Those of a connection that is lost or refused are left out:
they are as often of a process that died."""

FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.5, 5.0
PATIENCE_SECONDS, MOST_PATIENCE_SECONDS = 60.0, 600.0
_log = logging.getLogger(__name__)


class NoAnswer(Exception):
    """Storage did not answer, to whatever was asked, for as long as it is waited for. No OSError: whoever takes one for
    a damaged file must not take this for it."""


def is_momentary(error: BaseException) -> bool:
    """Whether an error, or one that it came of, says that storage does not answer."""
    return any(
        one.errno in _NUMBERS
        if isinstance(one, OSError)
        else isinstance(one, NoAnswer) or (isinstance(one, RuntimeError) and any(words in str(one) for words in _WORDS))
        for one in _with_causes(error)
    )


def patiently(
    call: Callable[[], Found], doing: str, answers: Callable[[], Any], ended: threading.Event | None = None
) -> Found:
    """What a call returns, which is made again where storage does not answer: for PATIENCE_SECONDS, after which it is
    what alone cannot be read if storage answers to another call; else for MOST_PATIENCE_SECONDS.

    doing: for messages. answers: the other call, which asks for something that lies beside what is wanted. ended: tells
    while it waits that nobody wants that any more. Raises NoAnswer where storage answers to neither in the end, or
    until `ended`; else what the call raises.
    """
    began, wait, ended = time.monotonic(), 0.0, ended or threading.Event()
    while True:
        try:
            found = call()
        except Exception as error:
            if isinstance(error, NoAnswer) or not is_momentary(error):
                raise
            waited, said = time.monotonic() - began, " ".join(str(error).split())
            if waited > PATIENCE_SECONDS:
                if _does_answer(answers):
                    # It may have come back just now.
                    return call()
                if waited > MOST_PATIENCE_SECONDS:
                    raise NoAnswer(f"{doing}: storage has not answered for {waited:.0f} s ({said}).") from error
            if not wait:
                _log.warning("%s: %s. It is tried again", doing, said)
            wait = min(2 * wait or FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS)
            if ended.wait(wait):
                raise NoAnswer(
                    f"{doing}: storage does not answer ({said}), and nobody waits for it any more."
                ) from error
        else:
            if wait:
                _log.warning("%s: storage answers again, after %.0f s", doing, time.monotonic() - began)
            return found


def _does_answer(call: Callable[[], Any]) -> bool:
    try:
        call()
    except Exception as error:
        return not is_momentary(error)
    return True


def _with_causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that it came of; what was being handled counts unless it was said to mean nothing."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
