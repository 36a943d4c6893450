"""Scores: the same however many processes compute them, and honest about text that was cut off."""

import json
import os
import socket
import subprocess
import sys

import pytest
import tiny_evaluation
import tiny_text

from speechlm_jax import cli, vocabulary


@pytest.fixture(scope="module")
def words(tmp_path_factory) -> vocabulary.Vocabulary:
    path = tmp_path_factory.mktemp("vocabulary") / vocabulary.FILE
    return vocabulary.train(tiny_text.corpus(), path, 700)


@pytest.fixture(scope="module")
def alone(words) -> dict:
    return tiny_evaluation.scores(words)


def test_every_example_is_scored_once(alone):
    assert alone["examples"] == tiny_evaluation.RECORDS and alone["skipped"] == 0
    assert alone["wer_words"] == 3 * tiny_evaluation.RECORDS
    assert alone["loss/targets"] > 0 and alone["loss/ctc"] > 0 and "loss/masked_tokens" not in alone


@pytest.mark.slow
def test_a_claim_is_judged_by_the_head_and_not_by_what_the_decoder_writes(words):
    found = tiny_evaluation.scores(words, claims=True)
    assert found["examples"] == tiny_evaluation.RECORDS == found["accuracy_examples"]
    assert found["accuracy"] == found["hits/matching"] and found["loss/matching"] > 0
    assert 0 <= found["auc_low"] <= found["auc"] <= found["auc_high"] <= 1
    matches = found["match/accuracy_examples"]
    assert found["auc_positives"] == matches == tiny_evaluation.RECORDS - found["auc_negatives"]
    assert {one["prediction"] for one in found["samples"]} <= {"match", "mismatch"}


def test_claims_and_a_model_that_does_not_match_are_an_error(words):
    with pytest.raises(ValueError, match=r"does not say whether they match.*Model.matching = True"):
        tiny_evaluation.scores(words, claims=True, matching=False)


@pytest.mark.slow
def test_text_that_was_cut_off_is_counted(words, alone):
    short = tiny_evaluation.scores(words, decode_steps=1)
    assert 0 < short["cut_off"] <= tiny_evaluation.RECORDS
    assert alone["cut_off"] <= short["cut_off"]


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
    try:
        found = [json.loads(process.communicate(timeout=250)[0].strip().splitlines()[-1]) for process in group]
    finally:
        for process in group:
            process.kill()
    assert found[0] == found[1]
    assert found[0].keys() == alone.keys()
    for name, value in alone.items():
        assert found[0][name] == (pytest.approx(value, rel=1e-4) if isinstance(value, float) else value), name
