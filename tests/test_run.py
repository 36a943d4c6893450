"""The verbs one after the other, as a user calls them: vocabulary, training, going on, scores, transcripts."""

import json
import pathlib

import numpy as np
import pytest
import small_run
import soundfile

from speechlm_jax import cli, whole_files
from speechlm_jax.data import stream
from speechlm_jax.training import ledger, loop

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    made = tmp_path_factory.mktemp("run")
    small_run.write(made)
    assert cli.main(["data", f"--gin_file={made}/recipe.gin", "--train_vocabulary=460"]) == 0
    assert cli.main(["train", f"--gin_file={made}/recipe.gin"]) == 0
    return made


def test_a_run_that_stopped_goes_on_to_the_same_losses(folder):
    words = (f"--gin_file={folder}/recipe.gin", f"--gin.Recipe.run_dir={folder}/again")
    recipe = [*words, "--gin.Recipe.log_batches=True"]
    # The schedule needs the whole run's steps: the first life ends when its checkpoint of step 4 is made the last.
    assert cli.main(["train", *recipe]) == 0
    for later in (folder / "again" / "checkpoints").iterdir():
        if later.name.isdigit() and int(later.name) > 4:
            later.rename(folder / "set_aside")
    assert cli.main(["train", *recipe]) == 0
    assert small_run.losses(folder / "again") == small_run.losses(folder / "run")
    assert sorted(small_run.losses(folder / "run")) == [1, 2, 3, 4, 5, 6]
    lines = [json.loads(line) for line in (folder / "again" / "batches.jsonl").read_text().splitlines()]
    assert [line["batch"] for line in lines] == [1, 2, 3, 4, 5, 6, 5, 6]
    assert lines[4:6] == lines[6:] and len({str(line["links"]) for line in lines}) == 6
    assert all(len(line["links"]) == 8 for line in lines), "a link for each data shard"
    report = ledger.read(folder / "again")
    assert (report.lives, report.step) == (2, 6)
    assert report.seconds["lost"] > 0 and report.seconds["evaluation"] > 0 and 0 < report.goodput < 1


def test_an_evaluation_that_was_cut_off_is_done_when_the_run_goes_on(folder, capsys):
    shown = folder / "run" / "metrics.jsonl"
    before = shown.read_text()
    shown.write_text("".join(line for line in before.splitlines(keepends=True) if '"evaluation"' not in line))
    assert shown.read_text() != before
    assert cli.main(["train", f"--gin_file={folder}/recipe.gin"]) == 0
    lines = shown.read_text().splitlines(keepends=True)
    assert [line for line in lines if '"evaluation_again"' not in line] == before.splitlines(keepends=True)
    assert len(lines) == 1 + before.count("\n")
    capsys.readouterr()
    assert cli.main(["train", f"--gin_file={folder}/recipe.gin"]) == 0
    assert "has done its 6 steps" in capsys.readouterr().err


def test_the_missing_recording_is_told_once(folder):
    lines = (folder / "run" / "bad_records.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["lost"]


def test_a_changed_stream_is_refused_with_what_changed(folder, capsys):
    recipe = [f"--gin_file={folder}/recipe.gin", "--gin.Recipe.steps=8"]
    before = (folder / "run" / "recipe.gin").read_text()
    assert cli.main(["train", *recipe, "--gin.Stream.data_shards=4"]) == 2
    assert "data_shards: 8 -> 4" in capsys.readouterr().err
    assert (folder / "run" / "recipe.gin").read_text() == before


def test_a_run_that_is_done_says_so_before_it_reads_or_compiles(folder, capsys, monkeypatch):
    monkeypatch.setattr(stream, "Stream", None)
    monkeypatch.setattr(loop.program.Program, "compile", None)
    assert cli.main(["train", f"--gin_file={folder}/recipe.gin"]) == 0
    assert "has done its 6 steps" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("--gin.Model.width=48", "wanted float32[48"),
        ("--gin.Manifest.path={folder}/other.jsonl", "sources.manifest_recognition: "),
    ],
)
def test_a_run_that_is_done_with_another_model_or_other_data_is_not_what_is_asked_for(folder, capsys, change, told):
    lines = (folder / "manifest.jsonl").read_text().splitlines(keepends=True)
    (folder / "other.jsonl").write_text("".join(lines[:-1]))
    assert cli.main(["train", f"--gin_file={folder}/recipe.gin", change.format(folder=folder)]) == 2
    err = capsys.readouterr().err
    assert told in err and "has done its" not in err


