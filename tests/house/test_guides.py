"""The guides in docs/ do what they say: their blocks are run, in order, in an empty folder."""

import json
import os
import pathlib
import re
import socket
import subprocess
import sys

import nbclient
import nbformat
import numpy as np
import pytest
import soundfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "add_a_task.md"
STEPS = 6
LARGE = "include 'gin_configs/recipes/your_audio_cpu.gin'\n"
SMALL = f"""
from speechlm_jax import batch
from speechlm_jax.models import config as models
{LARGE}
batch.Row.audio_seconds = 3.2
models.Model.width = 32
models.Model.encoder_layers = 1
"""
"""What a recipe includes that takes an evening, and the same for a minute."""


def record_commands(folder: pathlib.Path) -> None:
    """Chords in place of speech: three commands by three speakers."""
    for pitch, command in ((220, "lights_on"), (440, "lights_off"), (660, "open_the_door")):
        (folder / "recordings" / command).mkdir(parents=True)
        for number, speaker in enumerate(("anna", "tom", "maria")):
            time = np.arange(12_000) / 16_000
            wave = sum(np.sin(2 * np.pi * pitch * (1 + 0.05 * number) * k * time) / k for k in (1, 2, 3))
            for take in (1, 2):
                soundfile.write(folder / "recordings" / command / f"{speaker}-{take}.wav", 0.2 * wave, 16_000)


QUICK_TO_COMPILE = "--xla_backend_optimization_level=0"


def with_few_steps(text: str) -> str:
    return re.sub(r"(steps ?= ?)600", rf"\g<1>{STEPS}", text)


