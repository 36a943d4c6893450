"""A model goes out as one program, of JAX or of TensorFlow, which writes the same text where nothing of this project
is."""

import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from inference import untrained

from speechlm_jax import cli, vocabularies, vocabulary
from speechlm_jax.exporters import savedmodel, stablehlo
from speechlm_jax.inference import loading

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Of a run, its exports, and two recordings; no special token is written, which is all that it would write."""
    made = tmp_path_factory.mktemp("program")
    untrained.write(made / "run")
    with pytest.MonkeyPatch.context() as patch:
        special = range(vocabularies.load(made / "run" / vocabulary.FILE).learned.start)
        patch.setattr(vocabulary.Vocabulary, "forbidden", tuple(special))
        for name in ("stablehlo", "savedmodel"):
            assert cli.main(["export", f"--exporter={name}", f"--checkpoint={made}/run", f"--out={made}/{name}"]) == 0
        random = np.random.default_rng(0)
        for number, samples in enumerate((9_000, 30_000)):
            soundfile.write(made / f"{number}.wav", random.normal(0, 3_000, samples).astype(np.int16), 16_000)
        words = ["infer", f"--checkpoint={made}/run", "--language=de", f"--out={made}/wanted.jsonl"]
        assert cli.main([*words, f"{made}/0.wav", f"{made}/1.wav"]) == 0
    return made


def test_the_script_writes_what_the_model_writes(folder):
    """In a process that imports nothing of this project."""
    script = folder / "stablehlo" / stablehlo.SCRIPT
    blocked = (
        "import sys; sys.modules['speechlm_jax'] = None; import runpy; script = sys.argv.pop(1); sys.argv[0] = script;"
    )
    command = [sys.executable, "-c", f"{blocked} runpy.run_path(script, run_name='__main__')", script, "de"]
    for names in (["0.wav", "1.wav"], ["1.wav"]):
        done = subprocess.run(
            [*command, *(folder / name for name in names)], env=os.environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        lines = [json.loads(line) for line in (folder / "wanted.jsonl").read_text().splitlines()]
        assert done.stdout.splitlines() == [line["text"] for line in lines if line["id"] in names]
    assert all(line["text"] for line in lines)


SERVED = """
import json, pathlib, sys
for name in ("speechlm_jax", "jax"):
    sys.modules[name] = None
import numpy as np, sentencepiece, soundfile
import tensorflow as tf
folder, language, *paths = sys.argv[1:]
told = json.loads(pathlib.Path(folder, "config.json").read_text())
waves = [soundfile.read(path, dtype="int16")[0] for path in paths]
samples = np.stack([np.pad(wave, (0, told["samples"] - len(wave))) for wave in waves])
lengths = np.array([len(wave) for wave in waves], np.int32)
prompt = told["prompts"][language]
found = tf.saved_model.load(folder).signatures["serving_default"](
    samples=tf.constant(samples),
    lengths=tf.constant(lengths),
    prompts=tf.constant(np.tile(np.array(prompt, np.int32), (len(waves), 1))),
    prompt_lengths=tf.constant(np.full(len(waves), len(prompt), np.int32)),
)
pieces = sentencepiece.SentencePieceProcessor(model_file=f"{folder}/vocabulary.model")
for tokens, count in zip(found["tokens"].numpy(), found["lengths"].numpy()):
    print(pieces.decode(tokens[:count].tolist()))
"""


def test_tensorflow_alone_serves_what_the_model_writes(folder):
    command = [sys.executable, "-c", SERVED, folder / "savedmodel", "de", folder / "0.wav", folder / "1.wav"]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (folder / "wanted.jsonl").read_text().splitlines()]
    assert done.stdout.splitlines() == [line["text"] for line in lines]


def test_what_was_altered_is_seen(folder):
    loaded, out = loading.load(str(folder / "run"), rows=1), folder / "stablehlo"
    # Another search, without what is forbidden: it writes another text.
    with pytest.raises(ValueError, match="writes another text than the model"):
        stablehlo.check(loaded, out)
    with pytest.raises(ValueError, match="writes another text than the model"):
        savedmodel.check(loaded, folder / "savedmodel")


def test_a_model_without_text_has_no_program(folder, tmp_path, capsys):
    loaded = loading.load(str(folder / "run"), rows=1)
    silent = loaded._replace(data=dataclasses.replace(loaded.data, row=dataclasses.replace(loaded.data.row, targets=0)))
    with pytest.raises(ValueError, match="wanted a model that hears speech and writes text"):
        stablehlo.write(silent, tmp_path)
