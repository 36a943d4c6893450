"""Heads by name, those of somebody's own among them."""

import dataclasses
import sys

import pytest
from inference import untrained

from speechlm_jax import checkpoints
from speechlm_jax.inference import loading
from speechlm_jax.losses import heads, targets

HEAD = """
def weights(batch):
    return batch.segments.weights


def totals(outputs, batch):
    return 0 * batch.segments.weights
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder that the command is run in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    for name in [name for name in sys.modules if name.split(".")[0] in ("own_losses", "evil")]:
        del sys.modules[name]


def test_a_head_of_ones_own_is_found_in_the_folder(here):
    (here / "own_losses").mkdir()
    (here / "own_losses" / "nothing.py").write_text(HEAD)
    found = heads.load(["targets", "own_losses.nothing"])
    assert found["targets"] is targets and list(found) == ["targets", "own_losses.nothing"]
    assert callable(found["own_losses.nothing"].weights)


def test_one_that_is_not_there_or_is_none_is_told(here):
    with pytest.raises(ValueError, match=r"importing the loss head 'own_losses\.other'.*own_losses/other\.py in this"):
        heads.load(["own_losses.other"])
    (here / "own_losses").mkdir()
    (here / "own_losses" / "half.py").write_text(HEAD.replace("def totals", "def sums"))
    with pytest.raises(ValueError, match=r"found none named totals in .*half\.py"):
        heads.load(["own_losses.half"])
    (here / "own_losses" / "wanting.py").write_text("import a_package_that_nobody_has\n")
    with pytest.raises(ModuleNotFoundError, match="a_package_that_nobody_has"):
        heads.load(["own_losses.wanting"])


@pytest.mark.slow
def test_a_checkpoint_runs_no_head_that_it_names(here):
    untrained.write(here / "run")
    (here / "evil").mkdir()
    (here / "evil" / "head.py").write_text("open('ran', 'w').close()\n" + HEAD)
    saved = loading.load(str(here / "run"), rows=1)
    meta = {
        "vocabulary": saved.vocabulary.hash,
        "model": dataclasses.asdict(saved.model),
        "data": dataclasses.asdict(saved.data),
        "losses": {"targets": 1.0, "evil.head": 1.0},
    }
    kept = checkpoints.Folder(here / "run")
    kept.save(2, {"params": saved.params}, stream={}, meta=meta)
    kept.close()
    loaded = loading.load(str(here / "run"), rows=1)
    assert loaded.step == 2 and list(loaded.heads) == ["targets"] and not (here / "ran").exists()
