"""The page of results is what its script makes of the summaries that are kept."""

import sys

import pytest
import results

MACHINE = {"versions": {"jax": "0"}, "device": "cpu", "cpus": 2}


def test_the_page_is_what_is_kept():
    assert results.PAGE.read_text(encoding="utf-8") == results.page()


def test_a_summary_is_kept_without_the_path_of_its_checkpoint_and_with_few_scores(tmp_path, monkeypatch):
    task = {
        "metric": "accuracy",
        "score": 0.9,
        "interval": [0.8, 0.95],
        "baselines": {"constant": 0.5, "shallow": None},
        "examples": 60,
        "scores": {"accuracy": 0.9, "auc": 0.97, "f1": None, "loss/targets": 0.1},
    }
    unknown = {**task, "score": None, "interval": [None, None], "scores": {}}
    summary = {
        "checkpoint": "/a/run/checkpoints/7",
        "step": 7,
        "split": "test",
        "resumed": False,
        "cpu_seconds": 90.0,
        "tasks": {"hear": task, "match": unknown},
    }
    found = results.kept({**summary, **MACHINE})
    assert "checkpoint" not in found and found["tasks"]["hear"]["scores"] == {"auc": 0.97}

    monkeypatch.setattr(results, "KEPT", tmp_path)
    results.whole_files.write_json(tmp_path / "hearing.json", found)
    page = results.page()
    assert "## hearing\n\nStep 7, split `test`, 1.5 CPU minutes, jax 0, cpu (2 cores)." in page
    assert "0.800 to 0.950" in page


@pytest.mark.parametrize("text", [None, '{"tasks": ', '{"tasks": {}}', '{"seconds": 3}'])
def test_what_is_no_summary_is_refused_before_anything_is_kept(text, tmp_path, monkeypatch, capsys):
    if text is not None:
        (tmp_path / "summary.json").write_text(text)
    monkeypatch.setattr(results, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(sys, "argv", ["results.py", str(tmp_path)])
    with pytest.raises(SystemExit):
        results.main()
    assert f"{tmp_path}/summary.json: wanted the summary that" in capsys.readouterr().err
    assert not (tmp_path / "kept").exists()
