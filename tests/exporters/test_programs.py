"""A model goes out as a program of JAX, of TensorFlow or of ONNX, which writes the same text where nothing of this
project is."""

import contextlib
import dataclasses
import json
import os
import runpy
import subprocess
import sys
import types

import numpy as np
import pytest
import soundfile
from inference import untrained

from speechlm_jax import cli, vocabularies, vocabulary
from speechlm_jax.exporters import onnx, savedmodel, stablehlo
from speechlm_jax.exporters.stand_alone import beside
from speechlm_jax.inference import loading

pytestmark = pytest.mark.slow


@contextlib.contextmanager
def forbidding(folder):
    """Every special token."""
    with pytest.MonkeyPatch.context() as patch:
        special = range(vocabularies.load(folder / "run" / vocabulary.FILE).learned.start)
        patch.setattr(vocabulary.Vocabulary, "forbidden", tuple(special))
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Of a run, its exports, and two recordings; no special token is written, which is all that it would write."""
    made = tmp_path_factory.mktemp("program")
    untrained.write(made / "run")
    with forbidding(made):
        for name in ("stablehlo", "savedmodel"):
            assert cli.main(["export", f"--exporter={name}", f"--checkpoint={made}/run", f"--out={made}/{name}"]) == 0
        random = np.random.default_rng(0)
        for number, samples in enumerate((9_000, 30_000)):
            soundfile.write(made / f"{number}.wav", random.normal(0, 3_000, samples).astype(np.int16), 16_000)
        words = ["infer", f"--checkpoint={made}/run", "--language=de", f"--out={made}/wanted.jsonl"]
        assert cli.main([*words, f"{made}/0.wav", f"{made}/1.wav"]) == 0
    return made


@pytest.mark.parametrize(
    ("name", "without"),
    [
        ("stablehlo", ["speechlm_jax"]),
        ("savedmodel", ["speechlm_jax", "jax"]),
        ("onnx", ["speechlm_jax", "jax", "torch"]),
    ],
)
def test_the_script_writes_what_the_model_writes(folder, name, without):
    """In a process that can import nothing of this project."""
    if name == "onnx":
        write_onnx(folder)
    path = folder / name
    blocked = (
        f"import runpy, sys; sys.modules.update(dict.fromkeys({without})); sys.path.insert(0, {str(path)!r});"
        f"runpy.run_path({str(path / beside.SCRIPT)!r}, run_name='__main__')"
    )
    lines = [json.loads(line) for line in (folder / "wanted.jsonl").read_text().splitlines()]
    for names in (["0.wav", "1.wav"], ["1.wav"]):
        done = subprocess.run(
            [sys.executable, "-c", blocked, "de", *(folder / name for name in names)],
            env=os.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == [line["text"] for line in lines if line["id"] in names]
    assert all(line["text"] for line in lines)


def write_onnx(folder):
    for library in ("torch", "transformers", "onnxscript", "onnxruntime"):
        pytest.importorskip(library, reason="wants the extra [onnx]")
    if not (folder / "onnx").exists():
        with forbidding(folder):
            assert cli.main(["export", "--exporter=onnx", f"--checkpoint={folder}/run", f"--out={folder}/onnx"]) == 0


def test_a_script_says_what_it_is_to_be_given(folder):
    command = [sys.executable, folder / "stablehlo" / beside.SCRIPT]
    no_recording = ["de", str(folder / "stablehlo" / "config.json")]
    for words, wrong in (
        (["xx", "0.wav"], "LANGUAGE is one of de, en, zh"),
        ([], "LANGUAGE RECORDING.wav"),
        (no_recording, "config.json: wanted a recording"),
    ):
        done = subprocess.run([*command, *words], env=os.environ, capture_output=True, text=True, check=False)
        assert done.returncode == 1 and wrong in done.stderr and "Traceback" not in done.stderr


def test_a_recording_is_read_whatever_its_samples_are(folder, monkeypatch):
    # What runs the program is not wanted for that.
    monkeypatch.setitem(sys.modules, "program", types.ModuleType("program"))
    transcriber = runpy.run_path(str(folder / "stablehlo" / beside.SCRIPT))["Transcriber"]()
    samples, rate = soundfile.read(folder / "0.wav", dtype="int16")
    assert np.array_equal(transcriber.wave(folder / "0.wav"), samples)
    for name, subtype in (("float.wav", "FLOAT"), ("double.wav", "DOUBLE"), ("wide.wav", "PCM_24")):
        soundfile.write(folder / name, samples / 2**15, rate, subtype=subtype)
        assert np.array_equal(transcriber.wave(folder / name), samples), name
    soundfile.write(folder / "tiny.wav", samples[:200], rate)
    with pytest.raises(ValueError, match="wanted 201 to .* samples, found 200"):
        transcriber.wave(folder / "tiny.wav")
    soundfile.write(folder / "nan.wav", np.full(9_000, np.nan), rate, subtype="FLOAT")
    with pytest.raises(ValueError, match="finite"):
        transcriber.wave(folder / "nan.wav")


def test_whoever_may_read_what_lies_beside_the_weights_may_read_them(folder):
    modes = {path.stat().st_mode for path in (folder / "stablehlo").iterdir()}
    assert len(modes) == 1, modes


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


def test_programs_of_onnx_compute_in_float32_alone(folder, tmp_path):
    loaded = loading.load(str(folder / "run"), rows=1)
    with pytest.raises(ValueError, match="wanted --dtype=float32"):
        onnx.write(loaded, tmp_path, dtype="bfloat16")
    assert not any(tmp_path.iterdir())
