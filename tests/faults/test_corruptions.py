"""Whatever happens to a file of a checkpoint, it is found, and the run goes on from the one before."""

import shutil

import corruption
import numpy as np
import pytest
import tiny_model

from speechlm_jax import checkpoints

pytestmark = pytest.mark.faults
TIMES = 42
"""Each way, on files in turn."""
META = {"vocabulary": "abc123", "recipe": "Recipe.steps = 10", "model": {"width": 16}}


@pytest.fixture(scope="module")
def run():
    return tiny_model.Run((2, 2, 2))


@pytest.fixture(scope="module")
def saved(run, tmp_path_factory):
    """A folder with steps 1 and 2, and the numbers of the first."""
    folder = tmp_path_factory.mktemp("saved")
    keeper = checkpoints.Folder(folder)
    first = None
    for number in (1, 2):
        run.go()
        first = tiny_model.values(run.state) if first is None else first
        keeper.save(number, run.state, stream={"shards": {"0": {"draws": number}}}, meta=META)
    keeper.close()
    return folder, first


@pytest.mark.parametrize("how", [*corruption.WAYS, "empty step"])
def test_a_run_goes_on_from_the_step_before(run, saved, tmp_path, faults, how):
    random = np.random.default_rng(len(how))
    names = corruption.files(saved[0] / "checkpoints" / "2")
    found = tried = 0
    for number in range(TIMES if how != "empty step" else 1):
        folder = tmp_path / str(number)
        shutil.copytree(saved[0], folder)
        step = folder / "checkpoints" / "2"
        if how == "empty step":
            shutil.rmtree(step)
            step.mkdir()
        elif not corruption.corrupt(step, names[number % len(names)], how, random):
            continue
        tried += 1
        keeper = checkpoints.Folder(folder)
        restored = keeper.restore(run.plan)
        keeper.close()
        same = all(map(np.array_equal, tiny_model.values(restored.state).values(), saved[1].values()))
        found += restored.step == 1 and same and (folder / "checkpoints" / "2.broken").exists()
        shutil.rmtree(folder)
    faults.count("corruptions", tried=tried, detected=found)
    assert found == tried and tried >= (1 if how == "empty step" else 0.8 * TIMES)
