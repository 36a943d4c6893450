"""Where the processes of a run wait for each other while a step is saved.

A process that fails says so, and with it the save of all fails at once. Orbax itself would have the others wait for it
until the limit of a save, and then at meetings of other names than the first one's.
"""

import collections
import itertools
import sys

from speechlm_jax import peers

_SAVES, _FAILED = "saves", "failed_saves"
_folders = itertools.count()


class Meetings:
    """The meetings of one save after another."""

    def __init__(self):
        # A process may open more than one folder.
        number = next(_folders)
        self._saves, self._failed = f"{_SAVES}/{number}", f"{_FAILED}/{number}"
        self._save = 0
        self._held: collections.Counter[str] = collections.Counter()
        self._around: BaseException | None = None

    def begin(self) -> None:
        """A save begins; every process says so, in the same order."""
        if peers.own() == 0:
            # Of the last save, somebody may still read.
            peers.forget_meeting(f"{self._saves}/{self._save - 1}")
            peers.forget(f"{self._failed}/{self._save - 1}")
        self._save += 1
        self._held.clear()
        self._around = sys.exception()

    def fail(self, why: object) -> None:
        """Says to the others that the save has failed here, unless somebody has said it before."""
        about = f"{self._failed}/{self._save}"
        if not peers.notes(about):
            peers.note(about, f"{why}")

    def meet(self, *, key: str, timeout_ms: int) -> None:
        """What orbax calls as AsyncOptions.barrier_sync_fn. Raises ValueError where the save has failed elsewhere."""
        error = sys.exception()
        if error is not None and error is not self._around:
            # Orbax cleans up: it comes here with the error of this process at hand, and others may not come.
            self.fail(error)
            return
        self._held[key] += 1
        peers.meet(
            f"saving ({key})",
            key=f"{self._saves}/{self._save}/{key}/{self._held[key]}",
            patience_seconds=300.0,
            limit_seconds=timeout_ms / 1000,
            unless=self._raise_failed,
        )

    def _raise_failed(self) -> None:
        for process, why in peers.notes(f"{self._failed}/{self._save}").items():
            raise ValueError(f"it has failed in {peers.in_words([process])}: {why}")
        for process, (_, why) in peers.ends().items():
            if process != peers.own():
                raise ValueError(why)
