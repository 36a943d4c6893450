"""What passes between devices is read from a compiled program, by kind, axis and bytes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from speechlm_jax import layout, sharding
from speechlm_jax.planning import collectives

MESH = sharding.make_mesh(layout.Layout(slices=2, data=1, fsdp=2, tensor=2), jax.devices()[:8])


def compiled(function, *arguments):
    shapes = [
        jax.ShapeDtypeStruct(shape, jnp.float32, sharding=NamedSharding(MESH, PartitionSpec(*cut)))
        for shape, cut in arguments
    ]
    return jax.jit(function).lower(*shapes).compile().as_text()


def mapped(function, spec_in, spec_out):
    return jax.shard_map(function, mesh=MESH, in_specs=spec_in, out_specs=spec_out, check_vma=False)


@pytest.mark.parametrize(
    ("function", "spec_in", "spec_out", "wanted"),
    [
        (lambda x: jax.lax.psum(x, "fsdp"), ("fsdp",), (), ("all-reduce", "fsdp", 1, 4 * 32)),
        (lambda x: jax.lax.psum(x, ("slice", "tensor")), (), (), ("all-reduce", "slice+tensor", 1, 8 * 32)),
        (
            lambda x: jax.lax.all_gather(x, "tensor", tiled=True),
            ("tensor",),
            (),
            ("all-gather", "tensor", 1, 8 * 32),
        ),
        (
            lambda x: jax.lax.psum_scatter(x, "slice", tiled=True),
            (),
            ("slice",),
            ("reduce-scatter", "slice", 1, 8 * 32),
        ),
        (
            lambda x: jax.lax.ppermute(x, "fsdp", [(0, 1), (1, 0)]),
            ("fsdp",),
            ("fsdp",),
            ("collective-permute", "fsdp", 1, 4 * 32),
        ),
    ],
    ids=["sum", "sum over two axes", "gather", "scatter", "permute"],
)
def test_a_collective_is_told_by_kind_axis_and_bytes(function, spec_in, spec_out, wanted):
    """Of eight rows of eight float32 numbers, as much as one device puts in or gets out."""
    spec_in, spec_out = PartitionSpec(*spec_in), PartitionSpec(*spec_out)
    text = compiled(mapped(function, spec_in, spec_out), ((8, 8), spec_in))
    assert [tuple(one) for one in collectives.read(text, MESH)] == [wanted]


def test_a_collective_in_a_loop_counts_as_often_as_it_runs():
    def layers(x, weights):
        def layer(x, weight):
            return jnp.tanh(x @ weight), None

        return jax.lax.scan(layer, x, weights)[0]

    text = compiled(layers, ((8, 16), ("slice", None)), ((6, 16, 16), (None, "fsdp", None)))
    found = collectives.read(text, MESH)
    assert {(one.kind, one.axis) for one in found} & {("all-gather", "fsdp"), ("all-reduce", "fsdp")}
    assert all(one.count % 6 == 0 for one in found), found


def test_a_program_on_one_device_passes_nothing():
    mesh = sharding.make_mesh(layout.Layout(), jax.devices()[:1])
    text = jax.jit(lambda x: x @ x).lower(np.ones((4, 4), np.float32)).compile().as_text()
    assert collectives.read(text, mesh) == []


SNIPPET = """
%async_collective_fusion.1 (p: bf16[8]) -> bf16[32] {
  %all-gather.1 = bf16[32]{0} all-gather(%p), channel_id=7, replica_groups={{0,1},{2,3},{4,5},{6,7}}, dimensions={0}
}

%fused_computation.2 (p: bf16[8]) -> bf16[32] {
  %all-gather.2 = bf16[32]{0} all-gather(%p), channel_id=7, replica_groups={{0,1},{2,3},{4,5},{6,7}}, dimensions={0}
}

%all-reduce-scatter.1 (p: f32[100]) -> f32[50] {
  %all-reduce.1 = f32[100]{0} all-reduce(%p), channel_id=1, replica_groups={{0,2},{1,3},{4,6},{5,7}}, to_apply=%add
}

%all-reduce-scatter.2 (p: f32[200]) -> f32[100] {
  %all-reduce.2 = f32[200]{0} all-reduce(%p), channel_id=1, replica_groups={{0,2},{1,3},{4,6},{5,7}}, to_apply=%add
}

ENTRY %main (p: f32[100]) -> f32[100] {
  %a = bf16[32]{0} fusion(%p), kind=kCustom, calls=%async_collective_fusion.1
  %b = bf16[32]{0} fusion(%p), kind=kCustom, calls=%fused_computation.2
  %c = f32[50]{0} fusion(%p), kind=kCustom, calls=%all-reduce-scatter.1
  %d = f32[100]{0} fusion(%p), kind=kCustom, calls=%all-reduce-scatter.2
  %e = (f32[10]{0}, f32[30]{0}) all-reduce-start(%p, %p), channel_id=9, replica_groups=[1,8]<=[8]
  %f = (f32[4]{0}, token[]) send(%p), channel_id=2, attributes={_xla_megascale_transfer_type="ALL_REDUCE"}
}
"""


def test_what_a_tpu_compiler_writes_is_read():
    """One that is spread over operations counts once, two that share a channel twice, a sum of which each device keeps
    its part is a reduce-scatter, and what hosts pass on runs between slices."""
    assert [tuple(one) for one in collectives.read(SNIPPET, MESH)] == [
        ("all-gather", "tensor", 1, 64),
        ("all-reduce", "slice", 1, 16),
        ("all-reduce", "slice+fsdp+tensor", 1, 160),
        ("reduce-scatter", "fsdp", 2, 1200),
    ]


@pytest.mark.parametrize(
    ("groups", "axis"),
    [
        ("mesh['axis_0'=4,'axis_1'=2] {'axis_1'}", "tensor"),
        ("mesh['axis_0'=2,'axis_1'=4], device_ids=([4,2]T(1,0)) {'axis_0'}", "tensor"),
        ("mesh['axis_0'=2,'axis_1'=4], device_ids=([4,2]T(1,0)) {'axis_1'}", "slice+fsdp"),
        ("[4,2]<=[2,2,2]T(0,2,1)", "fsdp"),
    ],
)
def test_groups_are_told_in_whatever_order_the_compiler_counts_devices(groups, axis):
    line = f"  %g = f32[8]{{0}} all-gather(%p), channel_id=1, replica_groups={groups}, dimensions={{0}}"
    (found,) = collectives.read(f"ENTRY %main (p: f32[4]) -> f32[8] {{\n{line}\n}}\n", MESH)
    assert found.axis == axis
