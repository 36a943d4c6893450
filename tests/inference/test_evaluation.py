"""Scores: the same however many processes compute them, and honest about text that was cut off."""

import dataclasses
import json
import os
import re
import socket
import subprocess
import sys
from typing import NamedTuple

import numpy as np
import process_group
import pytest
import seqio
import tiny_evaluation
import tiny_text

from speechlm_jax import cli, endings, label_metrics, preemption, vocabulary
from speechlm_jax.data import features, sources
from speechlm_jax.inference import evaluation


@pytest.fixture(scope="module")
def words(tmp_path_factory) -> vocabulary.Vocabulary:
    path = tmp_path_factory.mktemp("vocabulary") / vocabulary.FILE
    return vocabulary.train(tiny_text.corpus(), path, 700)


@pytest.fixture(scope="module")
def alone(words) -> dict:
    found = tiny_evaluation.scores(words, shown=2)
    return {**found, "shown": json.loads(json.dumps(tiny_evaluation.looks(found["shown"])))}


def test_every_example_is_scored_once(alone):
    assert alone["examples"] == tiny_evaluation.RECORDS and alone["skipped"] == 0
    assert alone["wer_words"] == 3 * tiny_evaluation.RECORDS
    assert alone["loss/targets"] > 0 and alone["loss/ctc"] > 0 and "loss/masked_tokens" not in alone


class Kept(NamedTuple):
    """Of a model without a CTC head."""

    scores: dict
    told: list
    """What was kept of each example, when all were scored."""


@pytest.fixture(scope="module")
def without_ctc(words) -> Kept:
    told, choose = [], evaluation.looking.choose
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(evaluation.looking, "choose", lambda *given: told.extend(given[0]) or choose(*given))
        return Kept(tiny_evaluation.scores(words, ctc=False), told)


@pytest.mark.slow
def test_recordings_are_not_kept_of_what_is_not_looked_into(without_ctc):
    assert len(without_ctc.told) == tiny_evaluation.RECORDS
    assert not any("audio" in one.example for one in without_ctc.told)


@pytest.mark.slow
def test_a_ctc_head_that_was_not_trained_has_no_score(alone, without_ctc):
    assert "ctc/wer" in alone and "ctc_prediction" in alone["samples"][0]
    found = without_ctc.scores
    assert "wer" in found and "ctc/wer" not in found and "ctc_prediction" not in found["samples"][0]


@pytest.mark.slow
def test_a_claim_is_judged_by_the_head_and_not_by_what_the_decoder_writes(words):
    found = tiny_evaluation.scores(words, claims=True)
    shares = tiny_evaluation.shares(words)
    truth = [bool(example["claim"][0] > 0) for example, _ in shares]
    held = [share for _, share in shares]
    assert found["examples"] == tiny_evaluation.RECORDS == len(shares) and 0 < sum(truth) < len(truth)
    right = [(share > 0.5) == true for share, true in zip(held, truth, strict=True)]
    assert found["accuracy"] == found["hits/matching"] == pytest.approx(np.mean(right))
    assert found["match/accuracy_examples"] == sum(truth)
    assert found["auc"] == pytest.approx(label_metrics.auc(truth, held)["auc"])
    assert found["auc_low"] <= found["auc"] <= found["auc_high"]
    wanted = -np.mean([np.log(share if true else 1 - share) for share, true in zip(held, truth, strict=True)])
    assert found["loss/matching"] == pytest.approx(wanted, rel=1e-4)
    assert {one["prediction"] for one in found["samples"]} <= {"match", "mismatch"}


@pytest.mark.slow
def test_claims_have_losses_alone_where_the_model_does_not_match(words, capsys):
    found = tiny_evaluation.scores(words, claims=True, matching=False)
    assert "its metrics are left out: the model was trained with no head" in capsys.readouterr().err
    assert "accuracy" not in found and found["loss/targets"] > 0


@pytest.mark.slow
def test_what_an_example_weighs_does_not_change_how_likely_it_is(words, alone):
    found = tiny_evaluation.scores(words, weights=(4.0, 1.0))
    assert found["log_likelihood"] == pytest.approx(alone["log_likelihood"], rel=1e-5) and found["wer"] == alone["wer"]


