"""Accelerators by their published figures. All are peaks: what is reckoned from them is an estimate at best."""

import dataclasses
import re

from speechlm_jax import memory

GB = memory.GB
GIB = 2**30
TERA = 10**12


@dataclasses.dataclass(frozen=True)
class Chip:
    """One device as JAX counts them, from the maker's table at `source`."""

    kinds: tuple[str, ...]
    """What JAX calls it."""
    flops: float
    """bfloat16 operations a second, multiplications and additions."""
    int8_ops: float
    """The same of int8."""
    hbm_bytes: int
    """The tables say GB and mean 2^30 bytes; the compiler keeps a part of them, 0.25 of 16 on v5e."""
    hbm_bytes_per_s: float
    link_bytes_per_s: float
    """To the other chips of the slice, both directions and all ports together."""
    network_bytes_per_s: float
    """To other slices: a pod's data centre network over its chips."""
    slice_chips: int
    """Of the largest slice."""
    source: str


CHIPS = {
    "v5e": Chip(
        kinds=("TPU v5 lite", "TPU v5e"),
        flops=197 * TERA,
        int8_ops=393 * TERA,
        hbm_bytes=16 * GIB,
        hbm_bytes_per_s=819 * GB,
        link_bytes_per_s=400 * GB,
        network_bytes_per_s=6.4 * TERA / 8 / 256,
        slice_chips=256,
        source="https://docs.cloud.google.com/tpu/docs/v5e",
    ),
    "v5p": Chip(
        kinds=("TPU v5", "TPU v5p"),
        flops=459 * TERA,
        int8_ops=918 * TERA,
        hbm_bytes=95 * GIB,
        hbm_bytes_per_s=2765 * GB,
        link_bytes_per_s=1200 * GB,
        network_bytes_per_s=50 * GB / 8,
        slice_chips=6144,
        source="https://docs.cloud.google.com/tpu/docs/v5p-training",
    ),
    "v6e": Chip(
        kinds=("TPU v6 lite", "TPU v6e"),
        flops=918 * TERA,
        int8_ops=1836 * TERA,
        hbm_bytes=32 * GIB,
        hbm_bytes_per_s=1600 * GB,
        link_bytes_per_s=800 * GB,
        network_bytes_per_s=25.6 * TERA / 8 / 256,
        slice_chips=256,
        source="https://docs.cloud.google.com/tpu/docs/v6e",
    ),
}
"""By the word that a topology begins with."""

_GPU_FLOPS = {"H100": 989 * TERA, "H200": 989 * TERA, "A100": 312 * TERA}
"""bfloat16 operations a second of dense products, half of what the maker states for sparse ones, in SXM sockets:
https://www.nvidia.com/en-us/data-center/h100, .../h200, .../a100. By a word of what JAX calls them."""
_OTHER_GPUS = {"PCIe", "NVL", "MIG"}
"""Words of cards of these names, and of parts of them, that do less."""


def peak_flops(kind: str) -> float | None:
    """bfloat16 operations a second of a device that JAX calls so; None where its maker's figure is not known here."""
    for chip in CHIPS.values():
        if kind in chip.kinds:
            return chip.flops
    words = set(re.split(r"[\s-]", kind))
    return None if words & _OTHER_GPUS else next((_GPU_FLOPS[word] for word in words if word in _GPU_FLOPS), None)
