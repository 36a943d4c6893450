"""A run that is killed again and again goes on from its last checkpoints, and ends as if it had not been."""

import random
import signal

import pytest
from faults import killed_runs
from faults.killed_runs import Point

pytestmark = pytest.mark.slow
TERM, KILL = signal.SIGTERM, signal.SIGKILL


def one_of_several(notice):
    """In every phase; the first and the last by turns."""
    whom = ("first", "last") * 3
    return [Point(phase, notice, one) for phase, one in zip(killed_runs.PHASES, whom, strict=False)]


def all_there_are(notice):
    """In every phase."""
    return [Point(phase, notice, "all") for phase in killed_runs.PHASES]


LIVES = {
    "one-of-2-told": (2, one_of_several(TERM)),
    "one-of-2-killed": (2, one_of_several(KILL)),
    "alone-and-told": (1, all_there_are(TERM)),
    "alone-and-killed": (1, all_there_are(KILL)),
}
"""Of a run: its processes, and how all its lives but the last end, one after the other. All of two are told to stop,
and one of four is killed, where a run goes on over other numbers of processes."""
CORE = "alone-and-killed"
"""What `make test` tries; `make test-faults` tries all."""


@pytest.mark.parametrize(
    "lives", [pytest.param(name, marks=() if name == CORE else pytest.mark.faults) for name in LIVES]
)
def test_a_run_that_is_killed_ends_as_if_it_had_not_been(folder, whole, lives, faults):
    processes, points = LIVES[lives]
    chance, stood = random.Random(lives), 0

    def begin(phase=None):
        # Nothing is compiled by a run that finds it done.
        compiled = f"compiled-{lives}" if phase == "compile" else "compiled"
        return killed_runs.Run(folder, lives, processes, *killed_runs.KILLED, compiled=compiled)

    for point in points:
        run = begin(point.phase)
        run.reach(point.phase, chance)
        run.kill(point)
        assert run.went_on_from() == stood
        done, published = run.done(), run.published()
        if point.notice == TERM:
            assert published == done
        assert done - published <= 2 * killed_runs.EVERY
        faults.most("lost_steps", done - published)
        stood = published
    last = begin()
    last.end()
    assert last.went_on_from() == stood
    wanted = whole(processes, *killed_runs.KILLED)
    found = killed_runs.differences(wanted, last.path)
    assert killed_runs.scores(last.path) == killed_runs.scores(wanted)
    faults.count("kill_points", tried=len(points), identical=0 if found else len(points))
    assert not found
