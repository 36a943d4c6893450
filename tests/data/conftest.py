"""What tests of reading ahead share."""

import threading

import pytest


@pytest.fixture
def threads_at_work():
    """Counts threads that read ahead; those that an earlier module's streams have not ended yet are not counted."""
    earlier = set(threading.enumerate())
    return lambda: sum(thread.name.startswith("read_") for thread in set(threading.enumerate()) - earlier)
