"""Processes of a run find each other, and say who is missed and where it is."""

import subprocess
import sys

import process_group
import pytest

from speechlm_jax import peers

WORK = """
import sys, time
from speechlm_jax import peers, runtime
runtime.initialize()
peers.tell("the library")
time.sleep(float(sys.argv[1]) if peers.own() == 1 else 0)
peers.meet("the work", patience_seconds=1.0, limit_seconds=float(sys.argv[2]))
have = peers.sum_over_all(peers.own() + 1)
sys.stdout.write(f"met {peers.own()} of {peers.count()} who have {have}\\n")  # whole: Gloo writes there, too
"""
pytestmark = pytest.mark.slow


def told(seconds, limit):
    """(exit code, standard output, standard error) of both processes; the second is so late."""
    group = [
        subprocess.Popen(
            [sys.executable, "-c", WORK, str(seconds), str(limit)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for environment in process_group.environments(2)
    ]
    said = process_group.said(group, 120)
    return [(process.returncode, *texts) for process, texts in zip(group, said, strict=True)]


def test_who_is_late_is_named_with_where_it_is():
    first, second = told(3, 60)
    assert (first[0], second[0]) == (0, 0)
    assert "met 0 of 2 who have 3" in first[1] and "met 1 of 2 who have 3" in second[1]
    assert "before the work: waiting since 1 s for process 1 (" in first[2] and ", at the library)" in first[2]
    assert "waiting" not in second[2]


def test_nobody_is_waited_for_for_ever():
    first, _ = told(15, 2)
    assert first[0] != 0
    assert "waiting for every process before the work: after 2 s process 1 (" in first[2]


def test_a_process_alone_waits_for_nobody():
    peers.tell("anything")
    peers.meet("anything")
    assert peers.sum_over_all(5) == 5
    assert (peers.own(), peers.count(), peers.notes("at"), peers.ends()) == (0, 1, {}, {})
