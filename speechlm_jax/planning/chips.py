"""Accelerators by their published figures. All are peaks: what is reckoned from them is an estimate at best."""

import dataclasses

from speechlm_jax import memory

GB = memory.GB
GIB = 2**30
TERA = 10**12


@dataclasses.dataclass(frozen=True)
class Chip:
    """One device as JAX counts them, from the maker's table at `source`."""

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
