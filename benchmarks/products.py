"""How many operations a second a library does in a product of large matrices: what a step could reach at most."""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from speechlm_jax import layout, sharding

SIDE = 4096
"""Of the matrices that are multiplied to know what a library reaches."""


def of_jax(dtype: str, copies: int) -> float:
    """By JAX, with the rows of one matrix dealt to so many devices."""
    mesh = sharding.make_mesh(layout.Layout(slices=1, data=copies, fsdp=1), jax.devices()[:copies])
    left = jax.device_put(jnp.ones((SIDE, SIDE), dtype), sharding.batch_sharding(mesh))
    right = jax.device_put(jnp.ones((SIDE, SIDE), dtype), sharding.replicated(mesh))
    multiply = jax.jit(jnp.matmul)
    return _rate(lambda: multiply(left, right).block_until_ready())


def of_torch(dtype: str) -> float:
    """By PyTorch."""
    import torch  # pyright: ignore[reportMissingImports]

    where = "cuda" if torch.cuda.is_available() else "cpu"
    matrix = torch.ones(SIDE, SIDE, device=where, dtype=getattr(torch, dtype))
    return _rate(lambda: (matrix @ matrix)[0, 0].item())


def _rate(multiply: Callable[[], Any]) -> float:
    """Operations a second of the median product."""
    taken = []
    for _ in range(6):
        began = time.perf_counter()
        multiply()
        taken.append(time.perf_counter() - began)
    return 2 * SIDE**3 / float(np.median(taken[1:]))
