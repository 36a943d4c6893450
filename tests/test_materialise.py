"""Rows that are written ahead: the same run from them, without TensorFlow, whatever it is stopped for."""

import json
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
import small_run

from speechlm_jax import batch, cli
from speechlm_jax.data import config, stream, written_rows

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    made = tmp_path_factory.mktemp("materialise")
    small_run.write(made)
    assert cli.main(["data", f"--gin_file={made}/recipe.gin", "--train_vocabulary=460"]) == 0
    assert cli.main(train(made, "live")) == 0
    assert cli.main(materialise(made)) == 0
    return made


def train(folder, run, *bindings):
    return [
        "train",
        f"--gin_file={folder}/recipe.gin",
        "--gin.Recipe.evaluation=None",
        f"--gin.Recipe.run_dir={folder}/{run}",
        *bindings,
    ]


def materialise(folder, *more, out="rows"):
    return ["materialise", f"--gin_file={folder}/recipe.gin", f"--out={folder}/{out}", "--workers=2", *more]


WITHOUT_TENSORFLOW = """
import sys
for name in ("tensorflow", "seqio", "tensorflow_datasets", "tensorflow_text"):
    sys.modules[name] = None
from speechlm_jax import cli
sys.exit(cli.main(sys.argv[1:]))
"""


def run_without_tensorflow(command):
    """In a process that cannot import it."""
    done = subprocess.run([sys.executable, "-c", WITHOUT_TENSORFLOW, *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_a_run_on_written_rows_is_the_run_on_the_tasks_bit_for_bit_and_needs_no_tensorflow(folder):
    run_without_tensorflow(train(folder, "written", f"--gin.Stream.written={folder}/rows"))
    assert small_run.losses(folder / "written") == small_run.losses(folder / "live")
    assert list((folder / "written" / "tensorboard").iterdir())


@pytest.mark.parametrize(("begun", "goes_on"), [("written", "tasks"), ("live", "rows")])
def test_a_run_may_change_between_tasks_and_written_rows(folder, begun, goes_on):
    """From its second step on; it says that it goes on, and is the run that changed nothing."""
    shutil.copytree(folder / begun, folder / f"on_{goes_on}")
    for step in (4, 6):
        shutil.rmtree(folder / f"on_{goes_on}" / "checkpoints" / str(step))
    command = train(folder, f"on_{goes_on}")
    if goes_on == "tasks":
        assert cli.main(command) == 0
    else:
        assert "going on from step 2" in run_without_tensorflow([*command, f"--gin.Stream.written={folder}/rows"])
    assert small_run.losses(folder / f"on_{goes_on}") == small_run.losses(folder / "live")


def test_what_is_written_goes_on_where_it_was_cut_off(folder):
    """Of one shard a file is half written, of another it is gone; more steps are asked for than before."""
    two = "--steps_per_file=2"
    assert cli.main(materialise(folder, "--steps=4", two, "--workers=1", out="cut")) == 0
    whole = {path.name: path.read_bytes() for path in (folder / "cut").glob("*.array_record")}
    info = written_rows.read_info(folder / "cut")
    assert info.steps == 4 and set(info.files) == set(whole) and len(whole) == 16
    names = sorted(whole)
    (folder / "cut" / names[-1]).write_bytes(whole[names[-1]][:100])
    (folder / "cut" / names[0]).unlink()
    kept = folder / "cut" / names[1]
    stands = kept.stat().st_ino
    assert cli.main(materialise(folder, "--steps=6", two, out="cut")) == 0
    found = {path.name: path.read_bytes() for path in (folder / "cut").glob("*.array_record")}
    assert {name: found[name] for name in whole} == whole and len(found) == 24
    assert kept.stat().st_ino == stands, "a whole file behind one that was gone is written again"
    assert written_rows.read_info(folder / "cut").steps == 6
    assert cli.main(materialise(folder, "--steps=3", two, out="cut")) == 0
    assert written_rows.read_info(folder / "cut").steps == 6


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("--gin.Recipe.seed=3", "seed: 0 -> 3"),
        ("--gin.Row.targets=40", "row.targets: 48 -> 40"),
        ("--gin.Stream.data_shards=4", "data_shards: 8 -> 4"),
        ("--gin.Manifest.objectives=(('recognition', 1.0),)", "manifest.objectives: [['recognition', 2.0]"),
        ("--gin.Recipe.steps=9", "has rows for 6 steps, wanted 9"),
    ],
)
def test_rows_of_another_recipe_are_refused(folder, change, told, capsys):
    name = change.partition("=")[0].rpartition(".")[2]
    assert cli.main(train(folder, name, f"--gin.Stream.written={folder}/rows", change)) == 2
    assert told in capsys.readouterr().err


def test_a_folder_of_other_rows_is_not_written_into(folder, capsys):
    assert cli.main(materialise(folder, "--gin.Recipe.seed=3")) == 2
    assert "what was begun there is of other rows: seed: 0 -> 3" in capsys.readouterr().err
    assert cli.main(["materialise", f"--gin_file={folder}/recipe.gin", f"--out={folder}"]) == 2
    assert "it is not empty, and no rows were begun there" in capsys.readouterr().err


def test_a_damaged_file_is_named(folder, capsys):
    shutil.copytree(folder / "rows", folder / "damaged")
    name = sorted(path.name for path in (folder / "damaged").glob("*.array_record"))[3]
    (folder / "damaged" / name).write_bytes(b"nothing of the kind")
    assert cli.main(train(folder, "damaged_run", f"--gin.Stream.written={folder}/damaged")) == 2
    assert f"{name}[0] cannot be read" in capsys.readouterr().err


def test_a_host_reads_its_own_shards_alone(folder):
    """In the middle of the run, the rows that the stream makes there."""
    info = written_rows.read_info(folder / "rows")
    told = info.fingerprint
    row = batch.Row(**told["row"])
    data = config.Data(row=row, stream=config.Stream(mixture="manifest", written=str(folder / "rows")))
    live = stream.Stream(data.stream, row, rows=told["rows"], seed=told["seed"], shards=[2, 5])
    for _ in range(4):
        wanted = next(live)
    live.close()
    live.free()
    found = written_rows.WrittenRows(data, info, shards=[2, 5], done=3)
    step = next(found)
    assert step.state == json.loads(json.dumps(wanted.state)) and sorted(step.state) == ["2", "5"]
    for lane, other in zip(step.batch, wanted.batch, strict=True):
        for array, live_array in zip(lane or (), other or (), strict=True):
            np.testing.assert_array_equal(array, live_array)
    found.close()
    with pytest.raises(StopIteration):
        next(found)


def test_the_records_are_rows_and_where_their_shard_stands():
    row = batch.Row(inputs=4, targets=3, segments=2)
    rows = batch.empty(row, 2)
    rows.targets.tokens[:] = np.arange(6).reshape(2, 3)
    record = written_rows.encode(rows, {"draws": 5})
    found, state = written_rows.decode(record, batch.empty(row, 2))
    assert state == {"draws": 5} and found.audio is None
    np.testing.assert_array_equal(found.targets.tokens, rows.targets.tokens)
    with pytest.raises(ValueError, match="wanted"):
        written_rows.decode(record + b"0", batch.empty(row, 2))
