"""What a step needs of devices that are not at hand, and that a run which cannot fit is told before it is queued."""

import dataclasses
import json

import pytest
import rows

from speechlm_jax import batch, layout, plan, provenance
from speechlm_jax.data import config as data_config
from speechlm_jax.training import config

ROW = batch.Row(audio_seconds=1.28, inputs=16, targets=16, segments=3)
KINDS = {"params", "optimizer", "batch", "activations"}


FSDP = layout.Layout(data=1, fsdp=-1)


def recipe(num_rows=8, cut=FSDP, **model):
    return config.Recipe(
        steps=10,
        data=data_config.Data(
            row=ROW,
            rows=num_rows,
            vocabulary="/nowhere/vocabulary.model",
            stream=data_config.Stream(data_shards=num_rows),
        ),
        model=dataclasses.replace(rows.MODEL, **model),
        layout=cut,
    )


@pytest.mark.slow
def test_a_plan_tells_where_the_memory_of_a_device_goes(tmp_path, capsys):
    found = plan.run(recipe=recipe(), devices=4, memory_gb=1, json=str(tmp_path / "plan.json"), shapes=True)
    assert json.loads((tmp_path / "plan.json").read_text()) == json.loads(json.dumps(found))
    sizes = found["hbm_bytes_by_kind"]
    assert found["fits"]
    assert set(sizes) == KINDS
    assert sum(sizes.values()) == found["hbm_bytes"] < found["hbm_bytes_there"] == 10**9
    # A quarter of the float32 parameters, but for the norms, which are small and lie whole; twice as many moments.
    assert found["parameters"] < sizes["params"] < 1.2 * found["parameters"]
    assert sizes["optimizer"] == pytest.approx(2 * sizes["params"], abs=64)
    assert {(one["kind"], one["axis"]) for one in found["collectives"]} >= {("all-gather", "fsdp")}
    assert all(one["count"] > 0 and one["bytes"] > 0 for one in found["collectives"])
    assert found["roofline_seconds"] == {}, "a pretended device has no published peak"
    assert found["host_audio_seconds_per_second"] is None
    assert found["audio_hours_per_step"] == pytest.approx(8 * 1.28 / 3600)
    assert found["tokens_per_step"] == 8 * (16 + 16)
    told = capsys.readouterr().out
    assert "text/table_VD  float32[128,16]  (vocabulary embed)  on (- fsdp)  2,048 bytes" in told
    assert "1.00 GB: fits" in told


@pytest.mark.slow
def test_a_gpu_is_planned_with_attention_written_out_though_a_cpu_compiles_it(monkeypatch):
    monkeypatch.setattr(provenance, "cpus", lambda: 2)
    sizes = {}
    for kernel in ("auto", "blocks"):
        asked = recipe(num_rows=4, attention_kernel=kernel)
        long = dataclasses.replace(asked.data, row=dataclasses.replace(ROW, audio_seconds=24))
        found = plan.run(recipe=dataclasses.replace(asked, data=long), devices=4, memory_gb=1)
        sizes[kernel] = found["hbm_bytes_by_kind"]["activations"]
    pairs = rows.MODEL.num_heads * (24 * 25) ** 2 * 4
    assert sizes["auto"] > sizes["blocks"] + pairs


@pytest.mark.slow
def test_a_step_that_does_not_fit_says_by_how_much_and_what_to_change(capsys):
    found = plan.run(recipe=recipe(), devices=4, memory_gb=0.0001)
    assert not found["fits"]
    assert found["hbm_bytes"] > found["hbm_bytes_there"] == 100_000
    told = capsys.readouterr().out
    assert "does NOT fit" in told
    assert "Data.rows" in told


