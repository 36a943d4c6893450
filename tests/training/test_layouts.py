"""The same step however it is laid out: over processes, slices, rows, weights and heads, in parts, computed again or
not."""

import functools
import pathlib
import subprocess
import sys

import laid_out
import numpy as np
import process_group
import pytest

from speechlm_jax import layout


@functools.cache
def wanted(accumulate=1):
    """On one device. Each microbatch has its own dropout, so the number of them is part of what is asked."""
    return laid_out.stepped(layout.Layout(1, 1, 1), accumulate=accumulate)


def check(found, accumulate=1):
    totals, gradients = wanted(accumulate)
    np.testing.assert_allclose(found[0], totals, rtol=1e-5)
    assert found[1].keys() == gradients.keys()
    for path, gradient in gradients.items():
        largest = float(np.abs(gradient).max())
        np.testing.assert_allclose(found[1][path], gradient, rtol=0, atol=1e-5 * largest, err_msg=path)


def test_every_head_learns_from_the_rows():
    totals, gradients = wanted()
    assert len(totals) == len(laid_out.LOSSES.coefficients) and np.all(totals > 0)
    assert sum(np.abs(gradient).max() > 0 for gradient in gradients.values()) > 0.9 * len(gradients)


@pytest.mark.parametrize(
    ("shape", "accumulate"),
    [
        (layout.Layout(data=1, fsdp=8, tensor=1), 1),
        (layout.Layout(data=2, fsdp=4, tensor=1), 1),
        (layout.Layout(data=1, fsdp=1, tensor=8), 2),
        (layout.Layout(data=1, fsdp=4, tensor=2), 2),
        (layout.Layout(data=1, fsdp=2, tensor=2, slices=2), 1),
    ],
    ids=[
        "fsdp 8",
        "data 2 x fsdp 4",
        "tensor 8 in 2 microbatches",
        "fsdp 4 x tensor 2 in 2 microbatches",
        "2 slices x fsdp 2 x tensor 2",
    ],
)
@pytest.mark.slow
def test_loss_and_gradients_are_those_of_one_device(shape, accumulate):
    check(laid_out.stepped(shape, accumulate=accumulate), accumulate)


@pytest.mark.parametrize(
    "changes",
    [
        {"remat": "full"},
        {"remat": "offload"},
        {"attention_kernel": "blocks", "remat": "minimal"},
        {"attention_kernel": "blocks", "scan": False},
    ],
    ids=str,
)
@pytest.mark.slow
def test_what_is_kept_and_how_it_is_compiled_changes_no_gradient(changes):
    check(laid_out.stepped(layout.Layout(data=1, fsdp=2, tensor=2), **changes))


TESTS = pathlib.Path(__file__).parents[1]


def stepped_by_processes(count, path, *sizes):
    """The step of `count` processes of this machine, which have eight devices between them."""
    group = [
        subprocess.Popen(
            [sys.executable, TESTS / "laid_out.py", path, *map(str, sizes)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for environment in process_group.environments(count)
    ]
    said = [out for out, _ in process_group.said(group, 400)]
    assert [process.returncode for process in group] == [0] * count, said
    with np.load(path) as found:
        return found["totals"], {name: found[name] for name in found if name != "totals"}


@pytest.mark.slow
def test_processes_take_the_step_of_one_device(tmp_path):
    """Two slices of two processes each, between which weights are cut; heads are cut over the devices of a process."""
    check(stepped_by_processes(4, tmp_path / "step.npz", 2, 2, 2))
