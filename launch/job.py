"""What a job is, whatever it runs on: read from a TOML file, checked before anything is started."""

import dataclasses
import difflib
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import tomllib
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from launch import mistakes, topologies

RESTARTED = (42, 43)
"""Exit codes of a process that was told to stop, and of one that stood still, or whose storage did: it goes on from
what it has saved when started again. So do processes that a signal ended (128 and on)."""

LONG_LIFE_SECONDS = 3600
"""A life that lasts so long before a signal ends it is none of several in a row that crash."""

_NAME = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET = re.compile(r"(^|_)(TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?|API_?KEY|PRIVATE_KEY)($|_)", re.IGNORECASE)


ENVIRONMENT = (
    "(command -v uv || curl -LsSf https://astral.sh/uv/install.sh | env UV_INSTALL_DIR=$HOME/.local/bin sh)",
    "PATH=$HOME/.local/bin:$PATH uv venv --allow-existing --seed --python 3.12 .venv",
)
"""Commands that make a virtual environment in .venv: the Python of cloud images may be older than is wanted here."""


class Asked(NamedTuple):
    """What the command line asks of a target, beside the job."""

    action: str = "start"
    by_xpk: bool = False


@dataclasses.dataclass(frozen=True)
class Local:
    """Processes of this machine."""

    processes: int = 1
    devices: int = 0
    """Pretended CPU devices of each; 0: whatever JAX finds."""
    gpus: int = 0
    """In place of `processes`: one for each of so many GPUs."""
    grace_seconds: float = 60.0
    """How long processes may go on once one has ended, or a stop was asked for."""


@dataclasses.dataclass(frozen=True)
class TpuVm:
    """TPU VMs of Google Cloud, as a queued resource."""

    project: str = ""
    zone: str = ""
    runtime_version: str = ""
    """Of the VMs' image; "": that of the kind of TPU."""
    spot: bool = False
    service_account: str = ""
    code: str = "."
    """A folder in git, of which the committed files are sent to each worker."""
    setup: tuple[str, ...] = (*ENVIRONMENT, ".venv/bin/pip install -q -c constraints.txt -e '.[tpu]'")
    """Commands in the folder of the code, once on each worker; what mounts the bucket of run_dir is one of them."""
    poll_seconds: float = 60.0


@dataclasses.dataclass(frozen=True)
class Gke:
    """A JobSet of Kubernetes on GKE."""

    image: str = ""
    """With speechlm_jax installed."""
    cluster: str = ""
    project: str = ""
    zone: str = ""
    namespace: str = "default"
    queue: str = ""
    """Kueue's LocalQueue; "": none."""
    service_account: str = ""
    bucket: str = ""
    """Of Cloud Storage, mounted by GKE's driver at `mount`; the service account may write to it."""
    claim: str = ""
    """In its place a PersistentVolumeClaim that many may write to."""
    mount: str = "/data"
    """Where run_dir lies."""
    secret: str = ""
    """The Kubernetes Secret that has a key for each of the job's secrets."""
    grace_seconds: int = 120
    """From the notice to stop to the end of a pod."""


@dataclasses.dataclass(frozen=True)
class Slurm:
    """A batch job of Slurm."""

    nodes: int = 1
    gpus_per_node: int = 0
    per: str = "node"
    """A process for each "node" or "gpu"."""
    tasks_per_node: int = 0
    """In place of one: so many processes a node, without GPUs of their own."""
    cpus_per_task: int = 0
    memory: str = ""
    time: str = ""
    """Of one life, such as "24:00:00"; the job goes back into the queue before it is over."""
    partition: str = ""
    account: str = ""
    notice_seconds: int = 120
    """Before the time is over, processes are told to save and end."""
    port: int = 0
    """Where processes meet, on the first node; 0: by the job's number, so that jobs which share a node do not."""
    setup: tuple[str, ...] = ()
    """Lines of shell before the processes are started, such as "source .venv/bin/activate"."""
    options: tuple[str, ...] = ()
    """Further options of sbatch, such as "--constraint=h100"."""


