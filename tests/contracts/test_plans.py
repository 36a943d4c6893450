"""Plans for slices that are not at hand: the smallest is made here, the others by `make plan-all`."""

import functools
import json
import pathlib

import hold_recipe
import plans
import pytest

SMALLEST = plans.PLANS["tiny_v5e_16"]
ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", plans.PLANS)
def test_a_plan_is_of_parts_that_there_are(name):
    plan = plans.PLANS[name]
    for part in (f"models/{plan.size}", f"layouts/{plan.layout}"):
        assert (ROOT / "gin_configs" / f"{part}.gin").exists(), part


@pytest.mark.parametrize("name", [name for name, plan in plans.PLANS.items() if plan.fits])
def test_what_devices_pass_of_weights_is_what_theory_asks_for(name, tmp_path):
    """Each weight is gathered for the forward and for the backward pass and its gradient is summed, in two bytes each
    at best and in four at worst, by each of the devices that share it along tensor. As TPUs' compiler may pass parts on
    from neighbour to neighbour while it multiplies them, what counts is the sum over kinds."""
    golden = json.loads((plans.GOLDEN / f"{name}.json").read_text())
    tensor = hold_recipe.read_part(f"layouts/{plans.PLANS[name].layout}", tmp_path).layout.tensor
    weights = golden["parameters"] / tensor
    passed = sum(one["bytes"] for key, one in golden["collectives"].items() if "fsdp" in key)
    assert 0.98 * 3 * 2 * weights <= passed <= 3 * 4 * weights


def test_a_number_that_moved_is_told():
    was = {"fits": True, "hbm_bytes": 1000, "collectives": {"all-gather along fsdp": {"count": 100}}}
    near = {"fits": True, "hbm_bytes": 1019, "collectives": {"all-gather along fsdp": {"count": 98}}}
    far = {"fits": False, "hbm_bytes": 1021, "collectives": {"all-gather along fsdp": {"count": 97}, "send": {}}}
    assert plans.differences(was, near) == []
    assert [line.split(" was ")[0] for line in plans.differences(was, far)] == [
        "collectives/all-gather along fsdp/count",
        "collectives/send",
        "fits",
        "hbm_bytes",
    ]


@pytest.fixture
def smallest(monkeypatch):
    """The function (rows) -> summary of the smallest plan, as a user's process makes it: those of tests pretend devices
    and leave the optimiser out."""
    for variable in ("XLA_FLAGS", "JAX_NUMPY_RANK_PROMOTION"):
        monkeypatch.delenv(variable, raising=False)
    return _made


@functools.cache
def _made(rows):
    return plans.summary(plans.made(SMALLEST._replace(rows=rows)))


@pytest.mark.slow
def test_the_smallest_plan_is_what_it_was(smallest):
    golden = json.loads((plans.GOLDEN / "tiny_v5e_16.json").read_text())
    assert plans.differences(golden, smallest(SMALLEST.rows)) == []


@pytest.mark.slow
def test_twice_the_rows_pass_no_more_between_devices_that_share_weights(smallest):
    """What is passed along their axis is no activation."""
    few, many = smallest(SMALLEST.rows), smallest(2 * SMALLEST.rows)
    passed = [sum(one["bytes"] for one in found["collectives"].values()) for found in (few, many)]
    assert passed[1] == pytest.approx(passed[0], rel=plans.TOLERANCE)
    assert many["hbm_bytes_by_kind"]["activations"] > 1.5 * few["hbm_bytes_by_kind"]["activations"]
