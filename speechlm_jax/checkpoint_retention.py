"""Which of a run's checkpoints stay when another is written."""

import dataclasses
from collections.abc import Sequence

from orbax.checkpoint.checkpoint_managers import preservation_policy as preservation


@dataclasses.dataclass
class Best(preservation.PreservationPolicy):
    """The best one of those that have a score; of equal ones the first."""

    highest: bool
    scores: dict[int, float] = dataclasses.field(default_factory=dict)
    """By step; it grows while the run goes on."""

    def forget(self, *, after: int) -> None:
        """The scores of steps that were undone."""
        self.scores = {step: score for step, score in self.scores.items() if step <= after}

    def should_preserve(
        self, checkpoints: Sequence[preservation.PolicyCheckpointInfo], *, context: preservation.PreservationContext
    ) -> list[bool]:
        """See orbax."""
        del context
        steps = [info.step for info in checkpoints]
        there = [step for step in steps if step in self.scores]
        choose = max if self.highest else min
        best = choose(there, key=lambda step: self.scores[step], default=None)
        return [step == best for step in steps]


def besides(
    *, every_steps: int | None = None, every_hours: float | None = None, best: Best | None = None
) -> list[preservation.PreservationPolicy]:
    """What keeps more than the last few."""
    wanted: list[preservation.PreservationPolicy] = []
    if every_steps is not None:
        wanted.append(preservation.EveryNSteps(every_steps))
    if every_hours is not None:
        wanted.append(preservation.EveryNSeconds(max(round(every_hours * 3600), 1)))
    if best is not None:
        wanted.append(best)
    return wanted