def test_a_folder_that_another_command_trains_into_is_left_alone(folder, capsys):
    with whole_files.alone(folder / "run", "training into"):
        assert cli.main(["train", f"--gin_file={folder}/recipe.gin"]) == 2
    assert "run: another command is writing there. Wait for its end, or name another" in capsys.readouterr().err
    assert cli.main(["train", f"--gin_file={folder}/recipe.gin"]) == 0


def test_a_checkpoint_is_scored_on_a_split(folder):
    out = folder / "scores.json"
    words = ["evaluate", f"--checkpoint={folder}/run", "--task=manifest", "--split=test", f"--json={out}"]
    assert cli.main(words) == 0
    scores = json.loads(out.read_text())["scores"]
    assert set(scores) == {"manifest_recognition", "manifest_span_corruption", "manifest_masked_language_model"}
    recognition = scores["manifest_recognition"]
    assert recognition["examples"] == 10 and recognition["wer_words"] > 20 and recognition["loss/ctc"] > 0
    assert 0 <= recognition["cut_off"] <= 10
    assert scores["manifest_masked_language_model"]["loss/masked_tokens"] > 0


def test_a_manifest_that_names_no_splits_is_scored_whole(folder, capsys):
    told = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()[:20]]
    lines = [{name: value for name, value in line.items() if name != "split"} for line in told]
    (folder / "my_test.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    out = folder / "my_scores.json"
    words = ["evaluate", f"--checkpoint={folder}/run", "--task=manifest_recognition", f"--json={out}", "--rows=3"]
    assert cli.main([*words, f"--manifest={folder}/my_test.jsonl"]) == 0
    assert json.loads(out.read_text())["scores"]["manifest_recognition"]["examples"] == 20
    assert "20 of the 20 lines" in capsys.readouterr().err
    assert cli.main([*words, f"--manifest={folder}/manifest.jsonl", "--split=validation"]) == 0
    assert json.loads(out.read_text())["scores"]["manifest_recognition"]["examples"] == 10
    assert "10 of the 61 lines" in capsys.readouterr().err


def test_a_task_of_which_nothing_fits_is_told_with_a_reason(folder, capsys):
    with soundfile.SoundFile(folder / "long.wav", "w", 16_000, 1) as file:
        file.write(np.random.default_rng(0).normal(0, 0.05, 16_000 * 5))
    line = {"id": "long", "audio": "long.wav", "text": "red green", "lang": "en"}
    (folder / "long.jsonl").write_text(json.dumps(line) + "\n")
    words = ["evaluate", f"--checkpoint={folder}/run", "--task=manifest_recognition", f"--manifest={folder}/long.jsonl"]
    assert cli.main(words) == 2
    told = capsys.readouterr().err
    assert "no task could be scored. manifest_recognition: of 1 records 1 were skipped" in told
    assert "lane audio: needs 5." in told


def test_recordings_become_json_lines_in_order_and_bad_ones_say_why(folder, tmp_path):
    (tmp_path / "broken.wav").write_bytes(b"RIFF no audio")
    out = tmp_path / "lines.jsonl"
    files = [f"{folder}/clip1.flac", f"{tmp_path}/broken.wav", f"{folder}/clip2.wav"]
    for search in ("decoder", "ctc"):
        words = ["infer", f"--checkpoint={folder}/run", f"--search={search}", f"--out={out}", *files]
        assert cli.main(words) == 0
        lines = [json.loads(line) for line in out.read_text().splitlines()]
        assert [line["id"] for line in lines] == ["clip1.flac", "broken.wav", "clip2.wav"]
        assert "error" in lines[1] and set(lines[0]) - {"cut"} == {"id", "text", "seconds"}
        assert search == "decoder" or "cut" not in lines[0]
        assert lines[0]["seconds"] == pytest.approx(soundfile.info(files[0]).duration, abs=0.001)


def test_where_nothing_could_be_used_the_lines_say_why_and_the_command_fails(folder, tmp_path, capsys):
    (tmp_path / "broken.wav").write_bytes(b"RIFF no audio")
    assert cli.main(["infer", f"--checkpoint={folder}/run", f"{tmp_path}/broken.wav"]) == 2
    told = capsys.readouterr()
    assert json.loads(told.out)["id"] == "broken.wav" and "error" in told.out
    assert "none of the 1 recordings could be used; each line says why" in told.err


def test_text_that_the_decoder_did_not_end_is_marked(folder, tmp_path, capsys):
    words = ["infer", f"--checkpoint={folder}/run", "--gin.infer.run.decode_steps=1", f"{folder}/clip2.wav"]
    assert cli.main(words) == 0
    assert json.loads(capsys.readouterr().out)["cut"] is True


def test_a_finetuned_run_takes_the_weights_that_its_rule_names(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)  # Folders may be named from where one stands.
    words = [
        "train",
        f"--gin_file={folder}/recipe.gin",
        "--gin.Stream.mixture=manifest_recognition",
        "--gin.Recipe.run_dir=tuned",
        "--gin.Recipe.steps=1",
        "--gin.Recipe.finetune=@Finetune()",
        "--gin.Finetune.checkpoint=run",
    ]
    assert cli.main([*words, '--gin.Finetune.fresh=("no_such_part",)']) == 2
    assert "no_such_part" in capsys.readouterr().err
    assert cli.main([*words, '--gin.Finetune.frozen=("^speech/",)']) == 0
    assert small_run.losses(folder / "tuned")[1] < small_run.losses(folder / "run")[1]


TRAIN = ("train", "--gin_file={folder}/recipe.gin")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["evaluate", "--task=x", "--checkpoint=/nowhere"], "does not exist"),
        (["infer", "--checkpoint={folder}/run", "/nowhere.wav"], "does not exist"),
        (["infer", "--checkpoint={folder}/run", "--language=xx", "{folder}/clip1.flac"], "language 'xx'"),
        ([*TRAIN, "--gin.Stream.mixture=manifset"], "Nearest: 'manifest'"),
        ([*TRAIN, "--gin.Evaluation.split=dev"], "['test', 'train', 'validation']"),
        ([*TRAIN, "--gin.Evaluation.tasks=('manifset',)"], "Nearest: 'manifest'"),
        ([*TRAIN, "--gin.Model.vocabulary_size=128"], "Model.vocabulary_size = "),
        ([*TRAIN, "--gin.Manifest.path=/nowhere.jsonl"], "/nowhere.jsonl"),
        (
            [*TRAIN, "--gin.Recipe.run_dir={folder}/huge", "--gin.Model.mlp_width=2000000000"],
            "of each device, which has",
        ),
        (
            [
                *TRAIN,
                "--gin.Recipe.run_dir={folder}/lost",
                "--gin.Recipe.finetune=@Finetune()",
                "--gin.Finetune.checkpoint=/nowhere",
            ],
            "/nowhere",
        ),
    ],
)
def test_mistakes_end_in_one_line_and_exit_code_2(folder, capsys, words, message):
    assert cli.main([word.format(folder=folder) for word in words]) == 2
    told = capsys.readouterr().err
    assert message in told and "Traceback" not in told
