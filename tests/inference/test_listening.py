"""A listener writes down recordings, whatever stands beside them, and says how much of what is spoken it mishears."""

import numpy as np
import pytest
import small_run

from speechlm_jax import cli, vocabulary
from speechlm_jax.inference import listening, loading, speaking

LONG = 16_000 * 60


@pytest.fixture(scope="module")
def recogniser(tmp_path_factory) -> loading.Loaded:
    folder = tmp_path_factory.mktemp("run")
    small_run.write(folder)
    recipe = f"--gin_file={folder}/recipe.gin"
    assert cli.main(["data", recipe, "--train_vocabulary=460"]) == 0
    assert cli.main(["train", recipe, "--gin.Recipe.steps=1", "--gin.Recipe.evaluation=None"]) == 0
    return loading.load(str(folder / "run"), rows=1)


def noise(seed: int, samples: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 3000, samples).astype(np.int16)


@pytest.mark.slow
def test_each_recording_is_written_down_by_itself_and_what_fits_no_row_is_not_heard(recogniser):
    listener = listening.Listener(recogniser)
    recordings = [noise(1, 9000), noise(2, LONG), noise(3, 14_000), noise(4, 0)]
    heard = listener(recordings, ["en"] * 4)
    assert heard[1] == heard[3] == "" and heard[0] and heard[2]
    assert heard[0] == listener([recordings[0]], ["en"])[0] and heard[2] == listener([recordings[2]], ["en"])[0]


@pytest.mark.slow
def test_what_is_misheard_is_counted_for_what_was_spoken_and_for_the_recordings(recogniser, monkeypatch):
    listener, words = listening.Listener(recogniser), recogniser.vocabulary
    said = {9000: "red green", 5000: "red blue"}
    monkeypatch.setattr(
        listening.Listener, "__call__", lambda self, recordings, codes: [said[len(samples)] for samples in recordings]
    )
    inputs = np.array([words.token("<task:speak>"), words.language("en"), vocabulary.EOS])
    example = {"id": b"one", "inputs": inputs, "targets_pretokenized": b"red green", "target_audio": noise(0, 9000)}
    found = listener.scores([speaking.Spoken(example, noise(1, 5000), cut=False)], {words.language("en"): "en"})
    assert found["heard/wer"] == 0.5 and found["heard_recordings/wer"] == 0.0
    (sample,) = found["samples"]
    assert sample == {"id": "one", "target": "red green", "heard": "red blue", "heard_recordings": "red green"}
    # The language stands where the task has it.
    behind = {**example, "inputs": np.array([words.token("<task:speak>"), vocabulary.EOS, words.language("en")])}
    again = listener.scores([speaking.Spoken(behind, noise(1, 5000), cut=False)], {words.language("en"): "en"})
    assert again == found
    assert found["heard/wer_words"] == 2 and found["heard/cer"] > 0 and "heard/wer_low" in found


@pytest.mark.slow
def test_what_is_in_no_language_of_the_recogniser_is_not_listened_to(recogniser, capsys):
    listener, words = listening.Listener(recogniser), recogniser.vocabulary
    inputs = np.array([words.token("<task:speak>"), words.language("en"), vocabulary.EOS])
    example = {"id": b"one", "inputs": inputs, "targets_pretokenized": b"red", "target_audio": noise(0, 9000)}
    spoken = [speaking.Spoken(example, noise(1, 5000), cut=False)]
    assert listener.scores(spoken, {words.language("en"): "tlh"}) == {}
    assert listener.scores(spoken, {}) == {}
    told = capsys.readouterr().err
    assert "knows no tlh" in told and "knows no text without a language" in told