@pytest.mark.slow
def test_an_example_that_weighs_nothing_is_in_no_score(words):
    found = tiny_evaluation.scores(words, weights=(1.0, 0.0))
    assert found["wer_words"] == 3 * tiny_evaluation.RECORDS / 2 and found["loss/targets"] > 0


@pytest.mark.slow
def test_too_much_that_is_bad_is_told_in_place_of_scores(words):
    small = dataclasses.replace(tiny_evaluation.ROW, targets=4)
    found = tiny_evaluation.scores(words, row=small)
    assert set(found) == {"not_scored"}
    assert re.search(r"could not be used, \d+ different ones; the budget is 0", found["not_scored"])


def test_token_losses_have_perplexities_and_hits_have_intervals(alone):
    assert alone["perplexity/targets"] == pytest.approx(np.exp(alone["loss/targets"]))
    assert alone["hits/targets_low"] <= alone["hits/targets"] <= alone["hits/targets_high"]
    assert "perplexity/ctc" not in alone


@pytest.mark.slow
def test_text_that_was_cut_off_is_counted(words, alone):
    short = tiny_evaluation.scores(words, decode_steps=1)
    assert 0 < short["cut_off"] <= tiny_evaluation.RECORDS
    assert alone["cut_off"] <= short["cut_off"]


@pytest.mark.slow
def test_whoever_is_asked_before_each_batch_may_end_an_evaluation(words):
    asked = []

    def stop():
        asked.append(None)
        if len(asked) == 2:
            raise preemption.Preempted

    with pytest.raises(preemption.Preempted):
        tiny_evaluation.scores(words, between=stop)
    assert len(asked) == 2


@pytest.mark.slow
def test_processes_that_evaluate_together_have_the_scores_of_one(words, alone):
    with socket.create_server(("localhost", 0)) as listener:
        port = listener.getsockname()[1]
    told = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(cli.ROOT), str(cli.ROOT / "tests")]),
        "XLA_FLAGS": os.environ["XLA_FLAGS"].replace("device_count=8", "device_count=2"),
        "SPEECHLM_COORDINATOR": f"localhost:{port}",
        "SPEECHLM_PROCESSES": "2",
    }
    command = [sys.executable, str(cli.ROOT / "tests" / "tiny_evaluation.py"), words.path]
    group = [
        subprocess.Popen(
            command, env={**told, "SPEECHLM_PROCESS_ID": str(number)}, stdout=subprocess.PIPE, text=True, cwd=cli.ROOT
        )
        for number in range(2)
    ]
    found = [json.loads(out.strip().splitlines()[-1]) for out, _ in process_group.said(group, 250)]
    assert found[0] == found[1]
    assert found[0].keys() == alone.keys()
    for name, value in alone.items():
        assert found[0][name] == (pytest.approx(value, rel=1e-4) if isinstance(value, float) else value), name


def test_a_metric_that_does_not_take_what_it_would_be_given_is_told_with_its_task():
    task = seqio.Task(
        "evaluation_strange",
        source=sources.SequenceSource({"test": [{"id": "a", "text": "a b"}]}),
        output_features=features.OUTPUT_FEATURES,
        preprocessors=[],
        metric_fns=[lambda t, p: {}],
    )
    with pytest.raises(ValueError, match=r"scoring task 'evaluation_strange': .*targets.*predictions"):
        evaluation.check_metrics(task)


def told_metric(metric) -> seqio.Task:
    return seqio.Task(
        "evaluation_told",
        source=sources.SequenceSource({"test": [{"id": "a", "text": "a b"}]}),
        output_features=features.OUTPUT_FEATURES,
        preprocessors=[],
        metric_fns=[metric],
    )


def test_a_metric_that_gives_no_scores_is_named():
    def praise(targets, predictions):
        return "great"

    with pytest.raises(
        ValueError, match=r"task 'evaluation_told': .* of its metric praise, found 'great'\. Have it ret"
    ):
        evaluation.run_metrics(told_metric(praise), ["a"], ["a"])


def test_a_metric_that_fails_is_named_behind_what_it_says(capsys):
    def fall(targets, predictions):
        raise ValueError("no such word")

    with pytest.raises(ValueError, match="no such word") as failed:
        evaluation.run_metrics(told_metric(fall), ["a"], ["a"])
    assert endings.told(failed.value, "speechlm evaluate") == endings.MISTAKE
    told = capsys.readouterr().err
    assert told.endswith("no such word. That was the metric fall of the task 'evaluation_told'.\n")
