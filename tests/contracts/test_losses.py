"""Every loss head is a file with two pure functions: weights(batch) and totals(outputs, batch)."""

import importlib
import inspect
import pathlib

import pytest

HEADS = sorted(
    path.stem
    for path in (pathlib.Path(__file__).parents[2] / "speechlm_jax" / "losses").glob("*.py")
    if path.stem not in ("__init__", "heads")
)


@pytest.mark.parametrize("head", HEADS)
def test_a_head_has_weights_and_totals(head):
    module = importlib.import_module(f"speechlm_jax.losses.{head}")
    assert list(inspect.signature(module.weights).parameters) == ["batch"]
    assert list(inspect.signature(module.totals).parameters) == ["outputs", "batch"]
    assert module.weights.__doc__
    assert module.totals.__doc__


@pytest.mark.parametrize("head", HEADS)
def test_a_head_is_known_by_its_public_functions_alone(head):
    module = importlib.import_module(f"speechlm_jax.losses.{head}")
    state = [name for name, value in vars(module).items() if isinstance(value, list | dict | set) and name[0] != "_"]
    assert not state, f"a head is pure, and {head} holds {state}"
