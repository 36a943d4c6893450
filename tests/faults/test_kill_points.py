"""A run that is killed at any point goes on from its last checkpoint, and ends as if it had not been."""

import random
import signal

import pytest
from faults import killed_runs

pytestmark = pytest.mark.slow
CORE = {"SIGKILL-all-of-1-save", "SIGKILL-last-of-2-step"}
"""What `make test` tries; `make test-faults` tries all."""


@pytest.fixture(scope="module")
def whole(folder):
    """The runs that nothing happened to, by their number of processes."""
    runs = {}

    def of(processes):
        if processes not in runs:
            runs[processes] = killed_runs.Run(folder, f"whole{processes}", processes, *killed_runs.SHORT)
            runs[processes].end()
        return runs[processes]

    return of


@pytest.mark.parametrize(
    "point",
    [
        pytest.param(point, marks=() if str(point) in CORE else pytest.mark.faults, id=str(point))
        for point in killed_runs.points()
    ],
)
def test_a_run_that_is_killed_ends_as_if_it_had_not_been(folder, whole, point, faults):
    wanted = whole(point.processes)
    # Nothing is compiled by a run that finds it done.
    own = f"compiled-{point}" if point.phase == "compile" else "compiled"
    killed = killed_runs.Run(folder, str(point), point.processes, *killed_runs.SHORT, compiled=own)
    killed.reach(point.phase, random.Random(str(point)))
    killed.kill(point)
    done, published = killed.done(), killed.published()
    if point.notice == signal.SIGTERM:
        assert published == done
    again = killed_runs.Run(folder, str(point), point.processes, *killed_runs.SHORT)
    again.end()
    assert again.went_on_from() == published
    assert done - published <= 2 * killed_runs.EVERY
    found = killed_runs.differences(wanted, again)
    assert killed_runs.scores(again) == killed_runs.scores(wanted)
    faults.count("kill_points", tried=1, identical=int(not found))
    faults.most("lost_steps", done - published)
    assert not found
