"""Storage that fails for a moment, as a file server does that is restarted: told apart from files that are damaged, and
asked again."""

import errno
import logging
import os
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

Found = TypeVar("Found")

_NUMBERS = {
    *{errno.EIO, errno.EREMOTEIO, errno.ESTALE, errno.EAGAIN, errno.EBUSY, errno.ETIMEDOUT},
    *{errno.ENOTCONN, errno.ESHUTDOWN, errno.ECONNABORTED, errno.ECONNREFUSED, errno.ECONNRESET},
    *{errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETRESET, errno.ENETUNREACH},
}
"""What the system says of storage that does not answer, and may answer later."""
_WORDS = tuple(os.strerror(number) for number in _NUMBERS)
"""In which libraries that raise errors of their own quote it."""

FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.5, 5.0
PATIENCE_SECONDS, MOST_PATIENCE_SECONDS = 60.0, 600.0
_log = logging.getLogger(__name__)


def is_momentary(error: BaseException) -> bool:
    """Whether an error, or one that it came of, says that storage does not answer."""
    return any(
        one.errno in _NUMBERS if isinstance(one, OSError) else any(words in str(one) for words in _WORDS)
        for one in _with_causes(error)
    )


def patiently(call: Callable[[], Found], doing: str, answers: Callable[[], Any]) -> Found:
    """What a call returns, which is made again where storage does not answer: for PATIENCE_SECONDS, and then, for
    MOST_PATIENCE_SECONDS, as long as storage does not answer to another call either. In the end what it raises is
    raised, as is what is not of storage.

    doing: for messages. answers: the other call, which asks for something that lies beside what is wanted.
    """
    began, wait = time.monotonic(), 0.0
    while True:
        try:
            found = call()
        except Exception as error:
            waited = time.monotonic() - began
            if not is_momentary(error) or waited > MOST_PATIENCE_SECONDS:
                raise
            if waited > PATIENCE_SECONDS and _does_answer(answers):
                raise
            if not wait:
                _log.warning("%s: %s. It is tried again", doing, " ".join(str(error).split()))
            wait = min(2 * wait or FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS)
            time.sleep(wait)
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
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
