"""A model of ours goes out to transformers and comes back bit for bit, and says there what it says here."""

import dataclasses
import json
import re
import shutil

import jax
import numpy as np
import pytest
import rows
import soundfile
from flax import nnx
from inference import untrained
from safetensors import numpy as safetensors

from speechlm_jax import cli, parameters, vocabularies, vocabulary
from speechlm_jax.exporters import transformers as exporter
from speechlm_jax.inference import loading

SECONDS = 1.3


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    made = tmp_path_factory.mktemp("ours")
    untrained.write(made / "run")
    return made / "run"


@pytest.fixture(scope="module")
def folder(run):
    out = run.with_name("out")
    assert cli.main(["export", "--exporter=transformers", f"--checkpoint={run}", f"--out={out}"]) == 0
    return out


def test_every_weight_comes_back_bit_for_bit(run, folder, tmp_path):
    assert cli.main(["import", "--exporter=transformers", str(folder), f"--out={tmp_path}/again"]) == 0
    ours, again = (loading.load(str(path), rows=1) for path in (run, tmp_path / "again"))
    leaves, back = (parameters.by_path(loaded.params) for loaded in (ours, again))
    assert leaves.keys() == back.keys()
    for path, leaf in leaves.items():
        assert np.asarray(parameters.array(leaf)).tobytes() == np.asarray(parameters.array(back[path])).tobytes(), path
    same = ("step", "model", "heads", "recipe")
    assert all(getattr(ours, name) == getattr(again, name) for name in same)
    assert dataclasses.replace(ours.data, vocabulary="") == dataclasses.replace(again.data, vocabulary="")
    assert ours.vocabulary.hash == again.vocabulary.hash


def test_a_folder_holds_all_that_it_needs(folder):
    told = json.loads((folder / "config.json").read_text())
    code = told["auto_map"]["AutoModelForSpeechSeq2Seq"].split(".")[0]
    assert (folder / f"{code}.py").read_text() == (exporter.CODE / f"{code}.py").read_text()
    assert (folder / vocabulary.FILE).exists() and "license" in (folder / "README.md").read_text()
    assert "speechlm_jax" not in "".join(
        line for path in folder.glob("*.py") for line in path.read_text().splitlines() if "import" in line.split()[:1]
    )


def test_half_precision_in_several_files_is_read_back(run, tmp_path):
    loaded = loading.load(str(run), rows=1)
    exporter.write(loaded, tmp_path, dtype="bfloat16", shard_bytes=20_000)
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 3
    exporter.check(loaded, tmp_path, dtype="bfloat16")
    part = next(tmp_path.glob("model-00002*"))
    arrays = safetensors.load_file(part)
    name = next(iter(arrays))
    safetensors.save_file(arrays | {name: arrays[name] + 1}, part)
    with pytest.raises(ValueError, match=f"{name} is not what was written"):
        exporter.check(loaded, tmp_path, dtype="bfloat16")


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        (
            {"model_type": "bart"},
            "wanted a folder of speechlm export --exporter=transformers, found model_type = 'bart'",
        ),
        ({"model": {"width": 16}}, "does not name: Model."),
        ({"encoder_layers": 2}, r"the weights lack \['encoder.stack.1."),
        ({"decoder_layers": 0}, "decoder_layers"),
        ({"mlp_width": 64}, "of shape"),
    ],
)
def test_what_is_none_of_ours_is_refused_in_a_line(folder, tmp_path, capsys, change, wrong):
    shutil.copytree(folder, tmp_path / "theirs")
    told = json.loads((folder / "config.json").read_text())
    outside = {name: value for name, value in change.items() if name in told}
    told = {
        **told,
        **outside,
        "model": {**told["model"], **change} if not outside else outside.get("model", told["model"]),
    }
    (tmp_path / "theirs" / "config.json").write_text(json.dumps(told))
    assert cli.main(["import", "--exporter=transformers", f"{tmp_path}/theirs", f"--out={tmp_path}/run"]) == 2
    error = capsys.readouterr().err
    assert re.search(wrong, error) and "Traceback" not in error


def example(loaded):
    """Speech, text to read, text and speech to write, and a claim."""
    one = rows.example(
        3, seconds=SECONDS, inputs=9, prompt=3, targets=8, target_seconds=0.35, mask_share=0.5, claim=1.0
    )
    return {**one, "targets": one["targets"] % 100 + 5, "inputs": one["inputs"]}


def ours(loaded, one):
    """What our model says of a row that holds the example."""
    batch = rows.batch(loaded.data.row, [one])

    @jax.jit
    def say(params, batch):
        model = nnx.merge(loaded.graphdef, params)
        return model(batch), model.encode(batch).hidden

    outputs, _ = say(loaded.params, batch)
    return batch, jax.tree.map(np.asarray, outputs)


