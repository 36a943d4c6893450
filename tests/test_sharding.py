"""Meshes, the table of words, and rows on devices."""

import dataclasses
import re
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import PartitionSpec

from speechlm_jax import axes, batch, layout, parameters, sharding
from speechlm_jax.models import config, speech_text
from speechlm_jax.planning import topology


def _mesh(data=2, fsdp=2, tensor=2, slices=1):
    return sharding.make_mesh(layout.Layout(data, fsdp, tensor, slices))


def _param(shape, words):
    return {"block": {"kernel": nnx.Param(jax.ShapeDtypeStruct(shape, jnp.float32), axes=words)}}


def _spec(mesh, tree, **options):
    return parameters.array(sharding.param_shardings(mesh, tree, **options)["block"]["kernel"]).spec


@pytest.mark.parametrize(
    ("asked", "found"), [((-1, 2, 2), (2, 2, 2)), ((1, -1, 1), (1, 8, 1)), ((2, 1, -1), (2, 1, 4))]
)
def test_the_axis_of_minus_one_takes_the_devices_that_are_left(asked, found):
    mesh = _mesh(*asked)
    assert tuple(mesh.shape.items()) == tuple(zip(("slice", "data", "fsdp", "tensor"), (1, *found), strict=True))
    assert all(kind == jax.sharding.AxisType.Auto for kind in mesh.axis_types)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            (1, 3, 1),
            r"^mesh slice=1 data=1 fsdp=3 tensor=1 needs 3 devices, found 8\. "
            r"Set Layout\.slices, \.data, \.fsdp or \.tensor\.$",
        ),
        ((-1, 3, 1), r"^mesh slice=1 data=-1 fsdp=3 tensor=1 needs a multiple of 3 devices, found 8\."),
        ((-1, 1, 1, 3), r"^mesh slice=3 data=-1 fsdp=1 tensor=1 needs a multiple of 3 devices, found 8\."),
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


def test_every_word_of_the_tables_is_a_word_of_axes():
    assert set(sharding.PLACES) | set(sharding.SPARE_PLACES) <= set(axes.WORDS)


def test_a_size_that_does_not_divide_is_told_by_the_setting_that_there_is():
    assert set(sharding.SETTINGS) == set(sharding.PLACES)
    owners = {"Model": config.Model, "SpeechOut": config.SpeechOut}
    for owner, field in re.findall(r"(\w+)\.(\w+)", " ".join(sharding.SETTINGS.values())):
        assert field in {one.name for one in dataclasses.fields(owners[owner])}


def test_what_has_no_axis_of_the_width_of_the_trunk_is_stored_in_parts_too():
    """Channels lie along tensor, or along fsdp where tensor is not there or taken; never twice along one axis."""
    kernel = _param((3, 8, 8), ("kernel", "channels", "channels"))
    assert _spec(_mesh(), kernel) == PartitionSpec(None, "tensor", "fsdp")
    assert _spec(_mesh(1, 8, 1), kernel) == PartitionSpec(None, "fsdp", None)
    assert _spec(_mesh(), _param((8, 8), ("embed", "channels"))) == PartitionSpec("fsdp", "tensor")
    assert _spec(_mesh(1, 8, 1), _param((8, 8), ("embed", "channels"))) == PartitionSpec("fsdp", None)
    assert _spec(_mesh(1, 8, 1), _param((3, 12), ("kernel", "channels"))) == PartitionSpec(None, None)
    assert _spec(_mesh(), _param((8, 6, 5), ("embed", "mels", "codes"))) == PartitionSpec("fsdp", "tensor", None)
    assert _spec(_mesh(), _param((7, 8), ("mels", "channels"))) == PartitionSpec(None, "tensor")
    assert _spec(_mesh(), _param((6, 8), ("mels", "channels"))) == PartitionSpec("fsdp", "tensor")


def test_an_axis_of_one_device_cuts_nothing():
    assert _spec(_mesh(8, 1, 1), _param((64, 8), ("vocabulary", "embed"))) == PartitionSpec(None, None)


