"""The notice to stop: when it waits, when it ends a wait, and when it ends the process on the spot."""

import os
import pathlib
import queue
import signal
import subprocess
import sys
import threading
import time

import pytest

from speechlm_jax import preemption


def test_the_notice_is_told_at_the_next_check_and_stands_no_longer_than_the_work():
    former = signal.getsignal(signal.SIGTERM)
    wakeup = signal.set_wakeup_fd(-1)
    threads = threading.active_count()
    with preemption.Preemption() as notice:
        notice.begin()
        notice.check()
        assert notice.age is None
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(preemption.Preempted):
            notice.check()
        with pytest.raises(preemption.Preempted), notice.at_once():
            pytest.fail("the notice had come before")
    assert notice.age is not None and 0 <= notice.age < 60
    assert signal.getsignal(signal.SIGTERM) == former
    assert signal.set_wakeup_fd(wakeup) == -1
    assert threading.active_count() == threads


def test_the_notice_ends_a_wait_at_once_and_its_echo_ends_nothing_more():
    with preemption.Preemption() as notice:
        notice.begin()
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
        with pytest.raises(preemption.Preempted), notice.at_once():
            queue.Queue().get(timeout=60)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.1)


def test_a_thread_that_may_set_no_handler_trains_without_one():
    def work():
        with preemption.Preemption() as notice:
            notice.begin()
            notice.check()
        done.append(True)

    done = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done


def deaf(before: str) -> subprocess.Popen:
    """A process in a call from which no signal brings Python back for minutes."""
    program = (
        "import hashlib\nfrom speechlm_jax import preemption\nwith preemption.Preemption() as notice:\n"
        f"    {before}\n    print('deaf', flush=True)\n    hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=pathlib.Path(__file__).parents[1],
    )
    assert process.stdout is not None and process.stdout.readline() == "deaf\n"
    return process


@pytest.mark.parametrize(("notice", "code"), [(signal.SIGTERM, 42), (signal.SIGINT, 130)])
def test_before_there_is_something_to_save_the_notice_ends_the_process_on_the_spot(notice, code):
    process = deaf("pass")
    process.send_signal(notice)
    _, said = process.communicate(timeout=20)
    assert process.returncode == code
    assert "told to stop before its first step: nothing is lost" in said


@pytest.mark.parametrize(("notice", "code"), [(signal.SIGTERM, 42), (signal.SIGINT, 130)])
def test_a_second_notice_ends_the_process_on_the_spot_and_an_echo_of_the_first_does_not(notice, code):
    process = deaf("notice.begin()")
    process.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    process.send_signal(notice)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1.2)
    process.send_signal(notice)
    _, said = process.communicate(timeout=20)
    assert process.returncode == code
    assert said.count("told to stop: the state is saved first") == 1
    assert said.count("told to stop again: ended where it stood") == 1
