"""What a step passes between devices: what theory asks for, and no more than it did."""

import functools
import json
import os
import pathlib

import laid_out
import pytest

from speechlm_jax import layout
from speechlm_jax.planning import collectives

GOLDEN = pathlib.Path(__file__).parent / "golden" / "collectives.json"
LAYOUTS = {
    "fsdp 8": layout.Layout(data=1, fsdp=8, tensor=1),
    "fsdp 4 x tensor 2": layout.Layout(data=1, fsdp=4, tensor=2),
}
TOLERANCE = 0.02

pytestmark = pytest.mark.slow


@functools.cache
def passed(name, num_rows=laid_out.ROWS):
    """Program, and {"kind along axis": collective} of its step."""
    planned, step = laid_out.made(LAYOUTS[name], num_rows=num_rows)
    return planned, {f"{one.kind} along {one.axis}": one for one in collectives.read(step.as_text(), planned.mesh)}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_keeps_its_budget(name):
    """Renewed by `make golden`."""
    golden = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    found = {key: [one.count, one.bytes] for key, one in passed(name)[1].items()}
    if os.environ.get("RENEW_GOLDEN"):
        GOLDEN.write_text(json.dumps(golden | {name: found}, indent=1, sort_keys=True) + "\n")
        return
    assert found.keys() == golden[name].keys()
    for key, numbers in found.items():
        assert numbers == pytest.approx(golden[name][key], rel=TOLERANCE), key


@pytest.mark.parametrize("name", LAYOUTS)
def test_weights_are_gathered_at_most_twice_and_rows_never(name):
    """Once in the forward and once in the backward pass; gradients are summed once. More rows make none of it larger:
    what is passed along their axis is no activation."""
    planned, found = passed(name)
    more = passed(name, 2 * laid_out.ROWS)[1]
    weights = 4 * planned.num_parameters / planned.mesh.shape["tensor"]
    gathered, summed = found["all-gather along fsdp"].bytes, found["all-reduce along fsdp"].bytes
    assert weights < gathered <= 2 * weights
    # The processor's compiler sums whole, where that of TPUs leaves each device its part.
    assert weights < summed < 1.5 * weights

    def along_rows(passed):
        return {key: one for key, one in passed.items() if "fsdp" in one.axis}

    assert along_rows(found) == along_rows(more)


def test_heads_and_features_that_are_cut_are_summed_over_rows():
    """Along tensor each block sums activations, which twice the rows double."""
    (_, found), (_, more) = passed("fsdp 4 x tensor 2"), passed("fsdp 4 x tensor 2", 2 * laid_out.ROWS)
    key = "all-reduce along tensor"
    assert found[key].count == more[key].count
    assert more[key].bytes == pytest.approx(2 * found[key].bytes, rel=TOLERANCE)
