"""Every attention kernel against the one that is written out, on CPU and ahead of time for TPUs."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rows
from jax.sharding import NamedSharding, PartitionSpec

from speechlm_jax import layout, provenance, sharding
from speechlm_jax.layers import blocks, dot_products, kernels, masks, splash
from speechlm_jax.planning import report, topology

HEADS, HEAD_WIDTH = 2, 16


def segment_ids(seed, num_rows, length):
    """Segments in order, some of which stand in one lane alone, and room at the end."""
    random = np.random.default_rng(seed)
    ids = np.zeros((num_rows, length), np.int32)
    for row in ids:
        edges = np.sort(random.choice(np.arange(1, length), 5, replace=False))
        for segment, (start, stop) in enumerate(itertools.pairwise(edges)):
            row[start - edges[0] : stop - edges[0]] = segment + 1
        row[row == random.integers(1, 5)] = 9
    return jnp.asarray(ids)


def lanes(num_rows, num_queries, num_places):
    queries, keys, values = (
        rows.normal(seed, num_rows, length, HEADS, HEAD_WIDTH)
        for seed, length in enumerate((num_queries, num_places, num_places))
    )
    return queries, keys, values


def pull(attend, mask, given):
    """What an attention gives, and the gradients of it; on rows that nothing is asked of, too."""
    weights = rows.normal(7, *given[0].shape)

    def loss(queries, keys, values):
        attended = attend(queries, keys, values, mask)
        return jnp.sum(attended * weights), attended

    (_, attended), gradients = rows.compiled(jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True))(*given)
    return attended, gradients


def reference(queries, keys, values, mask):
    return dot_products.attend(queries, keys, values, mask.pairs())


IN_BLOCKS = jnp.repeat(jnp.asarray([[1, 1, 2, 2, 3], [4, 0, 0, 5, 5]], jnp.int32), 128, axis=1)
WHOLE = jnp.pad(jnp.ones((2, 1000), jnp.int32), ((0, 0), (0, 24)))
LONG = masks.SegmentMask(segment_ids(0, 2, 300), segment_ids(0, 2, 300))
CASES = {
    "both ways": LONG,
    "causal": LONG._replace(causal=True),
    "across": masks.SegmentMask(segment_ids(1, 2, 600), segment_ids(2, 2, 700)),
    "of one": masks.SegmentMask(WHOLE, WHOLE),
    "of one, causal": masks.SegmentMask(WHOLE, WHOLE, causal=True),
}
assert splash.block(600) != splash.block(700)
ATTENDS = {
    "library": functools.partial(kernels.library, implementation="xla"),
    "blocks": blocks.attend,
    "splash": functools.partial(splash.attend, interpret=True),
}


def check_kernel(name, mask):
    given = lanes(2, mask.query_ids.shape[1], mask.memory_ids.shape[1])
    found, wanted = pull(ATTENDS[name], mask, given), pull(reference, mask, given)
    unseen = ~np.asarray(mask.sees())
    assert unseen.any() and not unseen.all()
    assert np.all(np.asarray(found[0])[unseen] == 0)
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=2e-5), found, wanted)


@pytest.mark.parametrize("name", ATTENDS)
@pytest.mark.parametrize("mask", CASES.values(), ids=CASES)
def test_a_kernel_gives_what_is_written_out(name, mask):
    check_kernel(name, mask)


def check_in_half_precision(attend, mask):
    """It is about as near to exact attention as what is written out."""
    given = lanes(2, mask.query_ids.shape[1], mask.memory_ids.shape[1])
    half = [lane.astype(jnp.bfloat16) for lane in given]
    with jax.default_matmul_precision("highest"):
        wanted = jax.tree.leaves(pull(reference, mask, given))
    found, written_out = (
        np.asarray(
            [
                float(jnp.abs(one.astype(jnp.float32) - other).max())
                for one, other in zip(jax.tree.leaves(pull(each, mask, half)), wanted, strict=True)
            ]
        )
        for each in (attend, reference)
    )
    np.testing.assert_array_less(found, 1.5 * written_out + 1e-3)
    assert found.max() > 1e-3  # It was in half precision.


def test_in_half_precision_blocks_are_as_near_as_what_is_written_out():
    check_in_half_precision(blocks.attend, LONG)


@pytest.mark.skipif(jax.default_backend() != "gpu", reason="wants an NVIDIA GPU, and SPEECHLM_TESTS_ON=cuda")
@pytest.mark.parametrize("mask", CASES.values(), ids=CASES)
def test_cudnn_gives_what_is_written_out(mask):
    check_in_half_precision(functools.partial(kernels.attend, choice="cudnn"), mask)


@pytest.mark.parametrize(("room", "parts"), [(1, 6), (12, 2)])
def test_rows_that_the_lists_of_a_kernel_have_no_room_for_are_attended_to_in_turn(room, parts, monkeypatch):
    monkeypatch.setattr(splash, "_MOST_BLOCKS", room)
    mask = masks.SegmentMask(segment_ids(4, 6, 300), segment_ids(5, 6, 300))
    given = lanes(6, 300, 300)
    assert f" length={parts}" in str(jax.make_jaxpr(lambda *lanes: ATTENDS["splash"](*lanes, mask))(*given))
    found, wanted = pull(ATTENDS["splash"], mask, given), pull(reference, mask, given)
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=2e-5), found, wanted)


@pytest.mark.parametrize("name", ATTENDS)
def test_the_check_sees_a_kernel_that_looks_ahead(name, monkeypatch):
    attend = ATTENDS[name]
    monkeypatch.setitem(ATTENDS, name, lambda q, k, v, mask: attend(q, k, v, mask._replace(causal=False)))
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        check_kernel(name, CASES["causal"])


@pytest.mark.parametrize("size", [64, 128])
@pytest.mark.parametrize("causal", [False, True])
def test_blocks_overlap_where_some_query_may_look(causal, size):
    mask = masks.SegmentMask(IN_BLOCKS, IN_BLOCKS, causal)
    count = 640 // size
    looked_at = np.asarray(mask.pairs()).reshape(2, count, size, count, size).any(axis=(2, 4))
    found = masks.overlap(mask.query_ids, mask.memory_ids, size, size, causal=causal)
    np.testing.assert_array_equal(found, looked_at)
    alone = splash.visited(mask.query_ids, mask.memory_ids, size, size, causal=causal) & ~looked_at
    # To splash, blocks of padding visit one.
    assert np.argwhere(alone).tolist() == [[1, block, 0] for block in range(128 // size, 384 // size)]


@pytest.mark.parametrize("name", ["blocks", "splash"])
@pytest.mark.parametrize("causal", [False, True])
def test_a_kernel_passes_over_blocks_of_other_segments(causal, name):
    """What lies in them is never multiplied: it is no number here, and nothing comes of it."""
    mask, ids = masks.SegmentMask(IN_BLOCKS, IN_BLOCKS, causal), np.asarray(IN_BLOCKS)
    assert splash.block(640) == 128
    given = lanes(2, 640, 640)
    wanted = jax.tree.leaves(pull(reference, mask, given))
    for segment in range(1, 6):
        own = ids == segment
        others = jnp.asarray(~own & (ids > 0))[:, :, None, None]
        spoiled = [jnp.where(others, jnp.nan, lane) for lane in given]
        for one, other in zip(jax.tree.leaves(pull(ATTENDS[name], mask, spoiled)), wanted, strict=True):
            np.testing.assert_allclose(one[own], other[own], atol=2e-5)


@pytest.mark.parametrize(("ids", "taken"), [(IN_BLOCKS, "small"), (WHOLE, "large")])
def test_the_batch_decides_between_small_blocks_and_large_ones(ids, taken, monkeypatch):
    attend_by = blocks._attend_by

    def spoiled(causal, block, *lanes):
        attended, denominators = attend_by(causal, block, *lanes)
        return attended * (
            jnp.nan if block == {"small": blocks.LARGE, "large": blocks.SMALL}[taken] else 1
        ), denominators

    monkeypatch.setattr(blocks, "_attend_by", spoiled)
    given = lanes(2, *ids.shape[1:], *ids.shape[1:])
    found = jax.jit(lambda *given: blocks.attend(*given, masks.SegmentMask(ids, ids)))(*given)
    assert np.isfinite(found).all()


@pytest.mark.parametrize(("name", "places"), [("blocks", 200), ("blocks", 600), ("splash", 200)])
def test_a_kernel_is_cut_over_rows_and_heads(name, places):
    mesh = sharding.make_mesh(layout.Layout(slices=1, data=2, fsdp=2, tensor=2))
    mask = masks.SegmentMask(segment_ids(3, 4, places), segment_ids(3, 4, places))
    given = lanes(4, places, places)

    def attend(queries, keys, values, mask):
        with sharding.tracing_on(mesh):
            return ATTENDS[name](queries, keys, values, mask)

    placed = jax.device_put(given, NamedSharding(mesh, PartitionSpec(sharding.ROWS, None, sharding.TENSOR)))
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, atol=2e-5),
        pull(attend, mask, placed),
        pull(reference, mask, given),
    )


def test_the_kernel_of_cpus_holds_no_array_of_all_pairs():
    places = 2200  # More than twice as many as make an array of some large blocks.
    lane, ids = jax.ShapeDtypeStruct((2, places, 4, 64), jnp.float32), jax.ShapeDtypeStruct((2, places), jnp.int32)

    def gradient(queries, keys, values, ids):
        def loss(*given):
            return jnp.sum(blocks.attend(*given, masks.SegmentMask(ids, ids)) ** 2)

        return jax.grad(loss, argnums=(0, 1, 2))(queries, keys, values)

    compiled = jax.jit(gradient).lower(lane, lane, lane, ids).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 2 * 4 * places**2 * 4


@pytest.mark.parametrize("name", ["v5e:2x2", "v6e:2x2"])
@pytest.mark.parametrize(
    ("num_rows", "queries", "causal"),
    [(2, 1100, False), (2, 1100, True), (2, 600, False), (256, 1100, True)],
    ids=["both ways", "causal", "across", "many rows"],
)
def test_the_kernel_of_tpus_compiles_ahead_of_time_and_holds_no_array_of_all_pairs(name, num_rows, queries, causal):
    """Forward and backward, heads over two chips and rows over two; each chip computes its own alone."""
    places = 1100
    mesh = sharding.make_mesh(layout.Layout(slices=1, data=1, fsdp=2, tensor=2), topology.devices(name))
    place = NamedSharding(mesh, PartitionSpec(sharding.ROWS, None, sharding.TENSOR))
    by_rows = NamedSharding(mesh, PartitionSpec(sharding.ROWS))
    query_lane, memory_lane = (
        jax.ShapeDtypeStruct((num_rows, length, 4, 64), jnp.bfloat16, sharding=place) for length in (queries, places)
    )
    query_ids, memory_ids = (
        jax.ShapeDtypeStruct((num_rows, length), jnp.int32, sharding=by_rows) for length in (queries, places)
    )

    def gradient(queries, keys, values, query_ids, memory_ids):
        mask = masks.SegmentMask(query_ids, memory_ids, causal)

        def loss(*given):
            return jnp.sum(kernels.attend(*given, mask).astype(jnp.float32) ** 2)

        with sharding.tracing_on(mesh):
            return jax.grad(loss, argnums=(0, 1, 2))(queries, keys, values)

    with report.compiled_anew():
        compiled = jax.jit(gradient).lower(query_lane, memory_lane, memory_lane, query_ids, memory_ids).compile()
    text = compiled.as_text()
    assert text.count("tpu_custom_call") >= 3
    assert "all-gather" not in text and "all-to-all" not in text
    pairs = num_rows // 2 * 2 * queries * places * 4  # Of the heads and rows of one chip, float32.
    assert compiled.memory_analysis().temp_size_in_bytes < 2 * pairs


@pytest.mark.parametrize(
    ("platform", "length", "dtype", "wanted"),
    [
        ("cpu", 1024, "bfloat16", "blocks"),
        ("cpu", 200, "float32", "reference"),
        ("tpu", 1024, "float32", "splash"),
        ("tpu", 100, "bfloat16", "reference"),
        ("gpu", 1024, "bfloat16", "cudnn"),
        ("gpu", 1023, "bfloat16", "reference"),
        ("gpu", 1024, "float32", "reference"),
        ("rocm", 1024, "bfloat16", "reference"),
    ],
)
def test_a_kernel_is_chosen_by_platform_and_shape(platform, length, dtype, wanted, monkeypatch):
    monkeypatch.setattr(provenance, "cpus", lambda: 2)
    lane = jnp.zeros((1, length, 2, 64), dtype)
    assert kernels.suited(platform, lane, lane) == wanted
    monkeypatch.setattr(provenance, "cpus", lambda: 32)
    assert kernels.suited(platform, lane, lane) == ("reference" if wanted == "blocks" else wanted)


def test_a_kernel_that_the_devices_lack_is_told():
    with pytest.raises(ValueError, match=r"wanted a TPU for Model\.attention_kernel = 'splash', found a CPU"):
        kernels.attend(*lanes(2, 300, 300), LONG, "splash")


def test_shapes_that_a_kernel_has_no_room_for_are_told(monkeypatch):
    monkeypatch.setattr(sharding, "platform", lambda: "gpu")
    with pytest.raises(ValueError, match=r"found float32, 300 queries, 300 places, heads of 16\. Set Model\.attention"):
        kernels.attend(*lanes(2, 300, 300), LONG, "cudnn")


@pytest.mark.parametrize(
    ("length", "wanted"), [(100, 128), (128, 128), (300, 128), (480, 512), (1100, 128), (1500, 512)]
)
def test_a_block_pads_little(length, wanted):
    assert splash.block(length) == wanted
