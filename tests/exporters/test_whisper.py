"""A Whisper comes in and goes out bit for bit, and says here what it says in transformers.

tests/exporters/whisper is a small one of random weights, with what transformers' says of a recording (make_whisper.py).
"""

import contextlib
import dataclasses
import json
import pathlib
import re
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rows
import small_run
import soundfile
import warm
from flax import nnx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import numpy as safetensors

from speechlm_jax import cli, vocabularies, vocabulary, whisper_vocabulary
from speechlm_jax.data import packing
from speechlm_jax.exporters import stablehlo, whisper
from speechlm_jax.inference import asking, loading
from speechlm_jax.models import log_mel

THEIRS = pathlib.Path(__file__).with_name("whisper")


@pytest.fixture(scope="module")
def said():
    return np.load(THEIRS / "said.npz")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run with the imported model."""
    made = tmp_path_factory.mktemp("imported") / "run"
    assert cli.main(["import", str(THEIRS), f"--out={made}"]) == 0
    return made


@pytest.fixture(scope="module")
def loaded(run):
    return loading.load(str(run), rows=1)


def asked(loaded, said):
    """A batch of the recording and the text that follows it."""
    example = asking.transcribe(asking.Given(audio=said["samples"], language="en"), loaded.vocabulary)
    text = loaded.vocabulary.theirs[said["text"]]
    prompt = len(example["prompt"]) + 1
    assert text[1:prompt].tolist() == example["prompt"].tolist()
    example |= {"targets": text[prompt:].astype(np.int32), "origin": (0, 0, 0), "task": 0}
    return rows.batch(loaded.data.row, [example])


def outputs(loaded, batch):
    @jax.jit
    def run(params, batch):
        model = nnx.merge(loaded.graphdef, params)
        encoded = model.encode(batch)
        return encoded.audio, model.decode(batch, encoded)[0]

    return map(np.asarray, run(loaded.params, batch))


def test_features_of_a_recording_are_those_of_transformers(loaded, said):
    lane = asked(loaded, said).audio
    found = np.asarray(log_mel.features(lane.samples, lane.segment_ids, 1, loaded.model.mels))[0]
    np.testing.assert_allclose(found[: len(said["features"])], said["features"], atol=1e-4)


def test_the_encoder_and_the_decoder_say_what_those_of_transformers_do(loaded, said):
    hidden, logits = outputs(loaded, asked(loaded, said))
    np.testing.assert_allclose(hidden[0, : len(said["hidden"])], said["hidden"], atol=1e-4)
    theirs = loaded.vocabulary.theirs
    found = logits[0, : len(said["text"]) - 1][:, theirs]
    np.testing.assert_allclose(found, said["logits"][:-1], atol=1e-4)


def test_greedy_text_is_that_of_transformers(run, said, tmp_path, capsys):
    soundfile.write(tmp_path / "one.wav", said["samples"], 16_000)
    words = ["infer", f"--checkpoint={run}", "--language=en", f"--gin.infer.run.decode_steps={len(said['written'])}"]
    assert cli.main([*words, str(tmp_path / "one.wav")]) == 0
    vocabulary_of_run = vocabularies.load(run / vocabulary.FILE)
    wanted = vocabulary_of_run.decode(vocabulary_of_run.theirs[said["written"]].tolist())
    assert json.loads(capsys.readouterr().out)["text"] == wanted and wanted


def test_every_weight_comes_back_bit_for_bit(run, tmp_path):
    assert cli.main(["export", "--exporter=whisper", f"--checkpoint={run}", f"--out={tmp_path}/out"]) == 0
    theirs, ours = (safetensors.load_file(folder / "model.safetensors") for folder in (THEIRS, tmp_path / "out"))
    assert {*ours} == {*theirs} - {"proj_out.weight"}
    for name, weights in ours.items():
        assert weights.dtype == theirs[name].dtype and weights.tobytes() == theirs[name].tobytes(), name
    told, own = (json.loads((folder / "config.json").read_text()) for folder in (THEIRS, tmp_path / "out"))
    assert {name: value for name, value in own.items() if name in told} == told
    for name in ("tokenizer.json", "generation_config.json"):
        assert json.loads((THEIRS / name).read_text()) == json.loads((tmp_path / "out" / name).read_text())
    assert "Weights of" in (tmp_path / "out" / "README.md").read_text()


def test_an_export_in_half_precision_and_several_files_is_read_back(run, tmp_path, monkeypatch):
    loaded = loading.load(str(run), rows=1)
    whisper.write(loaded, tmp_path / "out", dtype="bfloat16", shard_bytes=20_000)
    assert len(list((tmp_path / "out").glob("model-*.safetensors"))) > 3
    whisper.check(loaded, tmp_path / "out", dtype="bfloat16")
    part = next((tmp_path / "out").glob("model-00002*"))
    arrays = safetensors.load_file(part)
    name = next(iter(arrays))
    safetensors.save_file(arrays | {name: arrays[name] + 1}, part)
    with pytest.raises(ValueError, match=f"{name} is not what was written"):
        whisper.check(loaded, tmp_path / "out", dtype="bfloat16")


def test_text_becomes_their_tokens_and_comes_back(run):
    words = vocabularies.load(run / vocabulary.FILE)
    for text in ("the small house by the sea", "12 red apples, please!", "你好", "¿qué?"):
        ids = words.encode(text)
        assert words.decode([*ids, vocabulary.EOS, *ids]) == text == words.decode(words.encode(text.encode()))
    assert words.languages == ("en", "es", "zh") and words.language("es") == words.token("<lang:es>")
    assert words.arranged(1, [2]) == [2, 1, words.token("<|notimestamps|>")]
    assert words.show([words.token("<s>"), *words.encode("you")]) == "<s> you"
    unseen = {*range(words.size)} - {*words.theirs.tolist()}
    assert unseen < {*words.forbidden} and vocabulary.EOS not in words.forbidden
    assert words.forbidden_first == (vocabulary.EOS,)


def test_no_text_becomes_a_special_token(run):
    words = vocabularies.load(run / vocabulary.FILE)
    for text in ("<|endoftext|>", "say <|en|> twice", "<|notimestamps|>"):
        ids = words.encode(text)
        assert all(token in words.learned for token in ids) and words.decode(ids) == text


def test_a_prompt_that_whisper_does_not_know_is_refused(run):
    words = vocabularies.load(run / vocabulary.FILE)
    task, english, spanish = words.token("<task:translate>"), words.language("en"), words.language("es")
    assert words.arranged(task, [spanish, english])[:2] == [spanish, task]
    with pytest.raises(ValueError, match="translates to English alone"):
        words.arranged(task, [english, spanish])
    files = {**words.files, "generation_config.json": {"is_multilingual": False}}
    content = whisper_vocabulary.content(files, len(words.theirs))
    single = whisper_vocabulary.WhisperVocabulary(content)
    assert single.arranged(single.token("<task:transcribe>"), [english]) == [single.token("<|notimestamps|>")]
    with pytest.raises(ValueError, match="of one language"):
        single.arranged(task, [spanish, english])


def test_a_whisper_has_no_program_of_ours(loaded, tmp_path):
    with pytest.raises(ValueError, match=r"it is a Whisper.*--exporter=whisper"):
        stablehlo.write(loaded, tmp_path)
    assert not any(tmp_path.iterdir())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_folder_that_was_damaged_is_read_or_refused(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("damaged") / "theirs"
    shutil.copytree(THEIRS, folder)
    path = folder / data.draw(st.sampled_from(["config.json", "model.safetensors", "tokenizer.json"]))
    content = bytearray(path.read_bytes())
    # The head of a file says what it holds.
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, min(len(content), 4_000) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.sampled_from([len(content), len(content) // 2, 0]))])
    # Whatever else is raised fails.
    with contextlib.suppress(ValueError):
        model, theirs = whisper.read(folder)
        words = whisper_vocabulary.WhisperVocabulary(whisper.vocabulary_of(folder, model))
        whisper.params_of(dataclasses.replace(model, vocabulary_size=words.padded_size), theirs, words.theirs)


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"model_type": "bart"}, "wanted a Whisper"),
        ({"d_model": None}, "for each of d_model"),
        ({"decoder_ffn_dim": 32}, "encoder_ffn_dim and decoder_ffn_dim to be the same"),
        ({"activation_function": "relu"}, "activation_function = 'gelu', found 'relu'"),
        ({"encoder_layers": 3}, r"the file lacks model\.encoder\.layers\.2"),
        ({"encoder_layers": 1}, r"has, beside those of a Whisper, model\.encoder\.layers\.1"),
        ({"max_source_positions": 51}, "embed_positions.weight is"),
    ],
)
def test_what_is_no_whisper_is_refused_in_a_line(tmp_path, capsys, change, wrong):
    shutil.copytree(THEIRS, tmp_path / "theirs")
    told = json.loads((THEIRS / "config.json").read_text()) | change
    (tmp_path / "theirs" / "config.json").write_text(json.dumps(told))
    assert cli.main(["import", f"{tmp_path}/theirs", f"--out={tmp_path}/run"]) == 2
    error = capsys.readouterr().err
    assert re.search(wrong, error) and "Traceback" not in error


def test_a_model_of_ours_is_no_whisper(tmp_path):
    from speechlm_jax.models import whisper_weights

    with pytest.raises(ValueError, match=r"found Model\.parts = 'own'"):
        whisper_weights.description(rows.MODEL)
    kernel = dataclasses.replace(
        rows.MODEL, parts="whisper", encoder_block="transformer", subsampling=2, decoder_kernel=3
    )
    with pytest.raises(ValueError, match=r"no convolutions, found Model\.decoder_kernel = 3"):
        whisper_weights.description(kernel)


def test_what_stands_in_a_folder_is_not_written_over(run, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("")
    assert cli.main(["export", "--exporter=whisper", f"--checkpoint={run}", f"--out={tmp_path}/out"]) == 2
    assert "something stands there" in capsys.readouterr().err
    assert cli.main(["export", "--exporter=whispr", f"--checkpoint={run}", f"--out={tmp_path}/new"]) == 2
    assert "Nearest: 'whisper'" in capsys.readouterr().err


def test_a_shorter_recording_is_followed_by_silence(loaded, said):
    short = asking.transcribe(asking.Given(audio=said["samples"][:4000], language="en"), loaded.vocabulary)
    row = loaded.data.row
    assert packing.demand(short, row)[0] == row.audio_positions
    lane = rows.batch(row, [{**short, "origin": (0, 0, 0), "task": 0}]).audio
    assert int(jnp.sum(lane.segment_ids)) == 2 * loaded.model.audio_places


@pytest.mark.slow
def test_a_whisper_that_was_trained_further_goes_out_and_comes_in_again(run, said, tmp_path, capsys):
    lines = []
    for number in range(12):
        samples = said["samples"][: 9_000 + 400 * number]
        soundfile.write(tmp_path / f"{number}.wav", samples, 16_000)
        split = "validation" if number > 9 else "train"
        lines.append({"audio": f"{number}.wav", "text": "the small house", "lang": "en", "split": split})
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    files = ["--gin_file=gin_configs/recipes/whisper.gin", f"--gin_file={run}/model.gin"]
    bindings = [
        *(f"--gin.MANIFEST={tmp_path}/m.jsonl", f"--gin.Recipe.run_dir={tmp_path}/tuned", "--gin.Recipe.steps=3"),
        *("--gin.Schedule.warmup_steps=1", "--gin.Schedule.peak=1e-3", "--gin.Recipe.log_every=1"),
        *("--gin.Evaluation.every=3", "--gin.Evaluation.decode_steps=4"),
    ]
    # One process has one vocabulary.
    warm.run("train", *files, *bindings)
    losses = small_run.losses(tmp_path / "tuned")
    assert losses[3] < losses[1]
    out = ["export", "--exporter=whisper", f"--checkpoint={tmp_path}/tuned", f"--out={tmp_path}/out"]
    assert cli.main([*out, "--license=apache-2.0"]) == 0
    assert re.search(r"left out, for the format has no room: .*\bmasked_tokens\.\n", capsys.readouterr().err)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "license: apache-2.0" in card and "recognition" in card and "peak = 0.001" in card
    assert cli.main(["import", f"{tmp_path}/out", f"--out={tmp_path}/again"]) == 0
    tuned, again = (loading.load(f"{tmp_path}/{name}", rows=1) for name in ("tuned", "again"))
    batch = asked(again, said)
    (hidden, logits), (hidden_again, logits_again) = outputs(tuned, batch), outputs(again, batch)
    np.testing.assert_allclose(hidden, hidden_again, atol=1e-5)
    # Tokens that Whisper lacks have no rows there.
    theirs = again.vocabulary.theirs
    np.testing.assert_allclose(logits[..., theirs], logits_again[..., theirs], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["tiny", "base"])
def test_larger_ones_say_what_those_of_transformers_do(tmp_path, shape):
    pytest.importorskip("torch", reason="wants the extra [bench]")
    maker = pathlib.Path(__file__).with_name("make_whisper.py")
    subprocess.run([sys.executable, maker, tmp_path / "theirs", f"--shape={shape}"], check=True)
    assert cli.main(["import", f"{tmp_path}/theirs", f"--out={tmp_path}/run"]) == 0
    loaded, said = loading.load(f"{tmp_path}/run", rows=1), np.load(tmp_path / "theirs" / "said.npz")
    hidden, logits = outputs(loaded, asked(loaded, said))
    np.testing.assert_allclose(hidden[0, : len(said["hidden"])], said["hidden"], atol=1e-4)
    found = logits[0, : len(said["text"]) - 1][:, loaded.vocabulary.theirs]
    np.testing.assert_allclose(found, said["logits"][:-1], atol=1e-4)
