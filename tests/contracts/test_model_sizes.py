"""Sizes of models: each has the parameters that its first line says, and can be cut as every layout of a pod cuts."""

import pathlib
import re

import hold_recipe
import jax
import pytest
from flax import nnx

from speechlm_jax import layout, parameters, sharding
from speechlm_jax.models import speech_text

ROOT = pathlib.Path(__file__).resolve().parents[2]
SIZES = ("tiny", "mini", "small", "base", "large", "xl", "xxl")


def params_of(size: str, folder: pathlib.Path) -> nnx.State:
    """The parameters of a size as shapes; nothing is computed."""
    choice = hold_recipe.read_part(f"models/{size}", folder).model
    return nnx.state(nnx.eval_shape(lambda: speech_text.SpeechText(choice, rngs=nnx.Rngs(0))))


@pytest.mark.parametrize("size", SIZES)
def test_a_size_has_as_many_parameters_as_it_says(size, tmp_path):
    first = (ROOT / "gin_configs" / "models" / f"{size}.gin").read_text().splitlines()[0]
    (told,) = re.findall(r"about ([\d,.]+) M parameters", first)
    found = sum(parameters.array(leaf).size for leaf in parameters.by_path(params_of(size, tmp_path)).values())
    assert found / 1e6 == pytest.approx(float(told.replace(",", "")), rel=0.05)


@pytest.mark.parametrize("size", ["small", "base", "large", "xl", "xxl"])
@pytest.mark.parametrize("cut", [layout.Layout(1, 8, 1), layout.Layout(1, 2, 4), layout.Layout(1, 1, 4)], ids=str)
def test_a_size_for_accelerators_leaves_nothing_whole(size, cut, tmp_path):
    mesh = sharding.make_mesh(cut, jax.devices()[: cut.fsdp * cut.tensor])
    sharding.check_cut(mesh, params_of(size, tmp_path))
