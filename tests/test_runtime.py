"""The process: its place among others, and how it tells of its progress."""

import pytest

from speechlm_jax import runtime


def test_a_process_alone_forms_a_group_of_one():
    coordinator, processes, process_id = runtime._membership({})
    assert (processes, process_id) == (1, 0)
    host, port = coordinator.split(":")
    assert host == "localhost"
    assert int(port) > 0


def test_the_environment_says_who_belongs_to_the_run():
    told = {"SPEECHLM_COORDINATOR": "first:1234", "SPEECHLM_PROCESSES": "4", "SPEECHLM_PROCESS_ID": "3"}
    assert runtime._membership(told) == ("first:1234", 4, 3)
    assert runtime._membership({"SPEECHLM_COORDINATOR": "auto"})[0] == "auto"


@pytest.mark.parametrize(
    ("told", "wrong"),
    [
        ({"SPEECHLM_PROCESSES": "two"}, "SPEECHLM_PROCESSES=two"),
        ({"SPEECHLM_PROCESSES": "2"}, "host:port"),
        ({"SPEECHLM_PROCESSES": "2", "SPEECHLM_PROCESS_ID": "2", "SPEECHLM_COORDINATOR": "a:1"}, "found 2 of 2"),
        ({"SPEECHLM_PROCESS_ID": "-1"}, "SPEECHLM_PROCESS_ID=-1"),
    ],
)
def test_a_contradiction_is_refused(told, wrong):
    with pytest.raises(ValueError, match="joining the run's processes") as caught:
        runtime._membership(told)
    assert wrong in str(caught.value)


def test_progress_is_plain_lines_where_nobody_watches(capsys):
    with runtime.Progress("reading", total=3, unit="records", every_seconds=0) as progress:
        assert list(progress.over("abc")) == ["a", "b", "c"]
    out, err = capsys.readouterr()
    assert not out
    assert err.splitlines()[0] == "reading: 1 of 3 records, 0 s"
    assert err.splitlines()[-1] == "reading: 3 of 3 records, 0 s"


def test_what_the_environment_says_already_stands(monkeypatch):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    runtime.quiet()
    assert runtime.os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0"
