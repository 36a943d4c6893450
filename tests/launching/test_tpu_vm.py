"""TPU VMs that are taken away are asked for again: by a command named gcloud that plays the cloud's part."""

import os
import pathlib
import subprocess
import sys

import pytest
from launching import jobs_of_tests

from launch import __main__ as front

# States and lines that it tells one after the other; the last stays. What it was asked is kept.
GCLOUD = """#!{python}
import pathlib, sys
folder = pathlib.Path({folder!r})
verb = sys.argv[4]
with (folder / "asked").open("a") as asked:
    asked.write(verb + "\\n")
def next_of(name):
    left = (folder / name).read_text().splitlines()
    (folder / name).write_text("\\n".join(left[1:] or left) + "\\n")
    return left[0]
if verb == "describe":
    print(next_of("states"))
if verb == "ssh" and "cat" in " ".join(sys.argv):
    line = next_of("lines")
    # It does not answer.
    sys.exit(255) if line == "unheard" else print(line)
fails = folder / (verb + "-fails")
if fails.exists():
    fails.unlink()
    sys.exit(1)
sys.exit(int((folder / "code").read_text()) if (folder / "code").exists() and verb == "create" else 0)
"""


@pytest.fixture
def cloud(tmp_path, monkeypatch):
    """(folder of what gcloud tells, the path of a job)."""
    path = tmp_path / "bin" / "gcloud"
    path.parent.mkdir()
    path.write_text(GCLOUD.format(python=sys.executable, folder=str(tmp_path)))
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    told = jobs_of_tests.write(tmp_path, jobs_of_tests.JOB + "\n")
    root = pathlib.Path(__file__).parents[2]
    return tmp_path, ["tpu_vm", told, "--no-plan", "--set", "tpu_vm.poll_seconds=0.01", "--set", f"tpu_vm.code={root}"]


def play(folder, states, lines):
    (folder / "states").write_text("\n".join(states) + "\n")
    (folder / "lines").write_text("\n".join(lines) + "\n")


def test_what_is_taken_away_is_asked_for_again(cloud, capsys):
    folder, words = cloud
    play(
        folder,
        [
            "WAITING_FOR_RESOURCES",
            "PROVISIONING",
            "ACTIVE",
            "ACTIVE",
            "ACTIVE",
            "ACTIVE",
            "SUSPENDED",
            "SUSPENDED",
            "ACTIVE",
        ],
        ["step 10", "step 20", "unheard", "ended 0"],
    )
    assert front.main(words) == 0
    asked = (folder / "asked").read_text().split()
    assert asked.count("create") == 2 and asked.count("delete") == 1 and asked.count("scp") == 2
    said = capsys.readouterr().err
    assert "the TPUs are WAITING_FOR_RESOURCES" in said and "asking again, 1 of 7" in said and "step 20" in said
    assert "The TPUs are still held" in said


def test_one_that_is_up_is_watched_without_asking_for_another(cloud):
    folder, words = cloud
    play(folder, ["ACTIVE"], ["unheard", "step 30", "ended 0"])
    assert front.main([*words, "--action=watch"]) == 0
    asked = (folder / "asked").read_text().split()
    assert not {"create", "delete", "scp"} & {*asked}


def test_code_that_is_not_in_git_is_told_before_anything_is_asked_for(cloud, capsys):
    folder, words = cloud
    assert front.main([*words, "--set", f"tpu_vm.code={folder}"]) == 2
    assert not (folder / "asked").exists() and "archive" in capsys.readouterr().err


def test_a_run_that_failed_is_not_started_again_and_its_code_is_told(cloud):
    folder, words = cloud
    play(folder, ["ACTIVE"], ["ended 2"])
    assert front.main(words) == 2
    assert (folder / "asked").read_text().split().count("create") == 1


def test_there_is_an_end_to_asking_again(cloud, capsys):
    folder, words = cloud
    play(folder, ["FAILED"], ["none"])
    assert front.main([*words, "--set", "retries=2"]) == 2
    assert (folder / "asked").read_text().split().count("create") == 3
    said = capsys.readouterr().err
    assert "taken away 3 times, and retries = 2" in said and said.count("the TPUs are FAILED: FAILED") == 3


def test_a_command_that_fails_is_named(cloud, capsys):
    folder, words = cloud
    play(folder, ["ACTIVE"], ["none"])
    (folder / "code").write_text("1")
    assert front.main(words) == 2
    assert "queued-resources create base" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["scp", "ssh"])
def test_what_fails_once_while_a_job_is_brought_up_is_done_once_more(cloud, capsys, verb):
    folder, words = cloud
    play(folder, ["ACTIVE"], ["ended 0"])
    (folder / f"{verb}-fails").touch()
    assert front.main(words) == 0
    assert "ended with code 1. Once more" in capsys.readouterr().err


def test_a_recipe_that_is_not_committed_is_told_before_anything_is_asked_for(cloud, capsys):
    folder, words = cloud
    code = folder / "code_here"
    code.mkdir()
    git = ["git", "-C", str(code), "-c", "user.name=x", "-c", "user.email=x@y.z"]
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "empty"]):
        subprocess.run([*git, *command], check=True)
    (code / "mine.gin").touch()
    more = ["--set", f"tpu_vm.code={code}", "--set", "recipe=mine.gin"]
    assert front.main([*words, *more]) == 2
    assert not (folder / "asked").exists() and "wanted the recipe mine.gin among what is" in capsys.readouterr().err
    subprocess.run([*git, "add", "mine.gin"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "mine"], check=True)
    play(folder, ["ACTIVE"], ["ended 0"])
    assert front.main([*words, *more]) == 0


def test_where_there_is_no_gcloud_it_is_said(cloud, capsys, monkeypatch):
    _, words = cloud
    monkeypatch.setenv("PATH", "/nowhere")
    assert front.main(words) == 2
    assert "there is no git and no gcloud here" in capsys.readouterr().err
