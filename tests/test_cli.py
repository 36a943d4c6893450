"""The front door: what a command line means, and what is said when it is wrong."""

import os
import pathlib
import subprocess
import sys

import cli_verb
import pytest

from speechlm_jax import cli

VERBS = {**cli.VERBS, "try": ("cli_verb", "keeps what it is given")}
HEAD = "from __gin__ import dynamic_registration\nimport cli_verb\n"


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SPEECHLM_TRACEBACK", raising=False)
    cli_verb.RECEIVED.clear()


def received(*arguments):
    """What the verb's run() is given under these arguments."""
    assert cli.main(["try", *arguments], VERBS) == 0
    return cli_verb.RECEIVED[-1]


def refused(capsys, *arguments):
    """The one message of a command that is a mistake of the user."""
    assert cli.main(list(arguments), VERBS) == 2
    out, err = capsys.readouterr()
    assert not out
    assert "Traceback" not in err
    assert err.count("speechlm") >= 1
    return err


def write(tmp_path, name, text):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(HEAD + text)
    return str(path)


# What is meant


def test_a_required_dataclass_is_what_gin_makes_it():
    assert received()["whole"] == cli_verb.Whole()
    assert received("--gin.Whole.steps=7")["whole"] == cli_verb.Whole(steps=7)


def test_bindings_win_over_files_and_later_files_over_earlier_ones(tmp_path):
    one = write(tmp_path, "one.gin", "cli_verb.Whole.steps = 1\ncli_verb.Whole.folder = 'one'\n")
    two = write(tmp_path, "two.gin", "cli_verb.Whole.steps = 2\n")
    assert received(f"--gin_file={one}", f"--gin_file={two}")["whole"] == cli_verb.Whole("one", 2)
    assert received(f"--gin_file={one}", "--gin_file", two, "--gin.Whole.steps=3")["whole"] == cli_verb.Whole("one", 3)


def test_numbers_that_are_not_finite_are_refused_and_words_that_look_like_them_are_not():
    assert cli._value("('a.inference', 'info')", {})[0] == "('a.inference', 'info')"
    assert cli._value("{'inf': 1.0}", {})[0] == "{'inf': 1.0}"
    for value in ("1e400", "(1, -1e400)", "{'a': [1e400]}"):
        with pytest.raises(ValueError, match="wanted a value whose numbers are finite"):
            cli._value(value, {})


def test_the_verbs_own_flags_win_over_gin(tmp_path):
    file = write(tmp_path, "a.gin", "cli_verb.run.count = 1\ncli_verb.run.ending = 'well'\n")
    given = received(f"--gin_file={file}", "--gin.cli_verb.run.count=2", "--count=3")
    assert (given["count"], given["ending"]) == (3, "well")


@pytest.mark.parametrize("name", ["Whole", "cli_verb.Whole"])
def test_names_may_be_shortened(name):
    assert received(f"--gin.{name}.steps=5")["whole"].steps == 5


def test_names_of_the_package_may_be_shortened():
    known = cli.configurables.defined_in(cli.configurables.config_modules())
    for short in ("Model", "config.Model", "models.Model", "models.config.Model", "speechlm_jax.models.config.Model"):
        assert cli.configurables.find(short, known) == "speechlm_jax.models.config.Model"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("runs/x", "runs/x"),
        ("'runs/x'", "runs/x"),
        ('"runs/x"', "runs/x"),
        ("", ""),
        ("50%", "50%"),
        ("gs://bucket/a b", "gs://bucket/a b"),
        ("it's", "it's"),
        ("me@home", "me@home"),
    ],
)
def test_strings_need_no_quotes(text, value):
    assert received(f"--gin.Whole.folder={text}")["whole"].folder == value


def test_literals_are_pythons():
    part = received(
        "--gin.Whole.part=@Part()", "--gin.Part.names=('a', 'b')", "--gin.Part.rate=1", "--gin.Part.width=-2"
    )["whole"].part
    assert part == cli_verb.Part(names=("a", "b"), rate=1, width=-2)
    assert received("--gin.Whole.spare=None", "--gin.Whole.exact=True")["whole"].exact is True


