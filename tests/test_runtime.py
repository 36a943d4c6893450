"""The process: its place among others, and how it tells of its progress."""

import os
import pathlib
import socket
import subprocess
import sys

import process_group
import pytest

from speechlm_jax import runtime


def test_a_process_alone_joins_nobody():
    assert runtime._membership({}) is None
    assert runtime._membership({"SPEECHLM_COORDINATOR": "here:1"}) == ("here:1", 1, 0)


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
    assert err.splitlines() == [f"reading: {count} of 3 records, 0 s" for count in (1, 2, 3)]
    with runtime.Progress("reading", total=0, unit="records"):
        pass
    assert capsys.readouterr().err == "reading: 0 of 0 records, 0 s\n"


def test_what_the_environment_says_already_stands(monkeypatch):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    runtime.quiet()
    assert runtime.os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0"


def test_only_notes_on_loading_are_dropped():
    program = (
        "import os, sys\nfrom speechlm_jax import runtime\nos.write(2, b'before\\n')\n"
        "with runtime.without_loading_notes(), runtime.without_loading_notes():\n"
        "    os.write(2, b'WARNING: All log messages before absl::InitializeLog() is called\\n')\n"
        "    os.write(2, b'I0000 00:00:17 123 cudart_stub.cc:31] Could not find cuda drivers\\n')\n"
        "    print('between', file=sys.stderr)\n    os.write(2, b'E0000 trouble\\nrest')\n"
        "os.write(2, b' after\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=pathlib.Path(__file__).parents[1],
    )
    assert done.stderr == "before\nbetween\nE0000 trouble\nrest after\n"


def free_port():
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


JOINS = """
from speechlm_jax import runtime
runtime.initialize()
runtime.initialize()
import sys
import jax
sys.stdout.write(f"{jax.process_index()} {jax.process_count()} {jax.device_count()}\\n")  # whole: Gloo writes, too
"""
LISTENS = """
import os
from speechlm_jax import runtime
runtime.initialize()
port = int(os.environ["SPEECHLM_COORDINATOR"].split(":")[1])
sockets = [line.split() for name in ("tcp", "tcp6") for line in open("/proc/net/" + name)]
print(*[fields[1] for fields in sockets if fields[3] == "0A" and fields[1].endswith(f":{port:04X}")])
"""


def start(environment, program=JOINS):
    return subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=pathlib.Path(__file__).parents[1],
    )


@pytest.mark.slow
def test_processes_join_one_group():
    alone = start({})
    told = {"SPEECHLM_COORDINATOR": f"localhost:{free_port()}", "SPEECHLM_PROCESSES": "2"}
    group = [start({**told, "SPEECHLM_PROCESS_ID": str(number)}) for number in range(2)]
    outs = [out.strip().splitlines()[-1] for out, _ in process_group.said([alone, *group], 200)]
    assert outs == ["0 1 2", "0 2 4", "1 2 4"]


@pytest.mark.slow
@pytest.mark.skipif(not pathlib.Path("/proc/net/tcp").exists(), reason="the system does not say who listens where")
def test_where_all_stand_on_one_machine_no_other_can_call_them():
    process = start({"SPEECHLM_COORDINATOR": f"localhost:{free_port()}"}, LISTENS)
    addresses = [word.split(":")[0] for word in process.communicate(timeout=200)[0].splitlines()[-1].split()]
    # 127.0.0.1, of either family.
    assert addresses and all(address[-8:] == "0100007F" for address in addresses)


COMPILES = """
import sys
import jax
from speechlm_jax import runtime

runtime.keep_compiled(sys.argv[1])
hits = []
jax.monitoring.register_event_listener(lambda event, **_: event.endswith("cache_hits") and hits.append(event))

def long(x):
    return [jax.numpy.sort(x[:length]) for length in range(2, 402)]

jax.jit(long).lower(jax.numpy.zeros(402)).compile()
print(len(hits), jax.config.jax_compilation_cache_dir)
"""


@pytest.mark.slow
def test_what_a_process_has_compiled_the_next_one_reads(tmp_path):
    environment = {name: value for name, value in os.environ.items() if "COMPILATION_CACHE" not in name}
    kept = []
    for hits in ("0", "1"):
        words = [sys.executable, "-c", COMPILES, tmp_path / "compiled"]
        told = subprocess.run(words, env=environment, capture_output=True, text=True)
        assert told.stdout.split() == [hits, str(tmp_path / "compiled")], told
        kept.append({path.name for path in (tmp_path / "compiled").iterdir() if path.name.endswith("-cache")})
    assert kept[0] == kept[1] and len(kept[0]) == 1


def test_a_folder_for_what_is_compiled_that_the_environment_names_stands(tmp_path):
    words = [sys.executable, "-c", COMPILES.replace("402", "3"), tmp_path / "compiled"]
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "named")}
    told = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert told.stdout.split() == ["0", str(tmp_path / "named")], told