def follow(guide: pathlib.Path, folder: pathlib.Path) -> list[str]:
    """Runs the blocks of a guide, with few steps and a port that is free in place of 8765; a block that opens with a
    file's name is that file. Returns the kinds of the blocks."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "PATH": f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "XLA_FLAGS": QUICK_TO_COMPILE,
    }
    blocks = re.findall(r"```(python|gin|toml|bash)\n(.*?)```", guide.read_text(encoding="utf-8"), re.DOTALL)
    for kind, text in blocks:
        text = with_few_steps(text).replace("8765", str(port))
        if kind != "bash":
            name = re.match(r"# (\S+)\n", text)
            (folder / name[1]).parent.mkdir(exist_ok=True)
            (folder / name[1]).write_text(text.replace(LARGE, SMALL))
            continue
        done = subprocess.run(
            ["bash", "-e", "-c", text], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
    return [kind for kind, _ in blocks]


@pytest.mark.slow
def test_the_guide_to_a_new_task_leads_to_scores(tmp_path):
    record_commands(tmp_path)
    assert follow(GUIDE, tmp_path) == ["python", "bash", "python", "gin", "bash", "bash"]
    assert json.loads((tmp_path / "report.json").read_text())
    scores = json.loads((tmp_path / "scores.json").read_text())["scores"]["spoken_commands"]
    assert scores["examples"] == 6 and 0 <= scores["accuracy"] <= 1


def record_sentences(folder: pathlib.Path) -> None:
    """Chords in place of speech, with the words that they stand for."""
    names = {220: "one", 330: "two", 440: "three", 550: "four"}
    random = np.random.default_rng(0)
    (folder / "clips").mkdir()
    for speaker in ("anna", "ben", "carl", "tom", "maria"):
        for number in range(1, 5):
            pitches = random.choice(list(names), 3)
            time = np.arange(6_000) / 16_000
            wave = np.concatenate([np.sin(2 * np.pi * pitch * time) for pitch in pitches])
            soundfile.write(folder / "clips" / f"{speaker}-{number}.wav", 0.2 * wave, 16_000)
            (folder / "clips" / f"{speaker}-{number}.txt").write_text(
                " ".join(names[pitch] for pitch in pitches) + "\n"
            )


@pytest.fixture(scope="module")
def first_run(tmp_path_factory):
    """The folder that the guide to a first run leaves, and the kinds of its blocks."""
    folder = tmp_path_factory.mktemp("first_run")
    record_sentences(folder)
    return folder, follow(ROOT / "docs" / "first_run.md", folder)


@pytest.mark.slow
def test_the_guide_to_a_first_run_leads_to_scores_and_pages(first_run):
    folder, blocks = first_run
    assert blocks == ["python", "gin", "bash", "bash", "bash"]
    assert json.loads((folder / "scores.json").read_text())["scores"]["manifest_recognition"]["examples"] == 4
    scored = (folder / "scores.html").read_text()
    assert "manifest_recognition: likeliest" in scored and "Where the decoder looks" in scored
    assert "Rows of audio" in (folder / "data.html").read_text()


@pytest.mark.slow
def test_the_guides_behind_it_lead_to_a_loss_of_ones_own_a_finetuned_model_and_what_it_left(first_run):
    folder, _ = first_run
    assert follow(ROOT / "docs" / "add_a_loss.md", folder) == ["python", "bash"]
    lines = (folder / "runs" / "confident" / "metrics.jsonl").read_text().splitlines()
    trained = next(line for line in map(json.loads, lines) if line["kind"] == "train")
    # Negative entropies of a vocabulary of so many pieces.
    assert -np.log(1024) <= trained["loss/my_losses.confidence"] < 0
    assert follow(ROOT / "docs" / "finetune.md", folder) == ["gin", "bash"]
    assert "change" in json.loads((folder / "change.json").read_text())
    assert follow(ROOT / "docs" / "reading_a_run.md", folder) == ["bash"]
    assert json.loads((folder / "status.json").read_text())["step"] == STEPS
    page = (folder / "both.html").read_text()
    assert "manifest_recognition: least likely" in page and page.count("Where the decoder looks") == 4


@pytest.mark.slow
def test_the_guide_to_serving_leads_to_a_server_that_answers_as_the_export_does(first_run):
    folder, _ = first_run
    assert follow(ROOT / "docs" / "serve.md", folder) == ["bash", "python", "bash"]
    heard, answered, refused = (folder / name for name in ("heard.txt", "answer.json", "refused.json"))
    assert json.loads(answered.read_text()) == {"text": heard.read_text().removesuffix("\n")}
    assert "wanted a recording" in json.loads(refused.read_text())["error"]


@pytest.mark.slow
def test_the_notebook_is_executed_from_its_first_cell_to_its_last(tmp_path, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", QUICK_TO_COMPILE)
    notebook = nbformat.read(ROOT / "docs" / "first_look.ipynb", as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs for cell in cells), "it is kept without what it printed"
    assert not [cell.source for cell in cells if cell.source.startswith("%%bash") and "\nset -e\n" not in cell.source]
    for cell in cells:
        cell.source = with_few_steps(cell.source)
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    printed = "".join(output.get("text", "") for output in cells[-1].outputs)
    players = [output for output in cells[-1].outputs if "<audio" in output.get("data", {}).get("text/html", "")]
    assert printed.count("said   ") == printed.count("heard  ") == len(players) == 5
    folder = tmp_path / "runs" / "first_look"
    lines = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    assert lines[0]["share/my_recognition"] > 0 < lines[0]["share/embedded_masked_language_model_en"]
    assert lines[-1]["kind"] == "evaluation" and lines[-1]["my_recognition/ctc/wer"] >= 0
    assert "my_recognition/ctc/wer" in (folder / "report.html").read_text()


def test_the_guides_to_pods_and_to_clusters_say_what_would_run(tmp_path):
    assert follow(ROOT / "docs" / "tpu_pods.md", tmp_path) == ["toml", "bash"]
    commands = (tmp_path / "commands.txt").read_text()
    assert "gcloud" in commands and "v5e" in commands and "--gin.Data.rows=256" in commands
    assert "SPEECHLM_PROCESS_ID=1" in (tmp_path / "here.txt").read_text()
    assert follow(ROOT / "docs" / "gpus.md", tmp_path) == ["toml", "bash", "toml", "bash"]
    assert "CUDA_VISIBLE_DEVICES=7" in (tmp_path / "one_machine.txt").read_text()
    assert "#SBATCH --signal=TERM@300" in (tmp_path / "cluster.txt").read_text()


def test_the_pictures_are_those_that_the_script_draws(tmp_path):
    command = [sys.executable, str(ROOT / "benchmarks" / "pictures.py"), f"--into={tmp_path}"]
    subprocess.run(command, cwd=ROOT, check=True)
    drawn = sorted(tmp_path.iterdir())
    assert len(drawn) == 3
    for picture in drawn:
        assert picture.read_text() == (ROOT / "docs" / picture.name).read_text(), f"run {command[1]}"


@pytest.mark.slow
def test_the_guide_to_a_cache_leads_to_a_task_that_reads_it(tmp_path):
    record_commands(tmp_path)
    make_manifest = re.search(r"```python\n(# make_manifest.py\n.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    subprocess.run([sys.executable, "-c", make_manifest[1]], cwd=tmp_path, check=True)
    assert follow(ROOT / "docs" / "cache.md", tmp_path) == ["python", "bash", "python"]
    (counts,) = json.loads((tmp_path / "counts.json").read_text())["caches"]
    program = (
        "import cached_tasks, seqio\nsource = seqio.TaskRegistry.get('cached_commands').source\n"
        "print([source.num_input_examples(split) for split in source.splits])"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == [counts["splits"][split]["records"] for split in ("train", "test")] == [12, 6]


def test_the_guide_names_functions_that_there_are():
    from speechlm_jax.data import objectives, paired_objectives, speech_objectives

    rooms = {"objectives": objectives, "paired_objectives": paired_objectives, "speech_objectives": speech_objectives}
    named = re.findall(r"`(\w*objectives)\.(\w+)`((?:, `\.\w+`)*)", GUIDE.read_text(encoding="utf-8"))
    assert len(named) >= 7
    for room, first, others in named:
        for name in [first, *re.findall(r"\.(\w+)", others)]:
            assert hasattr(rooms[room], name), f"docs/add_a_task.md names {room}.{name}"


def test_the_site_of_these_pages_is_built_without_a_warning(tmp_path):
    """Every page stands in its contents, and every link and anchor leads somewhere."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", f"--site-dir={tmp_path}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {page.stem for page in (ROOT / "docs").glob("*.md")} <= {page.stem for page in tmp_path.glob("*.html")}
