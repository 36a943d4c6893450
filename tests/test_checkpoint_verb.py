"""Verb `checkpoint`: what it tells of a run's files, and what it removes of them."""

import fcntl
import json
import os
import pathlib
import re
import shutil

import jax.numpy as jnp
import pytest
import tiny_model

from speechlm_jax import checkpoint_meta, checkpoint_steps, checkpoints, cli, parameters

META = {"vocabulary": "abc123", "recipe": "Recipe.steps = 10\nRecipe.seed = 1", "model": {"width": 16}}


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> pathlib.Path:
    """A run with steps 1, 2 and 3."""
    folder = tmp_path_factory.mktemp("run")
    run, keeper = tiny_model.Run((2, 2, 2)), checkpoints.Folder(folder)
    for number in (1, 2, 3):
        run.go()
        keeper.save(number, run.state, stream={"0": {"draws": number}}, meta=META)
    keeper.close()
    return folder


@pytest.fixture
def run(saved, tmp_path) -> pathlib.Path:
    shutil.copytree(saved, tmp_path / "run")
    return tmp_path / "run"


def told(capsys, *words: object, code: int = 0) -> str:
    assert cli.main(["checkpoint", *map(str, words)]) == code
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return out if code == 0 else out + err


def turn_a_bit(step: pathlib.Path) -> None:
    path = max((step / "state").rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else -1)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def test_inspect_tells_every_array_of_the_newest_step_or_of_the_one_that_is_named(saved, tmp_path, capsys):
    said = told(capsys, "inspect", saved, f"--json={tmp_path}/told.json")
    lines = said.splitlines()
    assert [line.split()[1] for line in lines if line.startswith("  step ")] == ["1", "2", "3"]
    assert (
        re.search(r"^step 3, written with .*jax \d", said, re.MULTILINE)
        and "mesh " in said
        and "vocabulary abc123" in said
    )
    leaves = checkpoint_meta.read(checkpoint_steps.find(saved))["leaves"]
    table = next(line for line in lines if "params/text/table_VD" in line)
    named = leaves["params/text/table_VD"]
    assert table.split() == ["params/text/table_VD", named["array"], *(word or "-" for word in named["axes"])]
    assert sum(line.startswith("    ") for line in lines) == len(leaves)
    assert json.loads((tmp_path / "told.json").read_text())["step"] == 3
    assert "step 1, written with" in told(capsys, "inspect", saved / "checkpoints" / "1")


def test_verify_names_each_fault_and_ends_with_a_code_of_its_own(run, capsys):
    assert told(capsys, "verify", run).splitlines() == [f"step {step}: as it was written" for step in (3, 2, 1)]
    turn_a_bit(run / "checkpoints" / "2")
    said = told(capsys, "verify", run, code=2)
    assert "step 2: 1 files are not\n  state/" in said and "bytes are not those that were written" in said
    assert "step 1: as it was written" in said and "1 of 3 steps are not as they were written" in said
    assert told(capsys, "verify", run / "checkpoints" / "3") == "step 3: as it was written\n"


def test_a_step_under_the_number_of_another_is_told_and_not_gone_on_from(run, capsys):
    shutil.copytree(run / "checkpoints" / "2", run / "checkpoints" / "7")
    assert "step 7: 1 files are not\n  meta/metadata: it is of step 2" in told(capsys, "verify", run, code=2)
    assert checkpoint_steps.find(run).name == "3"
    shutil.copytree(run / "checkpoints" / "2", run / "by_name")
    assert not checkpoint_steps.faults(checkpoint_steps.absolute(run / "by_name"))


def test_diff_tells_arrays_recipes_and_numbers(saved, tmp_path, capsys):
    keeper = checkpoints.Folder(tmp_path / "other")
    restored = checkpoints.Folder(saved).restore(tiny_model.Run((2, 2, 2)).plan, step=3)
    leaves = {path: parameters.array(leaf) for path, leaf in parameters.by_path(restored.state).items()}
    changed = {path: array for path, array in leaves.items() if path != "params/text/table_VD"}
    biased = next(path for path in changed if path.startswith("params/"))
    changed[biased] = changed[biased] + 0.25
    changed["params/new"] = jnp.zeros(3)
    keeper.save(3, changed, stream={}, meta={**META, "recipe": "Recipe.steps = 12\nRecipe.seed = 1"})
    keeper.close()
    said = told(capsys, "diff", saved, tmp_path / "other", "--values")
    assert "missing: params/text/table_VD float32[" in said and "not wanted: params/new float32[3]" in said
    assert "-Recipe.steps = 10\n+Recipe.steps = 12\n" in said and "Recipe.seed" not in said
    assert f"{len(leaves) - 2} of {len(leaves) - 1} arrays are the same, bit for bit" in said
    assert f"  {biased}: differs by up to 0.25\n" in said
    assert "no difference but, perhaps, in their numbers" in told(capsys, "diff", saved, saved)


def test_prune_tells_what_would_go_and_removes_it_when_it_is_to(run, capsys):
    steps = run / "checkpoints"
    (steps / "9.broken").mkdir()
    (steps / "4.orbax-checkpoint-tmp-7").mkdir()
    turn_a_bit(steps / "3")
    said = told(capsys, "prune", run, "--keep=2")
    assert [line for line in said.splitlines() if line.startswith("would")] == [
        *("would remove 3", "would remove 4.orbax-checkpoint-tmp-7", "would remove 9.broken")
    ]
    assert len(list(steps.iterdir())) == 5
    assert "steps that stay: 1, 2" in told(capsys, "prune", steps, "--keep=2", "--remove")
    assert sorted(path.name for path in steps.iterdir()) == ["1", "2"]
    assert checkpoint_steps.find(run).name == "2"


def test_prune_removes_nothing_where_no_step_is_good_or_a_run_goes_on(run, capsys):
    holder = os.open(run, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    assert "another command is writing there" in told(capsys, "prune", run, "--keep=2", "--remove", code=2)
    os.close(holder)
    for step in (1, 2, 3):
        turn_a_bit(run / "checkpoints" / str(step))
    assert "nothing is removed" in told(capsys, "prune", run, "--keep=2", "--remove", code=2)
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["inspect", "nowhere"], "'nowhere' does not exist"),
        (["inspect", "{tmp}"], "found none, or none yet"),
        (["verify", "{tmp}"], "found no step"),
        (["prune", "{tmp}"], "found no steps in it"),
        (["prune", "{tmp}", "--keep=1"], "wanted --keep of 2 or more"),
        (["diff", "{tmp}"], "`diff` takes two checkpoints"),
        (["inspect", "{tmp}", "{tmp}"], "`diff` takes two checkpoints and the others one"),
        (["look", "{tmp}"], "invalid choice: 'look'"),
        ([], "arguments are required: action, path"),
    ],
)
def test_mistakes_are_told(words, message, tmp_path, capsys):
    assert message in told(capsys, *(word.replace("{tmp}", str(tmp_path)) for word in words), code=2)