def test_scopes_and_references_work_on_the_command_line():
    whole = received("--gin.Whole.spare=@spare/Part()", "--gin.spare/Part.width=8")["whole"]
    assert whole == cli_verb.Whole(spare=cli_verb.Part(width=8))


def test_macros_are_set_on_the_command_line(tmp_path):
    file = write(tmp_path, "a.gin", "STEPS = 1\ncli_verb.Whole.steps = %STEPS\n")
    assert received(f"--gin_file={file}")["whole"].steps == 1
    assert received(f"--gin_file={file}", "--gin.STEPS=9")["whole"].steps == 9


def test_files_and_includes_are_found_here_in_search_paths_and_in_the_repository(tmp_path):
    write(tmp_path, "far/parts/part.gin", "cli_verb.Part.width = 6\n")
    file = write(tmp_path, "far/top.gin", "include 'parts/part.gin'\ncli_verb.Whole.part = @cli_verb.Part()\n")
    assert received(f"--gin_file={file}", f"--gin_search_paths=nowhere,{tmp_path}/far")["whole"].part.width == 6
    assert received("--gin_file=top.gin", f"--gin_search_paths={tmp_path}/far")["whole"].part.width == 6
    write(tmp_path, "parts/part.gin", "cli_verb.Part.width = 2\n")
    assert received(f"--gin_file={file}", f"--gin_search_paths={tmp_path}/far")["whole"].part.width == 2


def test_one_command_does_not_leak_into_the_next(tmp_path):
    write(tmp_path, "far/a.gin", "cli_verb.Whole.steps = 5\n")
    assert received("--gin_file=a.gin", f"--gin_search_paths={tmp_path}/far")["whole"].steps == 5
    assert received()["whole"].steps == 1
    assert cli.main(["try", "--gin_file=a.gin"], VERBS) == 2


def test_the_text_that_run_receives_gives_the_same_run_again(tmp_path):
    first = received(
        "--gin.Whole.spare=@spare/Part()", "--gin.spare/Part.width=8", "--gin.Whole.folder=a b", "--count=3"
    )
    (tmp_path / "again.gin").write_text(first["config_text"])
    again = received("--gin_file=again.gin")
    assert again == first
    assert "rate = 0.5" in first["config_text"], "defaults are written out"
    assert "config_text" not in first["config_text"]


# What is refused


def test_a_misspelt_verb_is_told_the_nearest(capsys):
    assert "'tyr', wanted one of" in (told := refused(capsys, "tyr"))
    assert "Nearest: 'try'" in told


@pytest.mark.parametrize(
    ("argument", "wrong", "near"),
    [
        ("--gin.Whole.setps=3", "Whole has no setting 'setps'", "'steps'"),
        ("--gin.Whoel.steps=3", "called 'Whoel'", "'Whole'"),
        ("--gin.cli_verb.run.cuont=3", "no setting 'cuont'", "'count'"),
        ("--cuont=3", "unrecognized arguments: --cuont=3", "'--count'"),
        ("--gin.Whole.spare=@Prat()", "called 'Prat'", "'Part'"),
    ],
)
def test_a_misspelt_name_is_told_the_nearest(capsys, argument, wrong, near):
    told = refused(capsys, "try", argument)
    assert wrong in told
    assert f"Nearest: {near}" in told


def test_a_setting_that_is_given_as_a_flag_is_told_how_it_is_given(capsys):
    assert "It is a setting: --gin.Whole.steps=VALUE." in refused(capsys, "try", "--steps=3")


@pytest.mark.parametrize("misspelt", ["STPES", "STEP"])
def test_a_misspelt_macro_is_told_the_nearest(capsys, tmp_path, misspelt):
    file = write(tmp_path, "a.gin", "STEPS = 1\ncli_verb.Whole.steps = %STEPS\n")
    told = refused(capsys, "try", f"--gin_file={file}", f"--gin.{misspelt}=9")
    assert f"{misspelt} sets a macro that this verb's recipe does not use. Nearest: 'STEPS'" in told


