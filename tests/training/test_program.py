"""The program follows from the recipe alone, and does not grow with its depth."""

import builtins
import dataclasses

import jax
import numpy as np
import pytest
import rows

from speechlm_jax import batch, layout, memory, sharding
from speechlm_jax.data import config as data_config
from speechlm_jax.models import config as model_config
from speechlm_jax.planning import report, topology
from speechlm_jax.training import config, program

pytestmark = pytest.mark.slow

FSDP = layout.Layout(data=1, fsdp=-1)
ROW = batch.Row(audio_seconds=1.28, inputs=16, targets=16, segments=3)


def recipe(**model) -> config.Recipe:
    return config.Recipe(
        steps=10,
        data=data_config.Data(row=ROW, rows=8, vocabulary="/nowhere/vocabulary.model"),
        model=dataclasses.replace(rows.MODEL, **model),
    )


def test_the_step_compiles_with_every_file_of_data_out_of_reach(monkeypatch):
    # The mel filters are read from librosa's own code: let it in before the door shuts.
    jax.eval_shape(program.Program(recipe()).first_params)
    true_open = builtins.open

    def guarded(file, *arguments, **keywords):
        name = str(file)
        assert not name.endswith((".arecord", ".jsonl", ".gz", ".tsv", ".flac", ".wav", ".model")), name
        return true_open(file, *arguments, **keywords)

    monkeypatch.setattr(builtins, "open", guarded)
    made = program.Program(recipe())
    compiled = made.compile()
    assert compiled.cost_analysis()["flops"] > 0
    for shape, array in zip(jax.tree.leaves(made.rows()), jax.tree.leaves(batch.empty(ROW, 8)), strict=True):
        assert (shape.shape, shape.dtype) == (array.shape, array.dtype)


def test_the_compiled_step_takes_what_the_first_state_and_a_batch_are():
    made = program.Program(recipe())
    now = made.first_state(None)
    rows = jax.device_put(batch.empty(ROW, 8), jax.tree.map(lambda leaf: leaf.sharding, made.rows()))
    then, metrics = made.compile()(now, rows)
    assert int(then.step) == 1 and int(metrics.skipped) == 0
    assert np.isfinite(float(metrics.gradient_norm))


def test_program_size_does_not_grow_with_layers():
    few, many = (program.Program(recipe(encoder_layers=n, decoder_layers=n)).lower() for n in (6, 24))
    assert many.as_text().count("\n") <= 1.02 * few.as_text().count("\n")
    assert len(many.compile().as_text()) <= 1.1 * len(few.compile().as_text())


def test_program_size_does_not_grow_with_tasks():
    """The program is the same text for a mixture of two tasks and for one of twenty: it knows slots, not tasks."""
    few, many = (
        dataclasses.replace(
            recipe(), data=data_config.Data(row=ROW, rows=8, stream=data_config.Stream(mixture=mixture))
        )
        for mixture in ("two_tasks", "twenty_tasks")
    )
    assert program.Program(few).lower().as_text() == program.Program(many).lower().as_text()


def test_a_state_that_devices_cannot_hold_is_told_before_a_step_is_traced(monkeypatch):
    there = memory.of_device(jax.devices()[0])
    assert there
    made = program.Program(recipe(vocabulary_size=128 * (there // (128 * rows.MODEL.width))))
    monkeypatch.setattr(program.Program, "lower", None)
    with pytest.raises(ValueError, match=r"training with 8 rows, without.*needs [\d.]+ GB of each device, which has"):
        made.compile()


def test_a_step_whose_temporaries_have_no_room_is_told_with_what_to_change():
    there, small = memory.of_device(jax.devices()[0]), program.Program(recipe())
    assert there
    many = 8 * (there // (7 * small.held["batch"]))
    made = program.Program(dataclasses.replace(recipe(), data=dataclasses.replace(recipe().data, rows=many)))
    waiting = 5 * made.held["batch"]  # Of a step, and ahead of it.
    assert made.held["params"] + made.held["optimizer"] + waiting < there, "what lies there before a step has room"
    with pytest.raises(ValueError, match=rf"training with {many} rows needs .* To make it fit: fewer Data\.rows"):
        made.compile()


def test_a_step_that_the_compiler_of_a_device_refuses_is_told_with_what_to_change():
    many = dataclasses.replace(recipe(), data=dataclasses.replace(recipe().data, rows=2**18), layout=FSDP)
    made = program.Program(many, sharding.make_mesh(FSDP, topology.devices("v5e:2x2")))
    with (
        report.compiled_anew(),
        pytest.raises(ValueError, match=r"needs \d.* of each device, which has 16\.\d+ GB\. To"),
    ):
        made.compile()


def test_utilisation_is_of_the_peak_that_a_device_s_maker_publishes():
    made = program.Program(recipe(), sharding.make_mesh(layout.Layout(), topology.devices("v5e:2x2")))
    (operations, mfu) = made.utilisation(1000.0).values()
    assert operations == pytest.approx(made.flops * 1000 / 4) and mfu == pytest.approx(operations / 197e12)
    here = program.Program(recipe())
    assert here.flops == made.flops and here.utilisation(1.0) == {"model_flops_per_second": made.flops / 8}


def test_a_lane_without_room_is_not_in_the_program():
    whole = program.Program(recipe()).lower().as_text()
    text_only = dataclasses.replace(
        recipe(), data=data_config.Data(row=batch.Row(inputs=16, targets=16, segments=3), rows=8)
    )
    small = program.Program(text_only).lower().as_text()
    assert "xi16>" in whole and "xi16>" not in small
    assert small.count("\n") < 0.8 * whole.count("\n")


def test_rows_and_model_that_disagree_on_subsampling_are_an_error_that_names_both():
    with pytest.raises(ValueError, match="Row.subsampling = 4 and Model.subsampling = 2"):
        recipe(subsampling=2)


def test_a_row_whose_steps_of_speech_are_not_the_decoder_s_is_refused():
    row = dataclasses.replace(ROW, target_audio_seconds=1.28, reduction=2)
    with pytest.raises(ValueError, match=r"Row.reduction = 2 and SpeechOut.reduction = 4"):
        config.Recipe(
            data=data_config.Data(row=row),
            model=dataclasses.replace(rows.MODEL, speech_out=model_config.SpeechOut(reduction=4)),
        )


def test_the_plan_is_laid_out_like_the_state():
    made = program.Program(recipe())
    now = made.first_state(None)
    for planned, real in zip(jax.tree.leaves(made.plan), jax.tree.leaves(now), strict=True):
        assert planned.shape == real.shape and planned.sharding.is_equivalent_to(real.sharding, real.ndim)
