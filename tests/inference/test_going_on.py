"""A command that was ended goes on behind what it had done, and ends as if it had not been."""

import json

import pytest
import small_run
import tiny_evaluation
import tiny_text
import warm

from speechlm_jax import vocabulary
from speechlm_jax.inference import going_on, kept_batches


def test_lines_are_found_again_by_what_does_the_same_and_by_nothing_else(tmp_path):
    def interrupted():
        with going_on.Begun(tmp_path / "out.json", {"rows": 1}).opened() as out:
            print('"one"\n"cut o', end="", file=out)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert going_on.Begun(tmp_path / "out.json", {"rows": 2}).told == []
    again = going_on.Begun(tmp_path / "out.json", {"rows": 1})
    assert again.told == ["one"]
    with again.opened() as out:
        print('"two, of\u2028a strange end"', file=out)
    assert going_on.Begun(tmp_path / "out.json", {"rows": 1}).told == ["one", "two, of\u2028a strange end"]
    assert again.read() == ["one", "two, of\u2028a strange end"]
    again.remove()
    assert not list(tmp_path.iterdir())


def test_lines_that_are_damaged_or_being_written_are_told(tmp_path):
    begun = going_on.Begun(tmp_path / "out.json", 1)
    with begun.opened() as out:
        print("no JSON", file=out, flush=True)
        with pytest.raises(ValueError, match="the same command is writing it"), begun.opened():
            pass
    with pytest.raises(ValueError, match=r"going on behind .*out\.json\..*it is damaged .*Remove it"):
        going_on.Begun(tmp_path / "out.json", 1)


@pytest.mark.slow
@pytest.mark.parametrize("claims", [False, True])
def test_an_evaluation_that_was_ended_scores_only_what_is_left(tmp_path, claims):
    words = vocabulary.train(tiny_text.corpus(), tmp_path / vocabulary.FILE, 700)
    whole = tiny_evaluation.scores(words, claims=claims)
    asked = 0

    def stop():
        nonlocal asked
        asked += 1
        if asked == 2:
            raise KeyboardInterrupt

    def interrupted():
        with going_on.Begun(tmp_path / "scores.json", "scores").opened() as out:
            tiny_evaluation.scores(words, claims=claims, between=stop, kept=kept_batches.Kept([], out))

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    again = going_on.Begun(tmp_path / "scores.json", "scores")
    assert len(again.told) == 1
    with again.opened() as out:
        found = tiny_evaluation.scores(words, claims=claims, kept=kept_batches.Kept(again.told, out))
    assert found == whole
    numbers = [line["batch"] for line in going_on.Begun(tmp_path / "scores.json", "scores").told]
    assert numbers == list(range(len(numbers))) and len(numbers) > 1


@pytest.mark.slow
def test_scores_of_a_command_that_is_killed_are_those_of_one_that_is_not(tmp_path):
    small_run.write(tmp_path)
    recipe = f"--gin_file={tmp_path}/recipe.gin"
    warm.run("data", recipe, "--train_vocabulary=460")
    warm.run("train", recipe, "--gin.Recipe.steps=3")
    words = [f"--checkpoint={tmp_path}/run", "--task=manifest", "--split=train", "--rows=1", "--beam=2"]
    warm.run("evaluate", *words, f"--json={tmp_path}/whole.json")
    begun = []
    for least in (2, 8):
        process = warm.Process(["evaluate", *words, f"--json={tmp_path}/killed.json"])
        process.kill_once(lambda least=least: _done(tmp_path) >= least)
        begun.append(_done(tmp_path))
    assert 0 < begun[0] < begun[1] and not (tmp_path / "killed.json").exists()
    warm.run("evaluate", *words, f"--json={tmp_path}/killed.json")
    killed, whole = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("killed", "whole"))
    assert {**killed, "seconds": 0} == {**whole, "seconds": 0} and not list(tmp_path.glob("*.part"))
    assert whole["decoding"]["beam"] == 2 and "Recipe" in whole["recipe"] and "whisper-normalizer" in whole["versions"]


def _done(folder):
    return sum(part.read_bytes().count(b"\n") for part in folder.glob("killed.json.*.part"))