@pytest.mark.parametrize(
    ("argument", "wanted"),
    [
        ("--gin.Whole.steps=many", "Whole.steps wants int, found 'many'"),
        ("--gin.Whole.steps=1.5", "Whole.steps wants int, found 1.5"),
        ("--gin.Whole.steps=True", "Whole.steps wants int, found True"),
        ("--gin.Whole.folder=3", "Whole.folder wants str, found 3"),
        ("--gin.Whole.exact=true", "Python's constants are written True"),
        ("--gin.Part.kind=oval", "Part.kind wants Literal['round', 'square'], found 'oval'"),
        ("--gin.Part.names=a", "One member is written ('a',)"),
        ("--gin.Part.names=['a','b']", "It is written ('a', 'b')"),
        ("--count=x", "argument --count: invalid int value: 'x'"),
    ],
)
def test_a_value_of_another_type_is_refused(capsys, argument, wanted):
    assert wanted in refused(capsys, "try", "--gin.Whole.part=@Part()", argument)


def test_a_value_of_another_type_in_a_file_is_refused_before_anything_is_made_of_it(capsys, tmp_path):
    file = write(tmp_path, "a.gin", "cli_verb.Whole.part = @cli_verb.Part()\ncli_verb.Part.width = '6'\n")
    assert "Part.width wants int, found '6'." in refused(capsys, "try", f"--gin_file={file}")


def test_what_a_dataclass_refuses_is_said_in_its_words(capsys):
    told = refused(capsys, "try", "--gin.Whole.part=@Part()", "--gin.Part.width=3")
    assert told == "speechlm try: a part is even, found Part.width = 3.\n"


def test_a_binding_that_changes_nothing_is_refused(capsys, tmp_path):
    assert "--gin.Part.width changes nothing here" in refused(capsys, "try", "--gin.Part.width=6")
    assert "--gin.train.run.recipe changes nothing" in refused(capsys, "try", "--gin.train.run.recipe=@Recipe()")
    file = write(tmp_path, "a.gin", "cli_verb.Part.width = 6\n")
    assert "the gin files bind Part, and nothing is made of it" in refused(capsys, "try", f"--gin_file={file}")


def test_one_command_line_serves_the_verbs_of_a_recipe(capsys):
    recipe = "--gin_file=gin_configs/recipes/digits.gin"
    assert cli.main(["try", recipe, "--gin.Recipe.run_dir=here", "--gin.STEPS=3"], VERBS) == 0
    assert "changes nothing here" in refused(capsys, "try", recipe, "--gin.Finetune.use_ema=False")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("cli_verb.Whole.setps = 3\n", "cli_verb.Whole has no setting 'setps'. Nearest: 'steps'. (a.gin:3)"),
        ("cli_verb.Whoel.steps = 3\n", "cli_verb has no 'Whoel'. Nearest: 'Whole'. (a.gin:3)"),
        ("Whole.steps = 3\n", "'Whole' is not imported by the gin file that uses it"),
        ("cli_verb.Whole.steps = \n", "Unable to parse value. (a.gin:3: cli_verb.Whole.steps =)"),
        ("import no_such_module\n", "No module named 'no_such_module' (a.gin:3)"),
        ("include 'no/such.gin'\n", "there is no gin file no/such.gin. Looked in: this folder, "),
        ("cli_verb.Whole.steps = %STEPS\n", "%STEPS is used, and nothing sets it."),
        (
            "cli_verb.Whole.steps = %gin.REQUIRED\n",
            "Whole.steps set to `%gin.REQUIRED` but not subsequently overridden",
        ),
    ],
)
def test_a_mistake_in_a_file_is_told_with_its_place(capsys, tmp_path, text, told):
    write(tmp_path, "a.gin", text)
    assert told in refused(capsys, "try", "--gin_file=a.gin")


