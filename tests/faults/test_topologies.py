"""A run that goes on over other numbers of processes reads the same batches."""

import signal

import pytest
from faults import killed_runs

pytestmark = [pytest.mark.slow, pytest.mark.faults]


def test_one_process_then_two_then_four_then_one_read_what_one_reads(folder, faults):
    whole = killed_runs.Run(folder, "whole", 1)
    whole.end()
    for number, processes in enumerate((1, 2, 4)):
        part = killed_runs.Run(folder, "parts", processes)
        wanted = 4 * number + 5
        part.wait_until(lambda part=part, wanted=wanted: part.done() >= wanted)
        part.kill(killed_runs.Point("step", signal.SIGTERM, "all"))
        assert wanted <= part.published() < killed_runs.STEPS
    last = killed_runs.Run(folder, "parts", 1)
    last.end()
    assert last.went_on_from() > 12
    chains = [killed_runs.chain(run) for run in (whole, last)]
    faults.count("topologies", tried=1, identical=int(chains[0] == chains[1]))
    assert chains[0] == chains[1]