@dataclasses.dataclass(frozen=True)
class SkyPilot:
    """A managed job of SkyPilot, on whichever cloud has room."""

    accelerators: str = ""
    """Such as "tpu-v6e-8" or "H100:8"."""
    nodes: int = 1
    spot: bool = True
    infra: str = ""
    """Such as "gcp/us-central1"; "": wherever there is room."""
    setup: tuple[str, ...] = ()
    """Commands before the first start; none: a virtual environment with what the accelerators want."""
    mounts: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Folder -> bucket, such as "/data" = "gs://my-bucket"."""


@dataclasses.dataclass(frozen=True)
class Job:
    """One run, and where it may run."""

    name: str = ""
    """Lower-case letters, digits and dashes."""
    recipe: tuple[str, ...] = ()
    """gin files."""
    bindings: tuple[str, ...] = ()
    """Such as "Recipe.steps=1000"; later ones stand."""
    run_dir: str = ""
    """The run's folder, which every host reads and writes, on a disk that they share or a bucket that is mounted; "":
    that of the recipe."""
    verb: str = "train"
    topology: str = ""
    """The TPU slice, such as "v5e:16x16"; "": none."""
    slices: int = 1
    retries: int = 100
    """How often a job that was told to stop is started again; SkyPilot does so without end."""
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Variables of every process."""
    secrets: tuple[str, ...] = ()
    """Names of variables whose values no file and no command line may have."""
    gpu_memory_gb: float = 0.0
    """Of each GPU, in 10^9 bytes; 0: not known, and whether the job fits is not asked."""
    local: Local = Local()
    tpu_vm: TpuVm = TpuVm()
    gke: Gke = Gke()
    slurm: Slurm = Slurm()
    skypilot: SkyPilot = SkyPilot()

    def __post_init__(self):
        if not _NAME.fullmatch(self.name):
            raise mistakes.Mistake(
                f"name = {self.name!r}: wanted up to 40 lower-case letters, digits and dashes, a letter first, which "
                "every target takes for a name."
            )
        if not self.recipe:
            raise mistakes.Mistake("recipe: wanted a gin file or more, found none.")
        if self.retries < 0 or self.slices < 1:
            raise mistakes.Mistake(
                f"wanted retries of 0 or more and slices of 1 or more, found {self.retries} and {self.slices}."
            )
        for name in (*self.environment, *self.secrets):
            if not _VARIABLE.fullmatch(name):
                raise mistakes.Mistake(f"{name!r} is no name of a variable.")
        named = [(f"environment.{name}", name) for name in self.environment]
        named += [(binding, binding.partition("=")[0].rpartition(".")[2]) for binding in self.bindings]
        for where, name in named:
            if _SECRET.search(name):
                raise mistakes.Mistake(
                    f"{where.partition('=')[0]} looks like a secret, which would stand in command lines and manifests. "
                    f"Name a variable in secrets = [...]: its value is then taken from where the target keeps such."
                )
        others = [own for own in self.bindings if re.match(r"Layout\.slices\s*=", own)]
        if self.slices > 1 and any(own.partition("=")[2].strip() != str(self.slices) for own in others):
            raise mistakes.Mistake(
                f"wanted one number of slices, found slices = {self.slices} and {', '.join(others)}."
            )
        if "://" in self.run_dir:
            raise mistakes.Mistake(
                f"run_dir = {self.run_dir!r}: a run's folder is a local or mounted one. Mount the bucket, and name its "
                "folder there; docs/launch.md says how on each target."
            )
        if self.topology:
            topologies.of(self.topology)

    def command(self, python: str = "python") -> list[str]:
        """What every process runs."""
        words = [python, "-m", "speechlm_jax", self.verb]
        return words + self.settings()

    def settings(self) -> list[str]:
        """Gin files and bindings, as flags of a verb."""
        flags = [f"--gin_file={path}" for path in self.recipe]
        flags += [f"--gin.{binding}" for binding in self.bindings]
        # Of each slice a copy of the weights, as the plan has it.
        flags += [f"--gin.Layout.slices={self.slices}"] * bool(self.topology and self.slices > 1)
        return flags + ([f"--gin.Recipe.run_dir={self.run_dir}"] if self.run_dir else [])

    def tpu_slice(self, target: str) -> topologies.Slice:
        """The TPU slice. Raises Mistake where none is named."""
        if not self.topology:
            raise mistakes.Mistake(f"{target}: wanted the TPU slice, such as topology = 'v5e:16x16', found none.")
        return topologies.of(self.topology)


