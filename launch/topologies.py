"""TPU slices as the targets name them: kinds, topologies, chips and hosts.

Facts are those of Google Cloud's pages on TPU v5e, v5p and v6e and on TPUs in GKE: a VM of a slice of several hosts has
four chips.
"""

import math
import re
from typing import NamedTuple

from launch import mistakes

CHIPS_PER_HOST = 4
_MOST_ON_ONE_HOST = 8


class Kind(NamedTuple):
    """What a kind of TPU is called where."""

    cloud: str
    """Begins the accelerator type of a TPU VM."""
    counts_cores: bool
    """Whether that type counts TensorCores, two a chip, in place of chips."""
    gke: str
    """The label of its nodes."""
    runtime_version: str
    """Of the VMs' image."""


KINDS = {
    "v5e": Kind("v5litepod", False, "tpu-v5-lite-podslice", "v2-alpha-tpuv5-lite"),
    "v5p": Kind("v5p", True, "tpu-v5p-slice", "v2-alpha-tpuv5"),
    "v6e": Kind("v6e", False, "tpu-v6e-slice", "v2-alpha-tpuv6e"),
}


_FLAT = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
"""The sides that slices of v5e and v6e may have."""


class Slice(NamedTuple):
    """One TPU slice."""

    kind: Kind
    topology: str
    """Such as "16x16"."""
    chips: int

    @property
    def hosts(self) -> int:
        """How many VMs it has."""
        return 1 if self._is_one_host else self.chips // CHIPS_PER_HOST

    @property
    def chips_per_host(self) -> int:
        """Of each VM."""
        return self.chips // self.hosts

    @property
    def accelerator_type(self) -> str:
        """As Google Cloud and xpk name it."""
        return f"{self.kind.cloud}-{self.chips * (2 if self.kind.counts_cores else 1)}"

    @property
    def _is_one_host(self) -> bool:
        most = CHIPS_PER_HOST if self.kind.counts_cores else _MOST_ON_ONE_HOST
        return self.chips <= most


def of(topology: str) -> Slice:
    """The slice of a text such as "v5e:16x16". Raises Mistake for one that is none."""
    name, _, sides = topology.partition(":")
    cube = [int(side) for side in sides.split("x")] if re.fullmatch(r"[1-9]\d*x[1-9]\d*x[1-9]\d*", sides) else []
    known = math.prod(cube) % CHIPS_PER_HOST == 0 and len(cube) == 3 if name == "v5p" else sides in _FLAT
    if name not in KINDS or not known:
        raise mistakes.Mistake(
            f"topology = {topology!r}: wanted a kind of TPU, one of {', '.join(KINDS)}, and its sides, such as "
            "'v5e:16x16', 'v5p:4x4x8' or 'v6e:16x16'."
        )
    return Slice(KINDS[name], sides, math.prod(int(side) for side in sides.split("x")))
