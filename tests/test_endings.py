"""How a command ends: its code, and what it says to whoever gave it."""

import importlib
import subprocess
import sys

import cli_verb
import pytest
import tensorflow as tf

from speechlm_jax import cli, endings
from speechlm_jax.data import registration

VERBS = {**cli.VERBS, "try": ("cli_verb", "keeps what it is given")}


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SPEECHLM_TRACEBACK", raising=False)


@pytest.mark.parametrize(
    ("ending", "code", "last", "trace"),
    [
        ("", 0, "", False),
        ("mistake", 2, "speechlm try: doing this, wanted that, found neither. Set Whole.steps.", False),
        ("chained mistake", 2, "speechlm try: seven is no number", False),
        (
            "own code",
            2,
            f"{cli_verb.__file__}, line 83: ValueError: invalid literal for int() with base 10: 'seven'. "
            "SPEECHLM_TRACEBACK=1 shows the stack.",
            False,
        ),
        ("file", 2, "speechlm try: no/such/file: No such file or directory", False),
        ("storage", 43, "speechlm try: reading a.wav: [Errno 116] Stale file handle", False),
        ("library", 1, "speechlm try: stopped by a fault of the program; the stack above says where.", True),
        ("fault", 1, "speechlm try: stopped by a fault of the program; the stack above says where.", True),
        ("preempted", 42, "speechlm try: saved at step 3; start the same command again.", False),
        ("interrupted", 130, "speechlm try: stopped from the keyboard.", False),
    ],
)
def test_each_ending_has_its_code_and_its_message(capsys, ending, code, last, trace):
    assert cli.main(["try", f"--ending={ending}"], VERBS) == code
    err = capsys.readouterr().err
    assert err.strip().endswith(last)
    assert ("Traceback" in err) == trace


OWN_TASKS = {
    "broken": ("import seqio\nseqio.no_such_name\n", 2, "AttributeError: module 'seqio' has no attribute"),
    "unread": ("x = (\n", 1, "SyntaxError: '(' was never closed"),
    "mapped": ("def f(x):\n    return x['text']\n\n\ndef g(ds):\n    return ds.map(f)\n", 2, "KeyError: 'text'"),
    "each": (
        "import seqio\n\n\n@seqio.map_over_dataset\ndef g(x):\n    return {'text': x['name']}\n",
        6,
        "KeyError: 'name'",
    ),
}


@pytest.mark.parametrize("name", OWN_TASKS)
def test_an_error_in_a_task_module_of_ones_own_is_told_by_its_line(tmp_path, monkeypatch, capsys, name):
    text, line, told = OWN_TASKS[name]
    (tmp_path / f"{name}_tasks.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    def run(**_):
        registration.import_tasks(f"{name}_tasks")
        importlib.import_module(f"{name}_tasks").g(tf.data.Dataset.from_tensors({"id": "a"}))

    with monkeypatch.context() as changed:
        changed.setattr(cli_verb, "end", run)
        assert cli.main(["try", "--ending=called"], VERBS) == 2
    err = capsys.readouterr().err
    assert f"{name}_tasks.py, line {line}: {told}" in err and "Traceback" not in err


@pytest.mark.parametrize(
    ("path", "own"),
    [
        ("/home/me/my_tasks.py", True),
        ("/home/me/.local/lib/python3.11/site-packages/jax/core.py", False),
        ("/usr/lib/python3/dist-packages/yaml/reader.py", False),
        ("/tmp/__autograph_generated_file1.py", False),
        (endings.__file__, False),
        (str(cli.ROOT / "speechlm_jax_tasks.py"), True),
        ("<stdin>", False),
    ],
)
def test_what_is_installed_is_nobodys_own(path, own):
    assert endings._is_own_file(path) == own


def test_the_stack_of_a_mistake_is_shown_on_request(capsys, monkeypatch):
    monkeypatch.setenv("SPEECHLM_TRACEBACK", "1")
    assert cli.main(["try", "--ending=mistake"], VERBS) == 2
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.strip().endswith("Set Whole.steps.")


def test_ctrl_c_while_the_front_door_opens_ends_without_a_stack():
    program = """
import sys
class Stop:
    def find_spec(self, name, *_):
        if name == "speechlm_jax.cli":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Stop())
from speechlm_jax import __main__
__main__.start()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=cli.ROOT, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "speechlm: stopped from the keyboard.\n")
