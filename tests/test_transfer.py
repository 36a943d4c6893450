"""The transfer report: differences of seeds with themselves, and command lines that differ in nothing but the start."""

import argparse
import json

import numpy as np
import pytest
import scipy.stats

from speechlm_jax import transfer


def seeds(scratch: list[float], pretrained: list[float]) -> list[dict]:
    return [
        {"scratch": {"score": one}, "pretrained": {"score": other}}
        for one, other in zip(scratch, pretrained, strict=True)
    ]


@pytest.mark.parametrize("count", [2, 3, 10])
def test_the_interval_is_that_of_a_paired_t_test(count):
    scratch, pretrained = np.random.default_rng(count).uniform(0.2, 0.8, (2, count)).tolist()
    found = transfer.compared(seeds(scratch, pretrained))
    wanted = scipy.stats.ttest_rel(pretrained, scratch).confidence_interval(0.95)
    assert found["interval"] == pytest.approx([wanted.low, wanted.high], rel=1e-3)
    assert found["mean_difference"] == pytest.approx(np.mean(pretrained) - np.mean(scratch))
    assert [seed["difference"] for seed in found["seeds"]] == pytest.approx(np.subtract(pretrained, scratch).tolist())


def test_runs_of_a_seed_differ_in_their_start_alone():
    verbs = transfer._verbs(argparse.Namespace(seeds=2, pretraining_steps=None, steps=7))
    for seed in range(2):
        scratch, pretrained = ([*verbs[f"{start}-{seed}"]] for start in ("scratch", "pretrained"))
        scratch.remove("--gin.Recipe.finetune=None")
        assert [word.replace("scratch", "pretrained") for word in scratch] == pretrained
        assert f"--gin.Recipe.seed={seed}" in pretrained and "--gin.Recipe.steps=7" in pretrained


def test_one_seed_has_no_interval():
    assert transfer.compared(seeds([0.5], [0.4]))["interval"] is None


def test_the_table_tells_every_seed_and_the_mean():
    runs = [
        {start: {"score": score, "interval": [score - 0.1, score + 0.1]} for start, score in pair.items()}
        for pair in ({"scratch": 0.6, "pretrained": 0.4}, {"scratch": 0.7, "pretrained": 0.6})
    ]
    summary = {"task": "task/split", "metric": "ctc/wer", **transfer.compared(runs)}
    out = transfer.table(json.loads(json.dumps(summary))).splitlines()
    assert out[2].split() == ["0", "60.0%", "50.0", "to", "70.0", "40.0%", "30.0", "to", "50.0", "-20.0%"]
    assert out[4].split()[:2] == ["mean", "-15.0%"] and out[4].endswith("to 48.5 over seeds")
