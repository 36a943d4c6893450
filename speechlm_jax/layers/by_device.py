"""Programs of one device each, which the compiler does not cut over a mesh: a kernel is a whole to it, and so is a loop
whose length follows from the data; it would gather all rows for either."""

from collections.abc import Callable

import jax
from jax.sharding import PartitionSpec
from jaxtyping import Array

from speechlm_jax import sharding


def attention_on_each(local: Callable[..., Array]) -> Callable[..., Array]:
    """`local`, of queries, keys, values and the ids of both, on the part of each device: rows are cut over the mesh as
    those of a batch are, heads along its tensor axis. Without a mesh it is `local`."""
    if jax.sharding.get_abstract_mesh().empty:
        return local
    lanes, ids = PartitionSpec(sharding.ROWS, None, sharding.TENSOR), PartitionSpec(sharding.ROWS)
    return jax.shard_map(local, in_specs=(lanes, lanes, lanes, ids, ids), out_specs=lanes, check_vma=False)
