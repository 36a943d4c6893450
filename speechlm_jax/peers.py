"""What the processes of a run tell each other beside their collectives: where each of them is, and who is missed.

Where they are goes through the coordination service that JAX starts on the first process, which answers while devices
hang.
"""

import itertools
import socket
import time
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from speechlm_jax import runtime

Number = TypeVar("Number", bool, int)

_AT, _HERE, _GO, _STALLED = "speechlm/at/", "speechlm/here/", "speechlm/go/", "speechlm/stalled/"
_POLL_SECONDS = 0.2


def _group() -> Any:
    """JAX's own notes of the group: `client` of the coordination service, None for a process alone, `process_id` and
    `num_processes`, which are known before devices are looked for."""
    # There is no public door to them; orbax comes in by the same one.
    from jax._src import distributed

    return distributed.global_state


def _client() -> Any:
    return _group().client


def own() -> int:
    """The number of this process; 0 for one alone."""
    return _group().process_id or 0


def count() -> int:
    """How many processes the run has."""
    return _group().num_processes or 1


def say(line: str) -> None:
    """One line for people, which all processes of a run would say alike: the first one does."""
    if own() == 0:
        runtime.say(line)


def tell(where: str) -> None:
    """Says to the others where this process is, such as 'compile'."""
    if (client := _client()) is not None:
        client.key_value_set(f"{_AT}{own()}", f"{socket.gethostname()}, at {where}", allow_overwrite=True)


def told() -> dict[int, str]:
    """Process -> its host and where it is, of those that have told."""
    if (client := _client()) is None:
        return {}
    return {int(key.rpartition("/")[2]): where for key, where in client.key_value_dir_get(_AT)}


def in_words(processes: list[int]) -> str:
    """Which they are, and where, on one line."""
    where = told()
    shown = [f"process {number} ({where.get(number, 'which has told nothing yet')})" for number in processes[:8]]
    return ", ".join(shown) + (f" and {len(processes) - 8} more" if len(processes) > 8 else "")


def meet(what: str, *, patience_seconds: float = 30.0, limit_seconds: float = 1800.0) -> None:
    """Returns when every process of the run has come here. Who is late is told, with where it is, every
    `patience_seconds`. Raises ValueError where somebody has not come after `limit_seconds`.

    what: names the meeting to people. All processes have their meetings in the same order.
    """
    if (client := _client()) is None:
        return
    began, key = time.monotonic(), f"{next(_meetings)}"
    client.key_value_set(f"{_HERE}{key}/{own()}", "")
    while not _all_here(client, key, patience_seconds):
        here, waited = _here(client, key), time.monotonic() - began
        # Where all are here, it is the first that has not said so.
        late = in_words(sorted({*range(count())} - here) or [0])
        if waited >= limit_seconds:
            raise ValueError(
                f"waiting for every process before {what}: after {waited:.0f} s {late} has not come. Look into what it "
                "waits for, and start the run again."
            )
        if own() == min(here):
            runtime.say(f"before {what}: waiting since {waited:.0f} s for {late}")


_meetings = itertools.count()


def said_by_the_first(value: Number) -> Number:
    """What the first process of the run has found, for all of them, which ask at the same time: it is a collective. Of
    what one has written to a file, others may see something else.
    """
    if jax.process_count() == 1:
        return value
    return multihost_utils.broadcast_one_to_all(np.array(value)).item()


def _all_here(client: Any, key: str, seconds: float) -> bool:
    """Waits so long at most. The first process looks who has come, and tells the others."""
    if own():
        try:
            client.blocking_key_value_get(f"{_GO}{key}", int(1000 * seconds))
        except jax.errors.JaxRuntimeError as error:
            if "DEADLINE_EXCEEDED" not in str(error):
                raise
            return False
        return True
    deadline = time.monotonic() + seconds
    while len(_here(client, key)) < count():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    client.key_value_set(f"{_GO}{key}", "")
    return True


def _here(client: Any, key: str) -> set[int]:
    return {int(name.rpartition("/")[2]) for name, _ in client.key_value_dir_get(f"{_HERE}{key}/")}


def stall(what: str) -> None:
    """Says to the others that this process stands still, and why."""
    if (client := _client()) is not None:
        client.key_value_set(f"{_STALLED}{own()}", what)


def stalled() -> str:
    """What the first one of them has said of standing still; empty where nobody has."""
    if (client := _client()) is None:
        return ""
    return next((said for _, said in client.key_value_dir_get(_STALLED)), "")
