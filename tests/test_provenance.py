"""What a figure was made with."""

import os

import pytest

from speechlm_jax import provenance


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores are pinned on Linux")
def test_cores_are_those_that_the_process_may_use():
    there = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(there)})
        assert provenance.cpus() == provenance.machine()["cpus"] == 1
    finally:
        os.sched_setaffinity(0, there)
    assert provenance.cpus() == len(there)


def test_libraries_that_are_not_there_are_left_out():
    found = provenance.versions("pytest", "no-such-library")
    assert found["pytest"] == pytest.__version__ and "jax" in found and "no-such-library" not in found
