"""Where the time before a run's first step goes."""

import time

from speechlm_jax import runtime


class Startup:
    """Stages in the order in which they end; what went before the first mark is the import of libraries."""

    def __init__(self, began: float = runtime.BEGAN) -> None:
        self.seconds: dict[str, float] = {}
        self._last = began
        self.end("libraries")

    def end(self, stage: str) -> None:
        """The time since the last mark belongs to this stage."""
        now = time.monotonic()
        self.seconds[stage] = now - self._last
        self._last = now

    def text(self) -> str:
        """For people, in seconds."""
        each = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in self.seconds.items())
        return f"first step after {sum(self.seconds.values()):.1f} s: {each}"