def theirs(folder):
    """PyTorch, the model that it reads, and its processor."""
    torch = pytest.importorskip("torch", reason="wants the extra [bench]")
    transformers = pytest.importorskip("transformers", reason="wants the extra [bench]")
    model = transformers.AutoModelForSpeechSeq2Seq.from_pretrained(folder, trust_remote_code=True).eval()
    return torch, model, transformers.AutoProcessor.from_pretrained(folder, trust_remote_code=True)


@pytest.mark.slow
def test_every_head_says_what_it_says_here(run, folder):
    torch, model, _ = theirs(folder)
    loaded = loading.load(str(run), rows=1)
    one = example(loaded)
    batch, wanted = ours(loaded, one)
    text = [vocabulary.BOS, *one["prompt"], *one["targets"]]
    truth = np.asarray(wanted.target_audio.truth)[0]
    steps = int((np.asarray(batch.target_audio.segment_ids)[0, :: loaded.model.speech_out.reduction] == 1).sum())
    places = int((np.asarray(batch.audio.segment_ids)[0, :: loaded.model.subsampling] == 1).sum())
    before = np.concatenate([np.zeros_like(truth[:1]), truth[: steps - 1]])
    claimed = np.array([0] * len(one["prompt"]) + [1] * len(one["targets"]) + [0])
    hidden = np.asarray(wanted.masked_speech.hidden)[0]
    with torch.inference_mode():
        found = model(
            input_values=torch.tensor(one["audio"][None] / 32_768.0, dtype=torch.float32),
            input_ids=torch.tensor(one["inputs"][None], dtype=torch.long),
            hidden_places=torch.tensor(hidden[None, : -(-(len(one["audio"]) // 160 + 2) // loaded.model.subsampling)]),
            decoder_input_ids=torch.tensor([text]),
            decoder_levels=torch.tensor(before[None], dtype=torch.long),
            claimed=torch.tensor(claimed[None], dtype=torch.float32),
        )

    def same(there, here):
        np.testing.assert_allclose(there[0].numpy(), here, atol=1e-4)

    same(found.logits[:, :-1], wanted.targets[0, : len(text) - 1])
    same(found.ctc_logits[:, :places], wanted.ctc[0, :places])
    same(found.masked_token_logits, wanted.masked_tokens[0, : len(one["inputs"])])
    same(found.code_logits[:, :places], wanted.masked_speech.logits[0, :places])
    same(found.level_logits, wanted.target_audio.levels[0, :steps])
    same(found.stop_logits, wanted.target_audio.stop[0, :steps])
    assert float(found.matching_logits[0]) == pytest.approx(float(wanted.matching[0, 0]), abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"decoder_kernel": None}], ids=["without a cache", "with a cache"])
def test_greedy_text_is_the_same_alone_and_beside_others(tmp_path, capsys, monkeypatch, changes):
    run, folder = tmp_path / "run", tmp_path / "out"
    # So much that it is heard in the text which recording it is.
    untrained.write(run, noise=0.4, **changes)
    # What has learned nothing writes special tokens, and ends at once.
    special = tuple(range(vocabularies.load(run / vocabulary.FILE).learned.start))
    monkeypatch.setattr(vocabulary.Vocabulary, "forbidden", special)
    assert cli.main(["export", "--exporter=transformers", f"--checkpoint={run}", f"--out={folder}"]) == 0
    torch, model, processor = theirs(folder)
    random = np.random.default_rng(1)
    noise = random.normal(0, 3_000, int(16_000 * SECONDS))
    waves = [wave.astype(np.int16) for wave in (noise[:14_000], np.convolve(noise, np.ones(60) / 20, "same"))]
    for number, wave in enumerate(waves):
        soundfile.write(tmp_path / f"{number}.wav", wave, 16_000)
    capsys.readouterr()
    words = ["infer", f"--checkpoint={run}", "--language=en", "--gin.infer.run.decode_steps=12"]
    assert cli.main([*words, *(f"{tmp_path}/{number}.wav" for number in range(2))]) == 0
    wanted = [json.loads(line)["text"] for line in capsys.readouterr().out.splitlines()]
    with torch.inference_mode():
        together = model.generate(**processor(waves, language="en"), max_new_tokens=12)
        alone = model.generate(**processor(waves[0], language="en"), max_new_tokens=12)
    # A vocabulary of several languages, and tokens for others.
    with pytest.raises(ValueError, match="wanted the language for transcribe, .* one of de, en, zh; found none"):
        processor(waves[0])
    with pytest.raises(ValueError, match="one channel"):
        processor(np.stack([waves[0]] * 2, axis=1), language="en")
    assert processor.batch_decode(together) == wanted and processor.batch_decode(alone) == wanted[:1]
    assert all(len(text) > 6 for text in wanted) and wanted[0] != wanted[1]
