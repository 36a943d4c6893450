"""Attention on TPUs without an array of all pairs: JAX's splash kernel, which compares segment ids block by block.

Blocks that lie ahead of a causal query, or wholly in other segments, are passed over: neither fetched nor multiplied.
Which they are is known only from the data, so the kernel gets its list of blocks with every batch.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.pallas.ops.tpu import splash_attention
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel, splash_attention_mask_info
from jaxtyping import Array, Bool, Float, Int

from speechlm_jax.layers import by_device, masks

SHORTEST = 128
"""Fewer queries or places than this, which is a block, are written out by 'auto'."""
_BLOCKS = (512, 256, 128)
_ROOM = 1.1
"""A larger block is taken for so much more padding at most."""
_MOST_BLOCKS = 768
"""Blocks of queries in one call of the kernel: for each, two lists of 128 numbers or more lie in the 1 MB of a core's
scalar memory."""


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
    local = by_device.attention_on_each(functools.partial(_attend_in_parts, causal=mask.causal, interpret=interpret))
    attended_BUHK = local(queries, keys, values, mask.query_ids, mask.memory_ids)
    return jnp.where(mask.sees()[:, :, None, None], attended_BUHK, 0)


def _attend_in_parts(*lanes: Array, **options: bool) -> Float[Array, "B U H K"]:
    """The part of one device: as many rows at a time as the kernel has room for the lists of."""
    queries, keys, *_ = lanes
    num_rows = queries.shape[0]
    of_queries, of_places = (-(-lane.shape[1] // block(lane.shape[1])) for lane in (queries, keys))
    room = _MOST_BLOCKS // (of_queries * -(-of_places // 128))
    at_once = max(rows for rows in range(1, num_rows + 1) if num_rows % rows == 0 and rows <= max(room, 1))
    if at_once == num_rows:
        return _attend(*lanes, **options)
    parts = [lane.reshape(-1, at_once, *lane.shape[1:]) for lane in lanes]
    attended = jax.lax.map(lambda part: _attend(*part, **options), parts)
    return attended.reshape(num_rows, *attended.shape[2:])


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
    """To the kernel rows are one long row, no block of which visits another row's."""
    num_rows, num_queries = query_ids.shape
    query_block, place_block = block(num_queries), block(memory_ids.shape[1])
    query_ids, memory_ids = masks.padded(query_ids, query_block), masks.padded(memory_ids, place_block)
    visited_BGJ = visited(query_ids, memory_ids, query_block, place_block, causal=causal)
    info = functools.partial(
        splash_attention_mask_info.MaskInfo,
        mask_next=None,
        partial_mask_blocks=None,
        q_sequence=np.arange(query_ids.size, dtype=np.int32) if causal else None,
    )
    next_1OJ, visits_1OJ = _block_lists(visited_BGJ)
    next_1OG, visits_1OG = _block_lists(jnp.swapaxes(visited_BGJ, 1, 2))
    by_queries = info(data_next=next_1OJ, block_mask=visits_1OJ)
    by_places = info(data_next=jnp.swapaxes(next_1OG, 1, 2), block_mask=jnp.swapaxes(visits_1OG, 1, 2))
    kernel = splash_attention_kernel.SplashAttentionKernel(
        by_queries,
        by_queries,
        by_places,
        block_sizes=splash_attention.BlockSizes(
            block_q=query_block,
            block_kv=place_block,
            block_q_dkv=query_block,
            block_kv_dkv=place_block,
            block_q_dq=query_block,
            block_kv_dq=place_block,
        ),
        is_mqa=False,
        save_residuals=False,
        mask_value=splash_attention_kernel.DEFAULT_MASK_VALUE,
        attn_logits_soft_cap=None,
        residual_checkpoint_name=None,
        mask_function=_not_ahead if causal else None,
        interpret=interpret,
    )
    # Without residuals it returns one array, whatever its type says.
    attended_HAK: Any = kernel(
        _one_row(queries * queries.shape[3] ** -0.5, query_block),
        _one_row(keys, place_block),
        _one_row(values, place_block),
        splash_attention.SegmentIds(query_ids.ravel(), memory_ids.ravel()),
    )
    attended_HBUK = attended_HAK.reshape(attended_HAK.shape[0], num_rows, -1, attended_HAK.shape[2])
    return jnp.moveaxis(attended_HBUK, 0, 2)[:, :num_queries]


def visited(
    query_ids: Int[Array, "B U"], memory_ids: Int[Array, "B S"], query_block: int, place_block: int, *, causal: bool
) -> Bool[Array, "B G J"]:
    """True for a block of queries and one of places that the kernel multiplies, of lanes that hold whole blocks.

    Those are the pairs of blocks that overlap, and where a block of queries has none, the first block of places: a
    softmax over nothing is no number.
    """
    found_BGJ = masks.overlap(query_ids, memory_ids, query_block, place_block, causal=causal)
    alone_BG1 = ~jnp.any(found_BGJ, axis=2, keepdims=True)
    return found_BGJ | (alone_BG1 & (jnp.arange(found_BGJ.shape[2]) == 0)[None, None, :])


def _block_lists(visited_BGJ: Bool[Array, "B G J"]) -> tuple[Int[Array, "1 O J"], Int[Array, "1 O J"]]:
    """What is fetched at each step of a kernel that goes over the blocks O of one long row, and for each over the
    blocks J of its own row; and 1 where the step is not passed over. A step that is fetches for the next that is not.
    """
    num_rows, height, width = visited_BGJ.shape
    steps = jnp.arange(visited_BGJ.size)
    next_steps = jax.lax.cummin(jnp.where(visited_BGJ.ravel(), steps, steps.size - 1), reverse=True)
    blocks = steps // (height * width) * width + steps % width
    shape = (1, num_rows * height, width)
    return blocks[next_steps].reshape(shape), visited_BGJ.astype(jnp.int32).reshape(shape)


def _not_ahead(query_places: Array, memory_places: Array) -> Array:
    return query_places >= memory_places


def _one_row(lane: Float[Array, "B U H K"], size: int) -> Float[Array, "H A K"]:
    """Row after row, each padded to whole blocks."""
    lane_HBUK = jnp.moveaxis(masks.padded(lane, size), 2, 0)
    return lane_HBUK.reshape(lane_HBUK.shape[0], -1, lane_HBUK.shape[3])


def block(length: int) -> int:
    """Places of a block of the kernel: as many as pad a lane of `length` by little."""
    least = length + -length % _BLOCKS[-1]
    return next(size for size in _BLOCKS if length + -length % size <= _ROOM * least)
