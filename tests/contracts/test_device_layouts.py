"""Every layout is read, names all axes of the mesh, and uses every device there is."""

import dataclasses
import math
import pathlib
import re

import hold_recipe
import jax
import pytest

from speechlm_jax import layout, sharding
from speechlm_jax.planning import topology

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "gin_configs" / "layouts"
LAYOUTS = sorted(path.stem for path in FOLDER.glob("*.gin"))
MESHES = {
    "data": {"slice": 1, "data": 8, "fsdp": 1, "tensor": 1},
    "fsdp": {"slice": 1, "data": 1, "fsdp": 8, "tensor": 1},
    "fsdp_groups": {"slice": 1, "data": 2, "fsdp": 16, "tensor": 1},
    "fsdp_tensor": {"slice": 1, "data": 1, "fsdp": 2, "tensor": 4},
    "slices": {"slice": 2, "data": 1, "fsdp": 4, "tensor": 1},
    "tensor": {"slice": 1, "data": 1, "fsdp": 1, "tensor": 8},
}
"""What each is on eight devices, that of groups on thirty-two."""


def devices(name):
    return topology.devices("v5e:4x8") if name == "fsdp_groups" else jax.devices()


def test_every_layout_is_known_here():
    assert list(MESHES) == LAYOUTS


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_is_the_mesh_that_its_name_says(name, tmp_path):
    there = devices(name)
    mesh = sharding.make_mesh(hold_recipe.read_part(f"layouts/{name}", tmp_path).layout, there)
    assert dict(mesh.shape) == MESHES[name] and math.prod(mesh.shape.values()) == len(there)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_names_every_field_once(name):
    named = re.findall(r"^layout\.Layout\.(\w+) = -?\d+$", (FOLDER / f"{name}.gin").read_text(), re.MULTILINE)
    assert sorted(named) == sorted(field.name for field in dataclasses.fields(layout.Layout))
