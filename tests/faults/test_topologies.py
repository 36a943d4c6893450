"""A run that is told to stop, or loses one of its processes, and goes on over another number of them reads the same
batches."""

import signal

import pytest
from faults import killed_runs

pytestmark = [pytest.mark.slow, pytest.mark.faults]
TERM, KILL = signal.SIGTERM, signal.SIGKILL


def test_one_process_then_two_then_four_then_one_read_what_one_reads(folder, whole, faults):
    steps = "--gin.Recipe.steps=28"
    stood = 0
    for processes, notice, whom in (1, TERM, "all"), (2, TERM, "all"), (4, KILL, "first"):
        part = killed_runs.Run(folder, "parts", processes, steps)
        # A step after the next save: some of what is done is saved, and not all of it.
        save = (stood // killed_runs.EVERY + 1) * killed_runs.EVERY
        part.wait_until(lambda part=part, save=save: part.told() > save and part.published() >= save)
        part.kill(killed_runs.Point("step", notice, whom))
        assert part.went_on_from() == stood
        stood = part.published()
        assert (stood == part.done()) if notice == TERM else (part.done() - stood <= 2 * killed_runs.EVERY)
    last = killed_runs.Run(folder, "parts", 1, steps)
    last.end()
    assert last.went_on_from() == stood >= 12
    chains = [killed_runs.chain(run) for run in (whole(1, steps), last.path)]
    faults.count("topologies", tried=1, identical=int(chains[0] == chains[1]))
    assert chains[0] == chains[1]
