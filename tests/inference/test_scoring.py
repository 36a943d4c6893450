"""Which tasks a checkpoint brings with it."""

import sys

import pytest

from speechlm_jax.data import config
from speechlm_jax.inference import loading, scoring


def test_the_modules_of_a_stranger_s_checkpoint_are_not_run_unless_they_are_named(tmp_path, monkeypatch, words_path):
    (tmp_path / "strange_tasks.py").write_text("raise RuntimeError('it ran')\n")
    monkeypatch.chdir(tmp_path)
    data = config.Data(task_modules=("tasks.embedded", "strange_tasks"), vocabulary=str(words_path))
    nothing = dict.fromkeys(loading.Loaded._fields)
    loaded = loading.Loaded(**nothing | {"folder": "runs/theirs", "data": data})
    with pytest.raises(
        ValueError, match=r"scoring runs/theirs: .* of strange_tasks, .*Add --task_module=strange_tasks"
    ):
        scoring.register(loaded, scoring.Examples(names=["x"], split="test"))
    assert "strange_tasks" not in sys.modules
    with pytest.raises(RuntimeError, match="it ran"):
        scoring.register(loaded, scoring.Examples(names=["x"], split="test", task_modules=["strange_tasks"]))
