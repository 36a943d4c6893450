"""A run that stands still is ended within its limit, with its stacks; one that does not is left alone."""

import subprocess
import sys
import time

import process_group
import pytest

from speechlm_jax import endings
from speechlm_jax.training import config, ledger, watchdog

STANDING_STILL = """
import sys, time
from speechlm_jax import peers, runtime
from speechlm_jax.training import config, ledger, watchdog

runtime.initialize()
book = ledger.Ledger()
choices = config.Watchdog(multiple=2.0, least_seconds=4.0, other_seconds=60.0)

def waits_for_a_disk_that_is_gone():
    time.sleep(300)

with watchdog.Watchdog(choices, book, sys.argv[1]):
    for _ in range(20):
        book.enter("data_wait")
        book.enter("step")
        book.lap()
        time.sleep(0.05)
    if peers.own() == peers.count() - 1:
        book.enter("data_wait")
        waits_for_a_disk_that_is_gone()
    with book.within("save"):
        time.sleep(300)
"""


def ended(folder, environments):
    """(process, what it said, seconds) of each."""
    began = time.monotonic()
    group = [
        subprocess.Popen(
            [sys.executable, "-c", STANDING_STILL, str(folder)], env=environment, stderr=subprocess.PIPE, text=True
        )
        for environment in environments
    ]
    said = [error for _, error in process_group.said(group, 120)]
    return group, said, time.monotonic() - began


def test_a_process_that_stands_still_leaves_its_stacks(tmp_path):
    (process,), (said,), seconds = ended(tmp_path, [None])
    assert process.returncode == endings.STALLED and seconds < 60
    assert "process 0 stands still at data_wait" in said and "wanted 4 s or less; a step usually takes 0.05" in said
    assert "waits_for_a_disk_that_is_gone" in (tmp_path / "stacks-0.txt").read_text()


@pytest.mark.slow
def test_every_process_of_a_group_leaves_its_stacks_and_the_one_that_holds_them_up_is_named(tmp_path):
    group, (first, second), seconds = ended(tmp_path, process_group.environments(2))
    assert [process.returncode for process in group] == [endings.STALLED] * 2 and seconds < 90
    assert "process 1 stands still at data_wait" in second and ", at save" in second
    assert "process 1 stands still at data_wait" in first and "This process is at save" in first
    assert "waits_for_a_disk_that_is_gone" in (tmp_path / "stacks-1.txt").read_text()
    assert "most recent call first" in (tmp_path / "stacks-0.txt").read_text()


def test_limits_follow_the_usual_step(tmp_path):
    book = ledger.Ledger()
    dog = watchdog.Watchdog(config.Watchdog(multiple=3, least_seconds=1, other_seconds=500), book, tmp_path)
    book.enter("step")
    assert dog.limit() == (500, "Watchdog.other_seconds")  # There is no usual step yet.
    book._laps.extend([2.0] * 9)
    assert dog.limit()[0] == 6
    book._laps.extend([0.1] * 64)
    assert dog.limit() == (1, "Watchdog.least_seconds and Watchdog.multiple")
    book.enter("evaluation")
    assert dog.limit()[0] == 500