def test_a_file_without_dynamic_registration_is_told_how_to_open(capsys, tmp_path):
    (tmp_path / "a.gin").write_text("import cli_verb\ncli_verb.Stray.width = 3\n")
    assert "opens with `from __gin__ import dynamic_registration`" in refused(capsys, "try", "--gin_file=a.gin")


def test_a_gin_file_that_is_not_there_is_named(capsys):
    assert "there is no gin file no.gin. Looked in: this folder" in refused(capsys, "try", "--gin_file=no.gin")


def test_a_folder_that_is_given_as_a_gin_file_is_told(capsys, tmp_path):
    assert f"a folder, not a gin file, is {tmp_path}. Looked in" in refused(capsys, "try", f"--gin_file={tmp_path}")


def test_a_binding_without_a_value_is_refused(capsys):
    assert "wanted --gin.NAME=VALUE, in one word" in refused(capsys, "try", "--gin.Whole.steps", "3")


def test_a_required_setting_that_nothing_sets_is_named(capsys):
    assert "--checkpoint, --task must be set, and nothing sets it." in refused(capsys, "evaluate")
    assert refused(capsys, "evaluate", "--checkpoint=x").endswith(": --task must be set, and nothing sets it.\n")
    assert "'y' does not exist" in refused(capsys, "evaluate", "--checkpoint=.", "--before=y")
    pathlib.Path("z").write_text("")
    assert "'z' is a file. Name a run's folder" in refused(capsys, "evaluate", "--checkpoint=z", "--task=t")


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (["--to=de", "a.wav"], "--to means nothing to --use=transcribe"),
        (["--use=answer", "--text=x"], "wanted --question, found none"),
        (["--use=transalte", "a.wav"], "Nearest: 'translate'"),
        (["--use=speak", "--out_dir=said"], "wanted --text or a manifest, found none"),
        ([], "wanted audio files, folders or a manifest, found none"),
    ],
)
def test_a_use_without_what_it_needs_is_refused(capsys, told, message):
    assert message in refused(capsys, "infer", "--checkpoint=.", *told)


def test_help_tells_what_a_verb_can_be_told(capsys):
    assert cli.main(["try", "--help"], VERBS) == 0
    out = capsys.readouterr().out
    for expected in (
        "cli_verb.run.ending: str = ''\n      how the verb ends.",
        "Part.width: int = 4\n      Steps from side to side.",
        "Whole.spare: Part | None = None",
        "--gin_file=PATH",
        "--count",
    ):
        assert expected in out
    assert "config_text" not in out


def test_help_lists_the_verbs_whose_modules_are_there(capsys):
    assert cli.main(["--help"], {**VERBS, "fly": ("speechlm_jax.no_such_verb", "flies")}) == 0
    out = capsys.readouterr().out
    assert "  train " in out
    assert "  fly" not in out
    assert cli.main([], VERBS) == 2


def test_help_and_mistakes_answer_without_array_libraries_in_time(tmp_path):
    program = (
        "import sys\nfrom speechlm_jax import cli\ncode = cli.main(sys.argv[1:])\n"
        "assert not {'jax', 'tensorflow', 'seqio', 'librosa', 'flax'} & set(sys.modules)\nsys.exit(code)"
    )
    mistakes = (["train", "--gin.Model.widht=3"], ["infer", "--checkpoint=.", "--use=translate", "--to=de", "x.wav"])
    for arguments, code in ((["train", "--help"], 0), *((mistake, 2) for mistake in mistakes), (["--version"], 0)):
        before = os.times()
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments], capture_output=True, text=True, cwd=cli.ROOT, check=False
        )
        assert done.returncode == code, done.stderr
        after = os.times()
        # The time of a processor, because other tests may keep this one waiting.
        assert after.children_user + after.children_system - before.children_user - before.children_system < 2


def test_the_package_runs_as_a_module():
    command = [sys.executable, "-m", "speechlm_jax", "trian"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cli.ROOT, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("speechlm: there is no verb 'trian'")