@pytest.mark.slow
@pytest.mark.parametrize(("slices", "axes"), [(1, {"fsdp"}), (2, {"fsdp", "slice"})])
def test_a_step_is_compiled_for_a_tpu_that_is_not_there(slices, axes, capsys):
    found = plan.run(recipe=recipe(), topology="v5e:2x2", slices=slices)
    assert found["fits"]
    assert found["devices"] == 4 * slices
    assert found["device_kind"] == "TPU v5 lite"
    assert found["host_bytes"] == 0
    assert found["asked"]["topology"] == "v5e:2x2" and found["mesh"]["slice"] == slices and found["loops"]
    assert found["peaks_from"] == "https://docs.cloud.google.com/tpu/docs/v5e"
    assert {axis for one in found["collectives"] for axis in one["axis"].split("+")} >= axes
    seconds = found["roofline_seconds"]
    assert seconds.pop("longest") == max(seconds.values())
    assert seconds["compute"] == pytest.approx(found["flops_model"] / 197e12)
    assert (seconds["network"] > 0) == (slices > 1)
    assert found["hosts"] == slices, "a host of a v5e has four chips"
    needed = found["audio_hours_per_step"] * 3600 / slices / max(seconds.values())
    assert found["host_audio_seconds_per_second"] == pytest.approx(needed)
    told = capsys.readouterr().out
    assert "never a measurement" in told and found["peaks_from"] in told


@pytest.mark.slow
def test_products_that_are_offloaded_lie_in_the_memory_of_a_tpu_s_host():
    found = plan.run(recipe=recipe(remat="offload"), topology="v5e:2x2")
    assert found["fits"] and found["host_bytes"] > 0


@pytest.mark.slow
def test_a_step_that_no_tpu_holds_says_so():
    found = plan.run(recipe=recipe(2**18), topology="v5e:2x2")
    assert not found["fits"]
    assert found["hbm_bytes"] > 2**34 > found["hbm_bytes_there"] > 0.9 * 2**34
    assert set(found["hbm_bytes_by_kind"]) == KINDS


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({}, "wanted what to plan for, .* found neither"),
        ({"devices": 4, "topology": "v5e:2x2"}, "wanted what to plan for, .* found both"),
        ({"devices": 4}, r"--devices=4: .* found --memory_gb=0\."),
        ({"devices": -4, "memory_gb": 80}, r"--devices=-4: wanted 1 to 65,536 devices"),
        ({"devices": 10**8, "memory_gb": 80}, r"--devices=100000000: wanted 1 to 65,536 devices"),
        ({"devices": 4, "memory_gb": float("nan")}, r"--devices=4: .* found --memory_gb=nan"),
        (
            {"topology": "v5e:2x2", "memory_gb": 80},
            r"--topology=v5e:2x2: .* which a topology knows; found --memory_gb=80",
        ),
        ({"topology": "v5e:2x2", "fit": "somewhere", "shapes": True}, "Give one of them"),
        ({"topology": "v5e:2x2", "fit": __file__}, "writing --fit=.*: Not a directory. Name another place"),
        (
            {"topology": "v5e:2x2", "slices": 3},
            r"8 rows do not divide into 1 microbatches over slice=3 x data=1 x fsdp=4",
        ),
        ({"topology": "v5e:4x4"}, r"8 rows do not divide into 1 microbatches over .*fsdp=16"),
    ],
)
def test_what_cannot_be_planned_is_told_before_anything_is_compiled(asked, told):
    with pytest.raises(ValueError, match=told):
        plan.run(recipe=recipe(), **asked)


def test_rows_that_no_run_could_deal_to_its_shards_are_told():
    asked = recipe()
    cut = dataclasses.replace(asked.data, stream=data_config.Stream(data_shards=3))
    with pytest.raises(ValueError, match=r"8 rows into 3 data shards.*Set Data\.rows or Stream\.data_shards"):
        plan.run(recipe=dataclasses.replace(asked, data=cut), topology="v5e:2x2")


@pytest.mark.parametrize("field", ["width", "num_heads", "mlp_width", "encoder_layers", "vocabulary_size"])
@pytest.mark.parametrize("found", [0, -4])
def test_a_model_of_nothing_is_told(field, found):
    with pytest.raises(ValueError, match=rf"wanted Model\.{field} of 1 or more, found {found}"):
        recipe(**{field: found})


def test_a_row_longer_than_a_day_is_told():
    with pytest.raises(ValueError, match=r"wanted Row\.audio_seconds of 86400 or less, found 1000000000"):
        data_config.Data(row=batch.Row(audio_seconds=1e9))


def test_a_layout_that_does_not_divide_heads_is_told():
    with pytest.raises(ValueError, match=r"heads.*the mesh's tensor=4\. Set Layout\.tensor, or Model\.num_heads"):
        plan.run(recipe=recipe(cut=layout.Layout(data=1, fsdp=1, tensor=4)), topology="v5e:2x2")
