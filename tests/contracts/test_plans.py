"""Plans for slices that are not at hand: the smallest is made here, the others by `make plan-all`."""

import collections
import json
import pathlib

import hold_recipe
import plans
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", plans.PLANS)
def test_a_plan_is_of_parts_that_there_are(name):
    plan = plans.PLANS[name]
    for part in (f"models/{plan.size}", f"layouts/{plan.layout}"):
        assert (ROOT / "gin_configs" / f"{part}.gin").exists(), part


HALF = 2
"""Bytes of a number in half precision, in which weights are gathered and gradients are summed."""


def kept(name):
    return json.loads((plans.GOLDEN / f"{name}.json").read_text())


def passed_of_weights(name, folder):
    """Bytes for each weight of a device along axes with fsdp, by kind; and how often theory has it gathered: for the
    forward pass, for the backward pass, and where that computes layers again."""
    plan, golden = plans.PLANS[name], kept(name)
    weights = golden["parameters"] / hold_recipe.read_part(f"layouts/{plan.layout}", folder).layout.tensor
    passed = collections.Counter()
    for key, one in golden["collectives"].items():
        if "fsdp" in key:
            passed[key.partition(" ")[0]] += one["bytes"] / weights
    times = 3 if hold_recipe.read_part(f"models/{plan.size}", folder).model.remat == "full" else 2
    return passed, times


@pytest.mark.parametrize("name", ["base_v5e_256", "large_v5e_256", "large_v6e_256", "xl_v5p_128", "xxl_v6e_256"])
def test_weights_are_gathered_and_gradients_scattered_as_theory_asks_for(name, tmp_path):
    passed, times = passed_of_weights(name, tmp_path)
    assert passed["collective-permute"] == 0
    # Tables, of which a step gathers some once, are a part of it.
    assert 0.8 * times * HALF <= passed["all-gather"] <= 1.02 * times * HALF
    assert HALF <= passed["reduce-scatter"] + passed["all-reduce"] <= 1.5 * HALF
    assert passed["reduce-scatter"] > passed["all-reduce"]


@pytest.mark.parametrize("name", ["tiny_v5e_16", "small_v5e_16", "base_v5e_16", "xxl_v5e_16", "xxl_v5p_128"])
def test_weights_that_are_passed_on_in_rings_are_passed_twice_as_much_at_most(name, tmp_path):
    """TPUs' compiler passes parts on from neighbour to neighbour while it multiplies them: gathers, and sums."""
    passed, times = passed_of_weights(name, tmp_path)
    assert passed["collective-permute"] > 0
    assert (times + 1) * HALF * 0.98 <= sum(passed.values()) <= 2 * (times + 1) * HALF


def test_twice_the_rows_pass_no_more_between_devices():
    """What is passed along the axis of devices that share weights is no activation."""
    few, many = kept("tiny_v5e_16"), kept("tiny_v5e_16_twice")
    passed = [sum(one["bytes"] for one in found["collectives"].values()) for found in (few, many)]
    assert passed[1] == pytest.approx(passed[0], rel=plans.TOLERANCE)
    assert many["hbm_bytes_by_kind"]["activations"] > 1.5 * few["hbm_bytes_by_kind"]["activations"]


def test_the_page_is_what_is_kept():
    assert plans.PAGE.read_text(encoding="utf-8") == plans.page()


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


@pytest.mark.slow
def test_the_smallest_plan_is_what_it_was(monkeypatch):
    # Plans as a user's process makes them: those of tests pretend devices and leave the optimiser out.
    for variable in ("XLA_FLAGS", "JAX_NUMPY_RANK_PROMOTION"):
        monkeypatch.delenv(variable, raising=False)
    found = plans.summary(plans.made(plans.PLANS["tiny_v5e_16"]))
    assert plans.differences(kept("tiny_v5e_16"), found) == []
