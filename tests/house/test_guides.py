"""The guides in docs/ do what they say: their blocks are run, in order, in an empty folder."""

import json
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
import soundfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "add_a_task.md"
STEPS = 6


def record_commands(folder: pathlib.Path) -> None:
    """Chords in place of speech: three commands by three speakers."""
    for pitch, command in ((220, "lights_on"), (440, "lights_off"), (660, "open_the_door")):
        (folder / "recordings" / command).mkdir(parents=True)
        for number, speaker in enumerate(("anna", "tom", "maria")):
            time = np.arange(12_000) / 16_000
            wave = sum(np.sin(2 * np.pi * pitch * (1 + 0.05 * number) * k * time) / k for k in (1, 2, 3))
            for take in (1, 2):
                soundfile.write(folder / "recordings" / command / f"{speaker}-{take}.wav", 0.2 * wave, 16_000)


def follow(guide: pathlib.Path, folder: pathlib.Path) -> list[str]:
    """Runs the blocks of a guide, with few steps; a block that opens with a file's name is that file. Returns the kinds
    of the blocks."""
    environment = {
        **os.environ,
        "PATH": f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "XLA_FLAGS": "--xla_backend_optimization_level=0",
    }
    blocks = re.findall(r"```(python|gin|bash)\n(.*?)```", guide.read_text(encoding="utf-8"), re.DOTALL)
    for kind, text in blocks:
        if kind != "bash":
            name = re.match(r"# (\S+)\n", text)
            (folder / name[1]).write_text(text.replace("steps = 600", f"steps = {STEPS}"))
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
