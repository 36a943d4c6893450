"""Attention on CPUs without an array of all pairs: block by block, in plain JAX.

The pairs of blocks in which a query may look at a place are listed from the ids of the batch, and one loop goes over
that list, so that blocks of other segments cost nothing, and what is computed of a pair stays in the processor's cache.
Small blocks hold less of other segments, large ones are multiplied in half the time: the batch decides between the two.
Numerators and denominators of the softmax grow from pair to pair as in Rabe and Staats (arXiv 2112.05682); the backward
pass computes each pair again, from the logarithm of the denominator (Dao et al., arXiv 2205.14135).
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from speechlm_jax.layers import by_device, masks

SHORTEST = 256
"""Fewer queries or places than this are written out by 'auto'."""
FEW_CORES = 4
"""With more than these, 'auto' writes attention out: one pair of blocks after the other keeps few of them busy. One and
two cores were measured."""
SMALL, LARGE = 64, 512
"""Places of a block."""
_WORTH = 1.7
"""As many pairs of places more large blocks may visit than small ones, for what each of them costs."""
_LEAST = -1e30


def attend(
    queries: Float[Array, "B U H K"],
    keys: Float[Array, "B S H K"],
    values: Float[Array, "B S H K"],
    mask: masks.SegmentMask,
) -> Float[Array, "B U H K"]:
    """Softmax attention where `mask` looks, softmax in float32; zeros for a query that looks at nothing.

    Rows are cut over the mesh as those of a batch are, and heads along its tensor axis.
    """
    local = by_device.attention_on_each(functools.partial(_attend, mask.causal))
    return local(queries, keys, values, mask.query_ids, mask.memory_ids)


class _Cut(NamedTuple):
    """Lanes in blocks, with the pairs of them that are visited; queries are scaled."""

    queries_BGHUK: Array
    keys_BJHSK: Array
    values_BJHSK: Array
    query_ids_BGU: Array
    memory_ids_BJS: Array
    visits: Int[Array, "3 pairs"]
    """Row, block of queries and block of places of each pair; the first `count` are to be visited."""
    count: Int[Array, ""]

    def pair(self, number: Array) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        """Where the queries and the places of a visit are."""
        row, query_block, place_block = self.visits[:, number]
        return (row, query_block), (row, place_block)

    @property
    def block(self) -> int:
        """Places of each."""
        return self.query_ids_BGU.shape[2]

    def looks(self, queries: tuple[Array, Array], places: tuple[Array, Array], causal: bool) -> Bool[Array, "U S"]:
        """Who looks at whom in a pair."""
        ids_U, ids_S = _at(self.query_ids_BGU, queries), _at(self.memory_ids_BJS, places)
        looks_US = (ids_U[:, None] == ids_S[None, :]) & (ids_U[:, None] > 0)
        if causal:
            own_U, own_S = (place[1] * self.block + jnp.arange(self.block) for place in (queries, places))
            looks_US &= own_U[:, None] >= own_S[None, :]
        return looks_US


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(causal: bool, *lanes: Array) -> Float[Array, "B U H K"]:
    return _forward(causal, *lanes)[0]


def _forward(causal: bool, *lanes: Array) -> tuple[Float[Array, "B U H K"], tuple[Array, ...]]:
    attended_BUHK, denominators_BUH = _by_block(causal, lanes[3:], _attend_by, lanes)
    return attended_BUHK, (*lanes, attended_BUHK, denominators_BUH)


def _backward(causal: bool, kept: tuple[Array, ...], pulled_BUHK: Array) -> tuple[Any, ...]:
    return (*_by_block(causal, kept[3:5], _pull_by, (*kept, pulled_BUHK)), None, None)


def _by_block(causal: bool, ids: tuple[Array, ...], of: Callable[..., Any], lanes: tuple[Array, ...]) -> Any:
    """What `of` makes of the lanes in small blocks, or in large ones where these cost less."""
    small, large = (functools.partial(of, causal, block) for block in (SMALL, LARGE))
    query_ids, memory_ids = ids
    if max(query_ids.shape[1], memory_ids.shape[1]) < LARGE:
        return small(*lanes)

    def visited(block: int) -> Array:
        return block**2 * jnp.sum(masks.overlap(query_ids, memory_ids, block, block, causal=causal), dtype=jnp.float32)

    return jax.lax.cond(visited(LARGE) < _WORTH * visited(SMALL), large, small, *lanes)


def _attend_by(
    causal: bool,
    block: int,
    queries: Float[Array, "B U H K"],
    keys: Float[Array, "B S H K"],
    values: Float[Array, "B S H K"],
    query_ids: Int[Array, "B U"],
    memory_ids: Int[Array, "B S"],
) -> tuple[Float[Array, "B U H K"], Float[Array, "B U H"]]:
    """What is seen, and the logarithms of the denominators."""
    cut = _cut(causal, block, queries, keys, values, query_ids, memory_ids)

    def visit(number: Array, sofar: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        largest_BGHU, sums_BGHU, seen_BGHUK = sofar
        here, there = cut.pair(number)
        scores_HUS = _product("HUK,HSK->HUS", _at(cut.queries_BGHUK, here), _at(cut.keys_BJHSK, there))
        scores_HUS = jnp.where(cut.looks(here, there, causal)[None, :, :], scores_HUS, -jnp.inf)
        before_HU = _at(largest_BGHU, here)
        largest_HU = jnp.maximum(before_HU, jnp.max(scores_HUS, axis=-1))
        exponents_HUS = jnp.exp(scores_HUS - largest_HU[:, :, None])
        kept_HU = jnp.exp(before_HU - largest_HU)
        values_HSK = _at(cut.values_BJHSK, there)
        seen_HUK = _product("HUS,HSK->HUK", exponents_HUS.astype(values_HSK.dtype), values_HSK)
        return (
            _put(largest_BGHU, here, largest_HU),
            _put(sums_BGHU, here, _at(sums_BGHU, here) * kept_HU + jnp.sum(exponents_HUS, axis=-1)),
            _put(seen_BGHUK, here, _at(seen_BGHUK, here) * kept_HU[:, :, None] + seen_HUK),
        )

    nothing_BGHU = jnp.zeros(cut.queries_BGHUK.shape[:4], jnp.float32)
    nothing = (nothing_BGHU + _LEAST, nothing_BGHU, _zeros(cut.queries_BGHUK))
    largest_BGHU, sums_BGHU, seen_BGHUK = jax.lax.fori_loop(0, cut.count, visit, nothing)
    # A query that looks at nothing has summed nothing.
    sums_BGHU = jnp.maximum(sums_BGHU, 1e-30)
    attended_BUHK = _joined(seen_BGHUK / sums_BGHU[:, :, :, :, None], like=queries)
    denominators_BGHU = largest_BGHU + jnp.log(sums_BGHU)
    denominators_BUH = jnp.swapaxes(denominators_BGHU, 2, 3).reshape(len(queries), -1, queries.shape[2])
    return attended_BUHK, denominators_BUH[:, : queries.shape[1]]


def _pull_by(
    causal: bool,
    block: int,
    queries: Float[Array, "B U H K"],
    keys: Float[Array, "B S H K"],
    values: Float[Array, "B S H K"],
    query_ids: Int[Array, "B U"],
    memory_ids: Int[Array, "B S"],
    attended: Float[Array, "B U H K"],
    denominators: Float[Array, "B U H"],
    pulled: Float[Array, "B U H K"],
) -> tuple[Float[Array, "B U H K"], Float[Array, "B S H K"], Float[Array, "B S H K"]]:
    """The gradients of queries, keys and values."""
    cut = _cut(causal, block, queries, keys, values, query_ids, memory_ids)
    pulled_BGHUK = _blocks(pulled, block)
    means_BGHU = jnp.sum(pulled_BGHUK.astype(jnp.float32) * _blocks(attended, block).astype(jnp.float32), axis=-1)
    denominators_BGHU = _blocks(denominators[..., None], block)[..., 0]

    def visit(number: Array, sofar: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        to_queries_BGHUK, to_keys_BJHSK, to_values_BJHSK = sofar
        here, there = cut.pair(number)
        queries_HUK, pulled_HUK = _at(cut.queries_BGHUK, here), _at(pulled_BGHUK, here)
        keys_HSK, values_HSK = _at(cut.keys_BJHSK, there), _at(cut.values_BJHSK, there)
        scores_HUS = _product("HUK,HSK->HUS", queries_HUK, keys_HSK)
        looks_1US = cut.looks(here, there, causal)[None, :, :]
        shares_HUS = jnp.where(looks_1US, jnp.exp(scores_HUS - _at(denominators_BGHU, here)[:, :, None]), 0)
        to_shares_HUS = _product("HUK,HSK->HUS", pulled_HUK, values_HSK)
        to_scores_HUS = shares_HUS * (to_shares_HUS - _at(means_BGHU, here)[:, :, None])
        shares_HUS, to_scores_HUS = shares_HUS.astype(pulled_HUK.dtype), to_scores_HUS.astype(keys_HSK.dtype)
        return (
            _add(to_queries_BGHUK, here, _product("HUS,HSK->HUK", to_scores_HUS, keys_HSK)),
            _add(to_keys_BJHSK, there, _product("HUS,HUK->HSK", to_scores_HUS, queries_HUK)),
            _add(to_values_BJHSK, there, _product("HUS,HUK->HSK", shares_HUS, pulled_HUK)),
        )

    nothing = (_zeros(cut.queries_BGHUK), _zeros(cut.keys_BJHSK), _zeros(cut.values_BJHSK))
    to_queries_BGHUK, to_keys_BJHSK, to_values_BJHSK = jax.lax.fori_loop(0, cut.count, visit, nothing)
    return (
        _joined(to_queries_BGHUK * queries.shape[3] ** -0.5, like=queries),
        _joined(to_keys_BJHSK, like=keys),
        _joined(to_values_BJHSK, like=values),
    )


_attend.defvjp(_forward, _backward)


def _cut(
    causal: bool, block: int, queries: Array, keys: Array, values: Array, query_ids: Array, memory_ids: Array
) -> _Cut:
    visited_BGJ = masks.overlap(query_ids, memory_ids, block, block, causal=causal)
    # Those to be visited first, row after row.
    order = jnp.argsort(~visited_BGJ.ravel(), stable=True)
    return _Cut(
        queries_BGHUK=_blocks(queries * queries.shape[3] ** -0.5, block),
        keys_BJHSK=_blocks(keys, block),
        values_BJHSK=_blocks(values, block),
        query_ids_BGU=masks.padded(query_ids, block).reshape(query_ids.shape[0], -1, block),
        memory_ids_BJS=masks.padded(memory_ids, block).reshape(memory_ids.shape[0], -1, block),
        visits=jnp.stack(jnp.unravel_index(order, visited_BGJ.shape)),
        count=jnp.sum(visited_BGJ, dtype=jnp.int32),
    )


def _blocks(lane: Float[Array, "B U H K"], block: int) -> Float[Array, "B G H _ K"]:
    """A lane in blocks of so many places."""
    lane = masks.padded(lane, block)
    return jnp.swapaxes(lane.reshape(lane.shape[0], -1, block, *lane.shape[2:]), 2, 3)


def _joined(blocks: Float[Array, "B G H _ K"], like: Float[Array, "B U H K"]) -> Float[Array, "B U H K"]:
    """Blocks as the lane that they were cut from."""
    lane = jnp.swapaxes(blocks, 2, 3)
    return lane.reshape(lane.shape[0], -1, *lane.shape[3:])[:, : like.shape[1]].astype(like.dtype)


def _product(axes: str, left: Array, right: Array) -> Array:
    return jnp.einsum(axes, left, right, preferred_element_type=jnp.float32)


def _zeros(like: Array) -> Array:
    return jnp.zeros(like.shape, jnp.float32)


def _at(blocks: Array, place: tuple[Array, Array]) -> Array:
    """The block of a row."""
    sizes = (1, 1, *blocks.shape[2:])
    return jax.lax.dynamic_slice(blocks, (*place, *(0,) * (blocks.ndim - 2)), sizes)[0, 0]


def _put(blocks: Array, place: tuple[Array, Array], block: Array) -> Array:
    return jax.lax.dynamic_update_slice(blocks, block[None, None], (*place, *(0,) * (blocks.ndim - 2)))


def _add(blocks: Array, place: tuple[Array, Array], block: Array) -> Array:
    return _put(blocks, place, _at(blocks, place) + block)
