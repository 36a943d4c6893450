"""Plans for slices that are not at hand: the smallest is made here, the others by `make plan-all`."""

import json
import pathlib

import plans
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", plans.PLANS)
def test_a_plan_is_of_parts_that_there_are(name):
    plan = plans.PLANS[name]
    for part in (f"models/{plan.size}", f"layouts/{plan.layout}"):
        assert (ROOT / "gin_configs" / f"{part}.gin").exists(), part


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
    # As a user's process is, not as a test's: that one pretends devices and leaves the optimiser out.
    for variable in ("XLA_FLAGS", "JAX_NUMPY_RANK_PROMOTION"):
        monkeypatch.delenv(variable, raising=False)
    golden = json.loads((plans.GOLDEN / "tiny_v5e_4.json").read_text())
    assert plans.differences(golden, plans.summary(plans.made(plans.PLANS["tiny_v5e_4"]))) == []
