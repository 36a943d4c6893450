"""The search for rows, layout and remat that fit."""

import dataclasses
import typing

import jax
import pytest
import rows

from speechlm_jax import batch, layout
from speechlm_jax.data import config as data_config
from speechlm_jax.models import config as models
from speechlm_jax.planning import fit, topology
from speechlm_jax.training import config

RECIPE = config.Recipe(
    steps=10,
    data=data_config.Data(row=batch.Row(inputs=16, targets=16, segments=3), vocabulary="/nowhere/vocabulary.model"),
    model=dataclasses.replace(rows.MODEL, num_heads=2),
)


def search(memory, cache):
    return fit.search(RECIPE, jax.devices()[:2], None, memory, cache)


@pytest.mark.slow
def test_as_many_rows_as_fit_are_found_and_found_again_without_compiling(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fit, "REMATS", ("none",))
    monkeypatch.setattr(fit, "MOST_ROWS", 8)
    (nearest,) = search(1000, tmp_path)
    assert not nearest.report["fits"] and nearest.choice.rows == nearest.choice.layout.fsdp, "one row a device"
    told, needed = fit.as_json([nearest]), nearest.report["hbm_bytes"]
    assert told["found"] == [] and not told["fits"] and told["hbm_bytes"] == needed > told["hbm_bytes_there"] == 1000
    assert "nothing fits. What needs the least, --gin.Layout" in fit.text([nearest])
    generous = search(10**9, tmp_path)
    assert {one.choice.layout for one in generous} == {
        layout.Layout(data=1, fsdp=2, tensor=1),
        layout.Layout(data=1, fsdp=1, tensor=2),
    }
    assert [one.choice.rows // one.choice.layout.fsdp for one in generous] == [fit.MOST_ROWS] * 2
    capsys.readouterr()
    assert search(10**9, tmp_path) == generous
    assert capsys.readouterr().err == "", "nothing is tried a second time"
    assert fit.text(generous).splitlines()[-1] == f"best: {' '.join(generous[0].choice.bindings())}"
    told = fit.as_json(generous)
    assert told["fits"] and told["hbm_bytes"] == generous[0].report["hbm_bytes"]
    assert told["bindings"] == told["found"][0]["bindings"] == generous[0].choice.bindings()

    # In little more than half of the memory there is room for half of the rows.
    monkeypatch.setattr(fit, "layouts", lambda recipe, devices: [generous[0].choice.layout])
    (less,) = search(int(0.6 * generous[0].report["hbm_bytes"]), tmp_path)
    assert capsys.readouterr().err.count("trying") == 1, "what is kept serves devices of any memory"
    assert less.choice.rows == generous[0].choice.rows / 2


def test_many_devices_are_cut_in_groups_too():
    assert list(fit.layouts(RECIPE, 32)) == [
        layout.Layout(data=1, fsdp=32, tensor=1),
        layout.Layout(data=2, fsdp=16, tensor=1),
        layout.Layout(data=1, fsdp=16, tensor=2),
    ]


def test_every_way_to_keep_less_is_tried_but_that_whose_time_nobody_knows():
    assert {*fit.REMATS, "offload"} == set(typing.get_args(typing.get_type_hints(models.Model)["remat"]))


def test_what_is_kept_of_one_chip_is_not_taken_for_another_s(tmp_path):
    hashes = set()
    for name in ("v5e:2x2", "v6e:2x2"):
        trials = fit._Trials(RECIPE, topology.devices(name), topology.chip(name), 10**9, tmp_path)
        hashes.add(trials._hash("a program"))
    assert len(hashes) == 2
