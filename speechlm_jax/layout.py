"""How many devices lie along each axis of the mesh. A description: it touches no device."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Layout:
    """Devices along each axis; one of them may be -1: all that are left."""

    data: int = -1
    """Copies of the weights, each with its own rows."""
    fsdp: int = 1
    """Rows are cut along this axis, and so are the weights, which are gathered layer by layer."""
    tensor: int = 1
    """Heads, feed-forward, convolutions and vocabulary are cut along this axis."""
    slices: int = 1
    """Slices of a pod, or hosts, with a slow network between them: each has a copy of the weights and rows of its own,
    and nothing but sums of gradients passes from one to the other."""