def read(path: str, changes: Sequence[str] = ()) -> Job:
    """The job of a TOML file, with changes such as "slices=2" or "local.processes=4" on top.

    Raises Mistake for what is no job, with the name that was meant."""
    try:
        told = tomllib.loads(pathlib.Path(path).read_text())
        for change in changes:
            name, _, value = change.partition("=")
            _put(told, name, _Given(value))
        return _made(Job, told, "")
    except OSError as error:
        raise mistakes.Mistake(f"reading the job {path}: {error.strerror}.") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise mistakes.Mistake(f"reading the job {path}: it is no TOML ({error}).") from None
    except mistakes.Mistake as error:
        raise mistakes.Mistake(f"reading the job {path}: {error}") from None


def needs(target: str, section: Any, *names: str) -> None:
    """Raises Mistake where a section lacks what its target cannot do without."""
    missing = [f"{target}.{name}" for name in names if not getattr(section, name)]
    if missing:
        raise mistakes.Mistake(f"{target}: {', '.join(missing)} must be set, and nothing sets it.")


def shown(name: str, script: str, words: Sequence[str]) -> str:
    """A file, and the command that submits it, for people."""
    return f"# {name}\n{script}\n# submitted by\n{shell(words)}\n"


def submitted(name: str, script: str, command: Callable[[str], Sequence[str]]) -> int:
    """Writes a file for as long as a command needs that submits it, and returns its exit code."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, name)
        path.write_text(script)
        return run(command(str(path)))


def run(words: Sequence[str]) -> int:
    """The exit code of a command. Raises Mistake where it is not installed."""
    try:
        return subprocess.run(list(words), check=False).returncode
    except FileNotFoundError:
        raise mistakes.Mistake(f"there is no {words[0]} here, which was to run {shell(words)}.") from None


def shell(words: Sequence[str]) -> str:
    """A command as a line of shell."""
    return shlex.join(words)


def _put(told: dict[str, Any], name: str, value: Any) -> None:
    *sections, last = name.strip().split(".")
    for section in sections:
        told = told.setdefault(section, {})
        if not isinstance(told, dict):
            raise mistakes.Mistake(f"--set {name}: {section} is no section.")
    told[last] = value


class _Given(NamedTuple):
    """What a command line says: of which type it is to be, its place says."""

    text: str

    def value(self, as_text: bool) -> Any:
        """A text as it stands, unless it is quoted; else what TOML reads."""
        if as_text and not self.text.startswith(("'", '"')):
            return self.text
        try:
            return tomllib.loads(f"value = {self.text}")["value"]
        except tomllib.TOMLDecodeError:
            return self.text


def _made(kind: type, told: Mapping[str, Any], where: str) -> Any:
    fields = {field.name: field for field in dataclasses.fields(kind)}
    types_of = typing.get_type_hints(kind)
    for name in told:
        if name not in fields:
            near = difflib.get_close_matches(name, fields, n=1)
            raise mistakes.Mistake(
                f"there is no {where}{name}; {where or 'a job'} has {', '.join(fields)}."
                + (f" Did you mean {near[0]}?" if near else "")
            )
    return kind(**{name: _as(types_of[name], value, f"{where}{name}") for name, value in told.items()})


def _as(kind: Any, value: Any, name: str) -> Any:
    """A value of a field's type. Raises Mistake where it is of another."""
    if isinstance(value, _Given):
        value = value.value(as_text=kind is str)
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise mistakes.Mistake(f"[{name}]: wanted a section, found {value!r}.")
        return _made(typing.cast(type, kind), value, f"{name}.")
    origin = typing.get_origin(kind)
    if origin is tuple:
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
            raise mistakes.Mistake(f"{name}: wanted a list of texts, found {value!r}.")
        return tuple(items)
    if origin is not None:
        if not isinstance(value, dict):
            raise mistakes.Mistake(f"{name}: wanted texts by name, found {value!r}.")
        texts = {key: one.value(as_text=True) if isinstance(one, _Given) else one for key, one in value.items()}
        wrong = [key for key, one in texts.items() if isinstance(one, bool) or not isinstance(one, str | int | float)]
        if wrong:
            raise mistakes.Mistake(f"{name}.{wrong[0]}: wanted a text, found {texts[wrong[0]]!r}.")
        return types.MappingProxyType({key: str(one) for key, one in texts.items()})
    wanted = (int, float) if kind is float else (kind,)
    if not isinstance(value, wanted) or (isinstance(value, bool) and kind is not bool):
        raise mistakes.Mistake(f"{name}: wanted {kind.__name__}, found {value!r}.")
    return kind(value)


def say(line: str) -> None:
    """One line for people."""
    print(line, file=sys.stderr, flush=True)
