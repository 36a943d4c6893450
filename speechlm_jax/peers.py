"""What the processes of a run tell each other beside their collectives: where each of them is, and who is missed.

Where they are goes through the coordination service that JAX starts on the first process, which answers while devices
hang.
"""

import itertools
import socket
import time
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np

from speechlm_jax import runtime

Number = TypeVar("Number", bool, int)

_NOTES = "speechlm"
_AT, _HERE, _GO, _ENDS = "at", "here", "go", "ends"
_POLL_SECONDS, _ASK_SECONDS = 0.2, 1.0


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


def note(about: str, what: str) -> None:
    """Leaves this process's note about a thing, for all to read; its former one is gone."""
    if (client := _client()) is not None:
        client.key_value_set(f"{_NOTES}/{about}/{own()}", what, allow_overwrite=True)


def notes(about: str) -> dict[int, str]:
    """Process -> its note, of those that have left one."""
    if (client := _client()) is None:
        return {}
    return {int(key.rpartition("/")[2]): what for key, what in client.key_value_dir_get(f"{_NOTES}/{about}/")}


def forget(about: str) -> None:
    """Removes all notes about a thing."""
    if (client := _client()) is not None:
        client.key_value_delete(f"{_NOTES}/{about}/")


def tell(where: str) -> None:
    """Says to the others where this process is, such as 'compile'."""
    note(_AT, f"{socket.gethostname()}, at {where}")


def in_words(processes: list[int]) -> str:
    """Which they are, and where, on one line."""
    where = notes(_AT)
    shown = [f"process {number} ({where.get(number, 'which has told nothing yet')})" for number in processes[:8]]
    return ", ".join(shown) + (f" and {len(processes) - 8} more" if len(processes) > 8 else "")


def meet(
    what: str,
    *,
    key: str | None = None,
    patience_seconds: float = 30.0,
    limit_seconds: float = 1800.0,
    unless: Callable[[], None] = lambda: None,
) -> None:
    """Returns when every process of the run has come here. Who is late is told, with where it is, every
    `patience_seconds`. Raises ValueError where somebody has not come after `limit_seconds`.

    Args:
        what: names the meeting to people.
        key: tells the meeting from all others; None: all processes have those without in the same order.
        unless: is called again and again meanwhile; what it raises ends the wait.
    """
    if (client := _client()) is None:
        return
    began, meeting = time.monotonic(), f"{next(_meetings)}" if key is None else key
    patience = patience_seconds
    note(f"{_HERE}/{meeting}", "")
    while not _all_here(client, meeting, min(patience_seconds, _ASK_SECONDS)):
        unless()
        waited = time.monotonic() - began
        if waited < min(patience, limit_seconds):
            continue
        here, patience = notes(f"{_HERE}/{meeting}"), patience + patience_seconds
        # Where all are here, it is the first that has not said so.
        late = in_words(sorted({*range(count())} - {*here}) or [0])
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
    return value if jax.process_count() == 1 else gathered(np.array(value))[0].item()


def forget_meeting(key: str) -> None:
    """Removes what was noted of meetings whose keys begin with `key` and a slash, which are over."""
    forget(f"{_HERE}/{key}")
    forget(f"{_GO}/{key}")


def sum_over_all(value: int) -> int:
    """The sum of what each process of the run has, which ask at the same time: it is a collective."""
    return value if jax.process_count() == 1 else int(gathered(np.array(value)).sum())


def gathered(value: np.ndarray) -> np.ndarray:
    """(processes, ...): what each process of the run has, which ask at the same time: it is a collective."""
    of_processes = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    mesh = jax.sharding.Mesh(np.reshape(of_processes, (jax.process_count(), -1)), ("process", "device"))
    here = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("process"))
    return whole(jax.make_array_from_process_local_data(here, value[None]), mesh)


def whole(array: jax.Array, mesh: jax.sharding.Mesh) -> np.ndarray:
    """An array that lies over the devices of a mesh, for every process of the run, which ask at the same time: it is a
    collective."""
    everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    # On all devices of this process, not on the first alone: a process that ended while others of its devices are still
    # looking for their twins would leave those, and who waits for them, looking for ever.
    return np.asarray(jax.block_until_ready(jax.device_put(array, everywhere)).addressable_data(0))


def _all_here(client: Any, key: str, seconds: float) -> bool:
    """Waits so long at most. The first process looks who has come, and tells the others."""
    go = f"{_NOTES}/{_GO}/{key}"
    if own():
        try:
            client.blocking_key_value_get(go, int(1000 * seconds))
        except jax.errors.JaxRuntimeError as error:
            if "DEADLINE_EXCEEDED" not in str(error):
                raise
            return False
        return True
    deadline = time.monotonic() + seconds
    while len(notes(f"{_HERE}/{key}")) < count():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    client.key_value_set(go, "")
    return True


def end(code: int, why: str) -> None:
    """Says to the others that this process ends, with which exit code, so that none of them can go on."""
    note(_ENDS, f"{code} {why}")


def ends() -> dict[int, tuple[int, str]]:
    """Process -> the code and the reason of its end, of those that have said so."""
    return {process: (int(said.partition(" ")[0]), said.partition(" ")[2]) for process, said in notes(_ENDS).items()}
