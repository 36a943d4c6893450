"""Slices that are not at hand, and names of slices that there are none of."""

import jax
import pytest

from speechlm_jax import chips
from speechlm_jax.planning import topology


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("v9:4x4", r"--topology=v9:4x4: wanted a chip, one of v5e, v5p, v6e"),
        ("v5e", r"such as v5e:16x16 or v5p:4x4x8"),
        ("v5e:32x32", r"a slice of v5e has at most 256 chips, found 1024\. Take more slices"),
        ("v5e:3x5", r"libtpu knows no such topology \(.*3x5.*\)\. See https://docs"),
    ],
)
def test_a_topology_that_is_none_is_told(name, told):
    with pytest.raises(ValueError, match=told):
        topology.devices(name)


def test_no_slice_is_no_topology():
    with pytest.raises(ValueError, match=r"wanted a slice or more, found --slices=0"):
        topology.devices("v5e:2x2", 0)


@pytest.mark.parametrize(
    ("name", "slices", "count"), [("v5e:4x4", 1, 16), ("v5e:2x2", 2, 8), ("v5p:2x2x2", 1, 8), ("v6e:4x4", 1, 16)]
)
def test_a_slice_has_its_devices_on_a_machine_without_any(name, slices, count):
    found = topology.devices(name, slices)
    assert len(found) == count
    assert {device.platform for device in found} == {"tpu"}
    if slices > 1:
        assert {device.slice_index for device in found} == set(range(slices))


@pytest.mark.parametrize("name", sorted(chips.CHIPS))
def test_a_chip_names_where_its_figures_stand(name):
    """And they are of one order: more operations a second than bytes, more bytes to its memory than over wires."""
    chip = chips.CHIPS[name]
    assert topology.devices(f"{name}:2x2{'x1' * (name == 'v5p')}")[0].device_kind in chip.kinds
    assert chip.source.startswith("https://docs.cloud.google.com/tpu/docs/")
    assert chip.flops > chip.hbm_bytes_per_s > chip.link_bytes_per_s > chip.network_bytes_per_s > 0


def test_a_process_that_has_begun_with_fewer_devices_says_so():
    assert jax.device_count("cpu") == 8
    with pytest.raises(ValueError, match=r"--devices=64: this process has begun with 8"):
        topology.pretended(64)


@pytest.mark.parametrize(
    ("kind", "peak"),
    [
        *[("TPU v5 lite", 197e12), ("TPU v5p", 459e12), ("TPU v9", None), ("cpu", None)],
        *[("NVIDIA H100 80GB HBM3", 989e12), ("NVIDIA A100-SXM4-80GB", 312e12), ("NVIDIA H100 PCIe", None)],
        *[("NVIDIA RTX A1000", None), ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", None)],
    ],
)
def test_a_device_has_its_peak_by_what_jax_calls_it(kind, peak):
    assert chips.peak_flops(kind) == peak
