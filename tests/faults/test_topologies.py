"""A run that is told to stop, or loses one of its processes, and goes on over another number of them reads the same
batches."""

import signal

import pytest
from faults import killed_runs

pytestmark = [pytest.mark.slow, pytest.mark.faults]
TERM, KILL = signal.SIGTERM, signal.SIGKILL


def test_one_process_then_two_then_four_then_one_read_what_one_reads(folder, faults):
    whole = killed_runs.Run(folder, "whole", 1)
    whole.end()
    stood = 0
    for processes, notice, whom in (1, TERM, "all"), (2, TERM, "all"), (4, KILL, "first"):
        part = killed_runs.Run(folder, "parts", processes)
        # One step after the next save, so that all that is done is not saved, but some of it is.
        wanted = (stood // killed_runs.EVERY + 1) * killed_runs.EVERY + 1
        part.wait_until(lambda part=part, wanted=wanted: part.told() >= wanted)
        part.kill(killed_runs.Point("step", notice, whom))
        assert part.went_on_from() == stood
        stood = part.published()
        assert (stood == part.done()) if notice == TERM else (part.done() - stood <= 2 * killed_runs.EVERY)
    last = killed_runs.Run(folder, "parts", 1)
    last.end()
    assert last.went_on_from() == stood > 8
    chains = [killed_runs.chain(run) for run in (whole, last)]
    faults.count("topologies", tried=1, identical=int(chains[0] == chains[1]))
    assert chains[0] == chains[1]
