"""Meshes, the table of words, and rows on devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import PartitionSpec

from speechlm_jax import axes, batch, layout, parameters, sharding
from speechlm_jax.models import config, speech_text


def _mesh(data=2, fsdp=2, tensor=2):
    return sharding.make_mesh(layout.Layout(data, fsdp, tensor))


def _param(shape, words):
    return {"block": {"kernel": nnx.Param(jax.ShapeDtypeStruct(shape, jnp.float32), axes=words)}}


def _spec(mesh, tree, **options):
    return parameters.array(sharding.param_shardings(mesh, tree, **options)["block"]["kernel"]).spec


@pytest.mark.parametrize(
    ("asked", "found"), [((-1, 2, 2), (2, 2, 2)), ((1, -1, 1), (1, 8, 1)), ((2, 1, -1), (2, 1, 4))]
)
def test_the_axis_of_minus_one_takes_the_devices_that_are_left(asked, found):
    mesh = _mesh(*asked)
    assert tuple(mesh.shape.items()) == tuple(zip(("data", "fsdp", "tensor"), found, strict=True))
    assert all(kind == jax.sharding.AxisType.Auto for kind in mesh.axis_types)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ((1, 3, 1), r"^mesh data=1 fsdp=3 tensor=1 needs 3 devices, found 8\. Set Layout\.data, \.fsdp or \.tensor\.$"),
        ((-1, 3, 1), r"^mesh data=-1 fsdp=3 tensor=1 needs a multiple of 3 devices, found 8\."),
        ((-1, -1, 1), "one may be -1"),
        ((0, 8, 1), "sizes are 1 or more"),
    ],
)
def test_a_layout_that_does_not_fit_the_devices_is_refused(asked, message):
    with pytest.raises(ValueError, match=message):
        _mesh(*asked)


def test_words_lie_where_the_table_says():
    mesh = _mesh()
    assert _spec(mesh, _param((3, 8, 4, 5), ("layers", "embed", "heads", "head_width"))) == PartitionSpec(
        None, "fsdp", "tensor", None
    )
    assert _spec(mesh, _param((64, 8), ("vocabulary", "embed"))) == PartitionSpec("tensor", "fsdp")
    assert _spec(mesh, _param((8, 4), ("mlp", None))) == PartitionSpec("tensor", None)


def test_every_word_of_the_table_is_a_word_of_axes():
    assert set(sharding.PLACES) <= set(axes.WORDS)


def test_a_dimension_of_one_stays_whole():
    assert _spec(_mesh(), _param((1, 8), ("embed", "mlp"))) == PartitionSpec(None, "tensor")


@pytest.mark.parametrize(
    ("shape", "words", "message"),
    [
        ((8, 8), ("mlp", "heads"), r"block/kernel.*'mlp', 'heads'.*all lie on mesh axis 'tensor'"),
        ((8, 8), ("embed", "embed"), "all lie on mesh axis 'fsdp'"),
        ((8, 7), ("embed", "mlp"), r"block/kernel: axis 'mlp' of \(8, 7\) is 7.*tensor=2.*Layout\.tensor"),
        ((8, 8), ("embed", "breadth"), r"block/kernel: \['breadth'\]"),
        ((8, 8), ("embed",), "words for another number of axes"),
    ],
)
def test_words_that_cannot_be_laid_out_are_refused(shape, words, message):
    with pytest.raises(ValueError, match=message):
        sharding.param_shardings(_mesh(), _param(shape, words))


def test_a_parameter_without_words_is_refused_and_a_bare_array_is_replicated():
    mesh = _mesh()
    with pytest.raises(ValueError, match="kernel .* bears no words"):
        sharding.param_shardings(mesh, {"kernel": nnx.Param(jnp.zeros(8))})
    assert sharding.param_shardings(mesh, {"count": jnp.zeros(8)})["count"].spec == PartitionSpec()


def test_a_factored_moment_is_cut_along_an_axis_that_divides():
    mesh = _mesh(1, 4, 2)
    words = ("layers", "embed", "mlp")
    assert _spec(mesh, _param((8, 6), words), statistics=True) == PartitionSpec("fsdp", "tensor")
    assert _spec(mesh, _param((3, 6), words), statistics=True) == PartitionSpec(None, "tensor")
    assert _spec(mesh, _param((3, 5), words), statistics=True) == PartitionSpec(None, None)
    assert _spec(mesh, _param((1,), words), statistics=True) == PartitionSpec(None)


def test_the_real_model_can_be_cut_along_every_axis():
    params = nnx.state(nnx.eval_shape(lambda: speech_text.SpeechText(config.Model(), rngs=nnx.Rngs(0))))
    for path, place in parameters.by_path(sharding.param_shardings(_mesh(), params)).items():
        words = parameters.words(parameters.by_path(params)[path])
        cut = [axis for axis in parameters.array(place).spec if axis is not None]
        assert len(cut) == sum(word in sharding.PLACES for word in words), path


def test_rows_lie_in_order_over_data_and_fsdp_and_whole_along_tensor():
    mesh = _mesh()
    row = batch.Row(targets=3, segments=2)
    local = batch.empty(row, 8)
    local.targets.tokens[:] = np.arange(8)[:, None]
    rows = sharding.global_batch(mesh, local)
    assert rows.audio is None
    np.testing.assert_array_equal(rows.targets.tokens, local.targets.tokens)
    shards = {shard.device: np.asarray(shard.data)[:, 0] for shard in rows.targets.tokens.addressable_shards}
    for place in np.ndindex(2, 2, 2):
        data, fsdp, _ = place
        first = 2 * (2 * data + fsdp)
        np.testing.assert_array_equal(shards[mesh.devices[place]], [first, first + 1])


def test_a_lone_process_feeds_all_rows_and_uneven_rows_are_refused():
    np.testing.assert_array_equal(sharding.local_rows(_mesh(), 8), np.arange(8))
    with pytest.raises(ValueError, match="6 rows do not divide"):
        sharding.local_rows(_mesh(), 6)
    with pytest.raises(ValueError, match=r"8 rows do not divide into 4 microbatches.*multiple of 16"):
        sharding.check_rows(_mesh(), 8, accumulate=4)
