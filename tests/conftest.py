"""Every test sees eight pretended CPU devices, and arrays of different rank do not combine by themselves.

The environment is set before JAX or TensorFlow is imported, and so reaches the processes that tests start, too.
"""

import collections
import os
import pathlib
import sys

import pytest

from speechlm_jax import runtime

# Elsewhere is for what cannot run here: SPEECHLM_TESTS_ON=cuda python -m pytest tests/layers/test_kernels.py -k cudnn
os.environ["JAX_PLATFORMS"] = os.environ.get("SPEECHLM_TESTS_ON", "cpu")
# Tests compile much and run little: without the optimiser a step compiles in a fifth of the time. Eight devices on a
# machine that stands still for a while meet late: XLA would abort the process after 40 s.
os.environ["XLA_FLAGS"] = (
    "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
    " --xla_cpu_collective_call_terminate_timeout_seconds=600"
)
# A thread that has come to a collective waits there for the other devices. XLA makes no more threads than devices, and
# a program that it has just compiled (not one out of the cache) lets a device come to several at once: under tensor
# parallelism over all eight, all threads soon wait at two collectives, and none is left for the device that both lack.
os.environ["NPROC"] = "64"
os.environ["JAX_NUMPY_RANK_PROMOTION"] = "raise"
# What one test, process or earlier run has compiled is not compiled again.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(pathlib.Path(__file__).parents[1] / ".pytest_cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")
runtime.quiet()


def pytest_collection_modifyitems(items):
    """Files with the most slow tests come first: workers take whole files, and a long one begun last is waited for."""
    slow = collections.Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


@pytest.fixture(scope="module", autouse=True)
def own_vocabulary():
    """A verb binds the vocabulary of its run for the life of the process: here, for that of a module."""
    yield
    if features := sys.modules.get("speechlm_jax.data.features"):
        features._bound = None


@pytest.fixture(scope="session")
def words_path(tmp_path_factory):
    """A vocabulary of made-up text."""
    import tiny_text

    from speechlm_jax import vocabulary

    path = tmp_path_factory.mktemp("vocabulary") / "words.model"
    vocabulary.train(tiny_text.corpus(), path, 640)
    return path


@pytest.fixture(scope="module")
def words(words_path):
    """The vocabulary of made-up text, which the tasks of a module tokenize by."""
    from speechlm_jax.data import features

    with features.bound(words_path) as found:
        yield found
