"""The verbs one after the other, as a user calls them: vocabulary, training, going on, scores, transcripts."""

import json
import pathlib

import numpy as np
import pytest
import soundfile

from speechlm_jax import cli

WORDS = ["red", "green", "blue", "one", "two", "three", "four", "five", "six", "seven"]

pytestmark = pytest.mark.slow

RECIPE = """
from __gin__ import dynamic_registration
from speechlm_jax import batch
from speechlm_jax.data import config as data
from speechlm_jax.models import config as models
from speechlm_jax.training import config as training

include 'gin_configs/runs/run.gin'

data.Data.manifest = @data.Manifest()
data.Manifest.path = '{folder}/manifest.jsonl'
data.Manifest.objectives = (('recognition', 2.0), ('span_corruption', 1.0), ('masked_language_model', 1.0))
data.Data.task_modules = ()
data.Data.vocabulary = '{folder}/vocabulary.model'
data.Data.rows = 8
data.Stream.mixture = 'manifest'
batch.Row.audio_seconds = 3.2
batch.Row.inputs = 32
batch.Row.targets = 48
batch.Row.segments = 6
models.Model.vocabulary_size = 512
models.Model.width = 32
models.Model.num_heads = 2
models.Model.mlp_width = 64
models.Model.encoder_layers = 2
models.Model.decoder_layers = 1
models.Model.conv_kernel = 5
models.Model.stem_channels = 32
training.Recipe.run_dir = '{folder}/run'
training.Recipe.steps = 6
training.Recipe.log_every = 1
training.Schedule.warmup_steps = 2
training.Checkpoints.every = 2
training.Evaluation.every = 6
training.Evaluation.max_examples = 6
training.Evaluation.decode_steps = 8
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    made = tmp_path_factory.mktemp("run")
    random = np.random.default_rng(0)
    lines = []
    for index in range(60):
        name = f"clip{index}.{'flac' if index % 2 else 'wav'}"
        noise = random.normal(0, 0.05, int(random.integers(8000, 20000)))
        soundfile.write(made / name, noise, 16_000)
        text = " ".join(WORDS[(index * 3 + k) % 10] for k in range(2 + index % 3))
        split = "train" if index < 40 else "validation" if index < 50 else "test"
        lines.append({"id": f"clip{index}", "audio": name, "text": text, "lang": "en", "split": split})
    lines.append({"id": "lost", "audio": "lost.wav", "text": "never heard", "lang": "en", "split": "train"})
    (made / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (made / "recipe.gin").write_text(RECIPE.format(folder=made))
    assert cli.main(["data", f"--gin_file={made}/recipe.gin", "--train_vocabulary=460"]) == 0
    assert cli.main(["train", f"--gin_file={made}/recipe.gin"]) == 0
    return made


def losses(run: pathlib.Path) -> dict[int, float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines if line["kind"] == "train"}


def test_a_run_that_stopped_goes_on_to_the_same_losses(folder):
    recipe = [f"--gin_file={folder}/recipe.gin", f"--gin.Recipe.run_dir={folder}/again"]
    # The schedule needs the whole run's steps: the first life ends when its checkpoint of step 4 is made the last.
    assert cli.main(["train", *recipe]) == 0
    for later in (folder / "again" / "checkpoints").iterdir():
        if later.name.isdigit() and int(later.name) > 4:
            later.rename(folder / "set_aside")
    assert cli.main(["train", *recipe]) == 0
    assert losses(folder / "again") == losses(folder / "run")
    assert sorted(losses(folder / "run")) == [1, 2, 3, 4, 5, 6]


def test_the_missing_recording_is_told_once(folder):
    lines = (folder / "run" / "bad_records.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["lost"]


def test_a_changed_stream_is_refused_with_what_changed(folder, capsys):
    code = cli.main(["train", f"--gin_file={folder}/recipe.gin", "--gin.Stream.data_shards=4"])
    assert code == 2
    assert "data_shards: 8 -> 4" in capsys.readouterr().err


def test_a_checkpoint_is_scored_on_a_split(folder):
    out = folder / "scores.json"
    words = ["evaluate", f"--checkpoint={folder}/run", "--task=manifest", "--split=test", f"--json={out}"]
    assert cli.main(words) == 0
    scores = json.loads(out.read_text())["scores"]
    assert set(scores) == {"manifest_recognition", "manifest_span_corruption", "manifest_masked_language_model"}
    recognition = scores["manifest_recognition"]
    assert recognition["examples"] == 10 and recognition["wer_words"] > 20 and recognition["loss/ctc"] > 0
    assert scores["manifest_masked_language_model"]["loss/masked_tokens"] > 0


def test_recordings_become_json_lines_in_order_and_bad_ones_say_why(folder, tmp_path):
    (tmp_path / "broken.wav").write_bytes(b"RIFF no audio")
    out = tmp_path / "lines.jsonl"
    files = [f"{folder}/clip1.flac", f"{tmp_path}/broken.wav", f"{folder}/clip2.wav"]
    for search in ("decoder", "ctc"):
        words = ["infer", f"--checkpoint={folder}/run", f"--search={search}", f"--out={out}", *files]
        assert cli.main(words) == 0
        lines = [json.loads(line) for line in out.read_text().splitlines()]
        assert [line["id"] for line in lines] == ["clip1.flac", "broken.wav", "clip2.wav"]
        assert "error" in lines[1] and set(lines[0]) == {"id", "text", "seconds"}
        assert lines[0]["seconds"] == pytest.approx(soundfile.info(files[0]).duration, abs=0.001)


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
    assert losses(folder / "tuned")[1] < losses(folder / "run")[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["evaluate", "--task=x", "--checkpoint=/nowhere"], "found none"),
        (["infer", "--checkpoint={folder}/run", "/nowhere.wav"], "does not exist"),
        (["infer", "--checkpoint={folder}/run", "--language=xx", "{folder}/clip1.flac"], "language 'xx'"),
        (["train", "--gin_file={folder}/recipe.gin", "--gin.Stream.mixture=manifset"], "Nearest: 'manifest'"),
        (["train", "--gin_file={folder}/recipe.gin", "--gin.Model.vocabulary_size=128"], "Model.vocabulary_size = "),
        (["train", "--gin_file={folder}/recipe.gin", "--gin.Manifest.path=/nowhere.jsonl"], "/nowhere.jsonl"),
    ],
)
def test_mistakes_end_in_one_line_and_exit_code_2(folder, capsys, words, message):
    assert cli.main([word.format(folder=folder) for word in words]) == 2
    told = capsys.readouterr().err
    assert message in told and "Traceback" not in told
