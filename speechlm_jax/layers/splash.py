"""Attention on TPUs without an array of all pairs: JAX's splash kernel, which compares segment ids block by block.

Blocks ahead of a causal query are passed over; blocks that lie wholly in other segments are not: which they are is
known only from the data, and the kernel takes its list of blocks when it is compiled.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental.pallas.ops.tpu import splash_attention
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float, Int

from speechlm_jax import sharding
from speechlm_jax.layers import masks

SHORTEST = 128
"""Fewer queries or places than this, which is a block, are written out by 'auto'."""
_BLOCKS = (512, 256, 128)
_ROOM = 1.1
"""A larger block is taken for so much more padding at most."""


def attend(
    queries: Float[Array, "B U H K"],
    keys: Float[Array, "B S H K"],
    values: Float[Array, "B S H K"],
    mask: masks.SegmentMask,
    *,
    interpret: bool = False,
) -> Float[Array, "B U H K"]:
    """Softmax attention where `mask` looks; zeros for a query that looks at nothing.

    Rows are cut over the mesh as those of a batch are, and heads along its tensor axis. interpret: run the kernel
    without a TPU, slowly.
    """
    local = functools.partial(_attend, causal=mask.causal, interpret=interpret)
    mesh = jax.sharding.get_abstract_mesh()
    if not mesh.empty:
        lanes, ids = PartitionSpec(sharding.ROWS, None, sharding.TENSOR), PartitionSpec(sharding.ROWS)
        # A kernel is one program a device to the compiler, which would gather all rows for it.
        local = jax.shard_map(local, in_specs=(lanes, lanes, lanes, ids, ids), out_specs=lanes, check_vma=False)
    attended_BUHK = local(queries, keys, values, mask.query_ids, mask.memory_ids)
    return jnp.where(mask.sees()[:, :, None, None], attended_BUHK, 0)


def _attend(
    queries: Float[Array, "B U H K"],
    keys: Float[Array, "B S H K"],
    values: Float[Array, "B S H K"],
    query_ids: Int[Array, "B U"],
    memory_ids: Int[Array, "B S"],
    *,
    causal: bool,
    interpret: bool,
) -> Float[Array, "B U H K"]:
    """The part of one device."""
    num_queries, num_places = queries.shape[1], keys.shape[1]
    query_block, place_block = block(num_queries), block(num_places)
    queries_BHUK = _padded(jnp.swapaxes(queries * queries.shape[3] ** -0.5, 1, 2), query_block, 2)
    keys_BHSK, values_BHSK = (_padded(jnp.swapaxes(lane, 1, 2), place_block, 2) for lane in (keys, values))
    ids = splash_attention.SegmentIds(_padded(query_ids, query_block, 1), _padded(memory_ids, place_block, 1))
    pairs = splash_attention.CausalMask if causal else splash_attention.FullMask
    size = (queries_BHUK.shape[2], keys_BHSK.shape[2])
    kernel = splash_attention.make_splash_mha(
        splash_attention.MultiHeadMask([pairs(size)] * queries.shape[2]),
        block_sizes=splash_attention.BlockSizes(
            block_q=query_block,
            block_kv=place_block,
            block_q_dkv=query_block,
            block_kv_dkv=place_block,
            block_q_dq=query_block,
            block_kv_dq=place_block,
        ),
        head_shards=1,
        q_seq_shards=1,
        interpret=interpret,
    )
    # Without residuals it returns one array, whatever its type says.
    attended_BHUK: Any = jax.vmap(kernel)(queries_BHUK, keys_BHSK, values_BHSK, ids)
    return jnp.swapaxes(attended_BHUK, 1, 2)[:, :num_queries]


def block(length: int) -> int:
    """Places of a block of the kernel: as many as pad a lane of `length` by little."""
    least = _up_to(length, _BLOCKS[-1])
    return next(size for size in _BLOCKS if _up_to(length, size) <= _ROOM * least)


def _up_to(length: int, size: int) -> int:
    return math.ceil(length / size) * size


def _padded(array: Array, size: int, axis: int) -> Array:
    """Zeros, which are the ids of nobody, up to a multiple of `size`."""
    room = [(0, 0)] * array.ndim
    room[axis] = (0, _up_to(array.shape[axis], size) - array.shape[axis])
    return jnp.pad(array, room)
