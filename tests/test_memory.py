"""What a device has room for, and what is said of a program that needs more."""

import types

import jax
import pytest

from speechlm_jax import layout, memory, sharding
from speechlm_jax.planning import topology


@pytest.mark.parametrize(
    ("message", "found"),
    [
        ("RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 20.50G of 15.75G hbm.", (20.5, 15.75)),
        ("RESOURCE_EXHAUSTED: HLO temporaries (30.00G) exceeds available HBM (15.75G)", (31, 15.75)),
        ("INTERNAL: Used 20.50G of 15.75G hbm.", None),
        ("RESOURCE_EXHAUSTED: Ran out of memory in memory space smem.", None),
    ],
)
def test_what_a_compiler_refuses_is_told_in_bytes(message, found):
    wanted = None if found is None else tuple(int(size * 2**30) for size in found)
    assert memory.refused(RuntimeError(message), 2**30) == wanted


def test_a_group_of_processes_may_have_what_the_narrowest_around_it_has(tmp_path):
    told = tmp_path / "cgroup"
    told.write_text("5:memory:/slurm/job\n3:cpu:/elsewhere\n0::/user/run\n")
    for folder, name, text in (
        ("memory/slurm/job", "memory.limit_in_bytes", "9000"),
        ("memory/slurm", "memory.limit_in_bytes", "5000"),
        ("user/run", "memory.max", "max"),
        ("user", "memory.max", "7000"),
        ("cpu/elsewhere", "memory.max", "1"),
    ):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / name).write_text(f"{text}\n")
    assert sorted(memory._group_limits(tmp_path, told)) == [5000, 7000, 9000]
    assert memory._group_limits(tmp_path, tmp_path / "nowhere") == []


def test_devices_of_a_processor_share_what_it_has():
    (one, *others), there = jax.devices("cpu"), memory.of_device(jax.devices("cpu")[0])
    assert there and 2**26 < there < 2**46 and memory.of_device(others[0]) == there
    assert one.memory_stats() is None, "or it would tell itself"


def test_of_a_device_that_is_not_there_nobody_tells():
    assert memory.of_device(topology.devices("v5e:2x2")[0]) is None
    memory.check(2**60, None, "training")


def test_a_compiler_that_tells_nothing_stops_no_run():
    assert memory.peak(types.SimpleNamespace(memory_analysis=lambda: None)) == 0


def test_what_is_held_is_a_device_s_own_part():
    mesh = sharding.make_mesh(layout.Layout(slices=1, data=2, fsdp=4))
    rows = jax.ShapeDtypeStruct((16, 3), "float32", sharding=sharding.batch_sharding(mesh))
    step = jax.ShapeDtypeStruct((), "int32", sharding=sharding.replicated(mesh))
    assert memory.held({"rows": rows, "step": step}) == 2 * 3 * 4 + 4
