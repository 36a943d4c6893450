"""What is promised of faults is judged by the summary of those that were tried."""

import pytest
import reliability

KEPT = {
    "kill_points": {"tried": 20, "identical": 20},
    "topologies": {"tried": 1, "identical": 1},
    "corruptions": {"tried": 251, "detected": 251},
    "fuzz": {"inputs": 12_000},
    "not_finite": {"injections": 6, "runs_that_ended": 6, "not_finite": 0},
    "hangs": {"tried": 2, "identical": 2},
    "lost_steps": 4,
    "soak": {"memory_ratio": 1.01, "threads_ratio": 1.0, "files_ratio": 1.0},
    "safeguards": {"overhead": 0.01, "overhead_in_all": 0.02},
    "minutes": 22.0,
}


def test_a_summary_that_keeps_every_promise_passes():
    assert list(reliability.shortfalls(KEPT)) == []


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"kill_points": {"tried": 20, "identical": 19}}, "kill_points/identical is 19, wanted that of"),
        ({"corruptions": {"tried": 20, "detected": 20}}, "corruptions/tried is 20, wanted 200 or more"),
        (
            {"safeguards": {"overhead": 0.04, "overhead_in_all": 0.02}},
            "safeguards/overhead is 0.04, wanted 0.03 at most",
        ),
        ({"soak": {}}, "soak/memory_ratio is None, wanted 1.03 at most"),
        ({"fuzz": {}}, "fuzz/inputs is None, wanted 10000 or more"),
    ],
)
def test_a_promise_that_is_not_kept_is_told(changed, told):
    assert any(line.startswith(told) for line in reliability.shortfalls({**KEPT, **changed}))
