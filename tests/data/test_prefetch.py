"""Elements made ahead: a thread that ends with what it serves, in a process that ends when it fails."""

import logging
import subprocess
import sys
import threading
import time

import pytest

from speechlm_jax.data import prefetch


def test_a_thread_that_does_not_end_is_told_to_the_log(caplog, monkeypatch):
    monkeypatch.setattr(prefetch.Prefetch, "PATIENCE_SECONDS", 0.05)
    release = threading.Event()

    def elements():
        release.wait()
        yield 1

    ahead = prefetch.Prefetch(elements(), 1)
    with caplog.at_level(logging.WARNING):
        ahead.close()
    assert "still at work after 0.05 seconds" in caplog.text
    caplog.clear()
    release.set()
    ahead.close()
    assert not caplog.text


def test_an_error_can_be_asked_for_before_it_is_taken():
    def elements(good):
        yield from range(good)
        raise ValueError("broken")

    ahead = prefetch.Prefetch(elements(0), 1)
    ahead._thread.join()
    with pytest.raises(ValueError, match="broken"):
        ahead.check()
    with pytest.raises(ValueError, match="broken"):
        next(ahead)
    after = prefetch.Prefetch(elements(1), 2)
    after._thread.join()
    # What stands before the error is still to be had.
    after.check()
    assert next(after) == 0
    with pytest.raises(ValueError, match="broken"):
        after.check()


FAILING = """
import contextlib, time
import seqio
from speechlm_jax import batch, runtime
runtime.hide_accelerators_from_tensorflow()
from speechlm_jax.data import config, features, one_pass, prefetch, preprocessors, quarantine, sources, stream

class Half:
    def __len__(self):
        return 100
    def __getitem__(self, index):
        if index % 2:
            raise ValueError("broken")
        return {"id": str(index), "number": index}

def tokens(dataset):
    return dataset.map(lambda example: {**example, "targets": [1]})

fields = {"id": "text", "number": "int"}
seqio.TaskRegistry.add("good", sources.SequenceSource({"train": [{"number": 1}]}, fields), features.OUTPUT_FEATURES,
                       [tokens, preprocessors.lanes()])
seqio.TaskRegistry.add("bad", sources.SequenceSource({"train": Half()}, fields), features.OUTPUT_FEATURES,
                       [tokens, preprocessors.lanes()])
# A row that is never full: the thread is in the middle of a batch when the run fails.
row = batch.Row(targets=10**8, segments=10**8)
with contextlib.ExitStack() as parts:
    parts.callback(lambda: print("failed", flush=True))
    source = stream.Stream(config.Stream(mixture="good", data_shards=1), row, rows=1, seed=0)
    ahead = parts.enter_context(contextlib.closing(prefetch.Prefetch(source, 2)))
    parts.callback(source.close)
    parts.callback(lambda: print("failing", flush=True))
    time.sleep(0.5)
    kept = quarantine.Quarantine(config.BadRecords(grace=3))
    list(one_pass.examples(seqio.get_mixture_or_task("bad"), "train", quarantine=kept))
"""


@pytest.mark.slow
def test_a_process_that_fails_while_a_batch_is_made_ends_soon():
    process = subprocess.Popen(
        [sys.executable, "-c", FAILING], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "failing\n"
        began = time.monotonic()
        _, said = process.communicate(timeout=30)
        assert time.monotonic() - began < 8
    finally:
        process.kill()
    assert process.returncode == 1 and "TooManyBadRecords: reading records: 4 of " in said
    assert "still at work" not in said
