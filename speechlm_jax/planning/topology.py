"""Devices that are not at hand: the slices of a TPU pod, as libtpu describes them on any machine."""

import importlib.util
import math
import re
from typing import Any

from speechlm_jax import chips

_NAME = re.compile(r"(\w+):(\d+(?:x\d+){1,2})")


def devices(name: str, slices: int = 1) -> list[Any]:
    """The devices of `slices` slices of a topology such as 'v5e:16x16' or 'v5p:4x4x8'.

    Raises ValueError where there is no such topology, or no libtpu to ask.
    """
    doing = f"planning for --topology={name}"
    found = _NAME.fullmatch(name)
    if found is None or found.group(1) not in chips.CHIPS:
        raise ValueError(
            f"{doing}: wanted a chip, one of {', '.join(chips.CHIPS)}, and how many along each side of its torus, such "
            "as v5e:16x16 or v5p:4x4x8."
        )
    chips_there = math.prod(int(side) for side in found.group(2).split("x"))
    if chips_there > chip(name).slice_chips:
        raise ValueError(
            f"{doing}: a slice of {found.group(1)} has at most {chip(name).slice_chips} chips, found {chips_there}. "
            "Take more slices, --slices=2, of a smaller topology."
        )
    if slices < 1:
        raise ValueError(f"{doing}: wanted a slice or more, found --slices={slices}.")
    if importlib.util.find_spec("libtpu") is None:
        raise ValueError(f"{doing}: wanted libtpu, which compiles for TPUs on any machine. Install speechlm_jax[tpu].")
    from jax.experimental import topologies

    many = {"num_slices": slices} if slices > 1 else {}
    try:
        return list(topologies.get_topology_desc(platform="tpu", topology_name=name, **many).devices)
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{doing}: libtpu knows no such topology ({reason}). See {chip(name).source}.") from error


def chip(name: str) -> chips.Chip:
    """The chip of a topology that `devices` accepts."""
    return chips.CHIPS[name.partition(":")[0]]


def pretended(count: int) -> list[Any]:
    """So many devices on the processor of this machine, of which none can compute more than another.

    Raises ValueError where the process has begun with fewer.
    """
    import jax

    try:
        jax.config.update("jax_num_cpu_devices", count)
    except RuntimeError:  # JAX has begun.
        if jax.device_count("cpu") < count:
            raise ValueError(
                f"planning for --devices={count}: this process has begun with {jax.device_count('cpu')}."
            ) from None
    return jax.devices("cpu")[:count]