def test_slices_are_copies_of_the_weights_with_rows_of_their_own():
    mesh = _mesh(1, 2, 2, slices=2)
    assert dict(mesh.shape) == {"slice": 2, "data": 1, "fsdp": 2, "tensor": 2}
    # Pretended devices tell of no slices: they are cut in their order.
    assert [device.id for device in mesh.devices[0].flat] == [0, 1, 2, 3]
    assert _spec(mesh, _param((64, 8), ("vocabulary", "embed"))) == PartitionSpec("tensor", "fsdp")
    assert sharding.batch_sharding(mesh).spec == PartitionSpec(("slice", "data", "fsdp"))


class _Chip(NamedTuple):
    """What make_mesh asks of a device of a TPU."""

    id: int
    slice_index: int
    platform: str = "tpu"
    device_kind: str = "pretended"


def test_slices_of_a_pod_are_told_by_its_devices_and_no_axis_runs_over_them():
    chips = [_Chip(number, number % 2) for number in range(8)]
    with pytest.raises(ValueError, match=r"the devices lie in 2 slices.*Set Layout\.slices = 2\.$"):
        sharding.make_mesh(layout.Layout(1, 8, 1), chips)
    assert [[chip.id for chip in part] for part in sharding._by_slice(chips, 2)] == [[0, 2, 4, 6], [1, 3, 5, 7]]


@pytest.mark.parametrize(("fsdp", "tensor", "factors"), [(4, 4, True), (16, 1, True), (2, 8, False)])
def test_a_mesh_that_does_not_factor_the_torus_is_laid_out_and_told(fsdp, tensor, factors, caplog):
    chips = topology.devices("v5e:4x4")
    mesh = sharding.make_mesh(layout.Layout(1, fsdp, tensor), chips)
    assert mesh.devices.shape == (1, 1, fsdp, tensor)
    assert {chip.id for chip in mesh.devices.flat} == {chip.id for chip in chips}
    told = "fsdp=2 tensor=8 does not factor the torus of 4x4x1 TPU v5 lite devices"
    assert (told in caplog.text) != factors and bool(caplog.text) != factors


def test_a_dimension_of_one_stays_whole():
    assert _spec(_mesh(), _param((1, 8), ("embed", "mlp"))) == PartitionSpec(None, "tensor")


@pytest.mark.parametrize(
    ("shape", "words", "message"),
    [
        (
            (8, 7),
            ("embed", "mlp"),
            r"block/kernel: axis 'mlp' of \(8, 7\) is 7.*tensor=2\. Set Layout\.tensor, or Model\.mlp_width\.",
        ),
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
        placed = sum(word in {*sharding.PLACES, *sharding.SPARE_PLACES} for word in words)
        assert len(cut) == len(set(cut)) == min(2, placed), path


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
        np.testing.assert_array_equal(shards[mesh.devices[(0, *place)]], [first, first + 1])


def test_a_lone_process_feeds_all_rows_and_uneven_rows_are_refused():
    np.testing.assert_array_equal(sharding.local_rows(_mesh(), 8), np.arange(8))
    with pytest.raises(ValueError, match="6 rows do not divide"):
        sharding.local_rows(_mesh(), 6)
    with pytest.raises(ValueError, match=r"8 rows do not divide into 4 .*Set Data\.rows to a multiple of 16"):
        sharding.check_rows(_mesh(), 8, accumulate=4)


def test_a_model_that_is_left_whole_by_accident_is_refused_with_its_largest_arrays():
    tree = {
        "cut": nnx.Param(jax.ShapeDtypeStruct((64, 64), jnp.float32), axes=("embed", "mlp")),
        "forgotten": nnx.Param(jax.ShapeDtypeStruct((16, 8), jnp.float32), axes=(None, "kernel")),
    }
    message = r"3\.0% of their bytes lie whole on every device, wanted at most 2%: forgotten \(512 bytes\)\."
    with pytest.raises(ValueError, match=message):
        sharding.check_cut(_mesh(), tree)
    # Where no mesh axis cuts weights, whole is what they are meant to be.
    sharding.check_cut(_mesh(8, 1, 1), tree)
    del tree["forgotten"]
    sharding.check_cut(_mesh(), tree)
