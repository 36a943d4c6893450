"""Runs of real processes that are killed at a point, and go on: on what the fault suite stands."""

import contextlib
import dataclasses
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Literal

import process_group
import pytest
import warm

from speechlm_jax import checkpoint_meta, checkpoint_report, checkpoint_steps, endings

Phase = Literal["compile", "step", "save", "evaluation", "data"]
PHASES: tuple[Phase, ...] = ("compile", "data", "evaluation", "save", "step")
"""In the order in which a short run may be killed in each; a step last: who knows how many a machine takes before all
have heard."""
STEPS, EVERY = 20, 4
KILLED = ("--gin.Recipe.steps=24",)
"""Of runs that are killed in all phases one after the other: an evaluation, the next save and the steps behind it, of
which some are left, or one that is told to stop would be done."""
DEVICES = 4
PATIENCE_SECONDS = 240.0
"""For whatever is waited for: a compilation on a loaded machine, and a peer that is missed."""

BINDINGS = (
    "--gin.Data.task_modules=('faults.gated_tasks',)",
    "--gin.Stream.mixture='gated'",
    # As little to compute as there can be on so many devices.
    f"--gin.Data.rows={DEVICES}",
    f"--gin.Stream.data_shards={DEVICES}",
    "--gin.Row.audio_seconds=1.6",
    "--gin.Row.inputs=16",
    "--gin.Row.targets=24",
    "--gin.Row.segments=3",
    f"--gin.Recipe.steps={STEPS}",
    f"--gin.Checkpoints.every={EVERY}",
    "--gin.Evaluation.every=8",
    "--gin.Evaluation.tasks=('gated_recognition',)",
    "--gin.Evaluation.max_examples=2",
    "--gin.Optimizer.ema_decay=0.9",
)
STARTED: list[subprocess.Popen | warm.Process] = []
"""Every process, so that a test that fails leaves none behind."""


@dataclasses.dataclass(frozen=True)
class Point:
    """When a run is killed, and how."""

    phase: Phase
    notice: signal.Signals
    whom: Literal["first", "last", "all"]
    """The first holds the service by which the others meet."""


class Run:
    """The processes of one run, what they say in files of its folder, and when to kill them."""

    def __init__(
        self,
        folder: pathlib.Path,
        name: str,
        processes: int,
        *bindings: str,
        compiled: str = "compiled",
        inside: Sequence[str] = (),
    ):
        """`name` of the run's folder. compiled: of the folder where programs are kept for those that come later.
        inside: the command that the run's is given to."""
        self.folder, self.path = folder, folder / name
        self.path.mkdir(exist_ok=True)
        self.gate = self.path / "gate"
        self.started = len(list(self.path.glob("said-*-0.txt")))
        alone = [{**os.environ}] if processes == 1 else process_group.environments(processes)
        tests = str(pathlib.Path(__file__).parents[1])
        told = {
            "PYTHONPATH": tests,
            "PYTHONFAULTHANDLER": "1",
            "FAULTS_FOLDER": str(folder),
            "FAULTS_RUN": str(self.path),
            "FAULTS_GATE": str(self.gate),
            "JAX_COMPILATION_CACHE_DIR": str(folder / compiled),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
            "SPEECHLM_HEARTBEAT_SECONDS": os.environ.get("SPEECHLM_HEARTBEAT_SECONDS", "20"),
            # As few devices as the most processes need, dealt to however many there are.
            "XLA_FLAGS": process_group.flags(DEVICES // processes),
        }
        words = [
            "train",
            f"--gin_file={folder}/recipe.gin",
            f"--gin.Recipe.run_dir='{self.path}'",
            *BINDINGS,
            *bindings,
        ]
        self.processes: list[subprocess.Popen | warm.Process] = []
        for number, environment in enumerate(alone):
            environment, said = {**environment, **told}, self._said(number)
            if not inside:
                self.processes.append(warm.Process(words, said, **environment))
                continue
            command = [*inside, sys.executable, "-m", "speechlm_jax", *words]
            with open(said, "w") as out:
                self.processes.append(subprocess.Popen(command, env=environment, stdout=out, stderr=out, cwd=warm.ROOT))

        STARTED.extend(self.processes)

    def said(self) -> str:
        """By all of them."""
        return "\n".join(self._said(number).read_text() for number in range(len(self.processes)))

    def said_with_stacks(self) -> str:
        """By all of them, with what those that go on are doing, which ends them."""
        for process in self.processes:
            process.send_signal(signal.SIGABRT)
            process.send_signal(signal.SIGCONT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            for process in self.processes:
                process.wait(10.0)
        return self.said()

    def wait_until(self, happened: Callable[[], bool]) -> None:
        """Fails where a process ends before, or none of it comes to pass in `PATIENCE_SECONDS`."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not happened():
            assert time.monotonic() < deadline, self.said_with_stacks()
            assert all(process.poll() is None for process in self.processes), self.said()
            time.sleep(0.002)

    def reach(self, phase: Phase, chance: random.Random) -> None:
        """Waits until a run is at some moment of a phase, which is to come from where it stands."""
        saved, stands = self.path / "checkpoints", self.published()
        after = stands + chance.randrange(1, 3)
        match phase:
            case "compile":
                self.wait_until(lambda: "compiling the step" in self.said())
                time.sleep(chance.uniform(0, 1))
            case "step":
                self.wait_until(lambda: self.told() >= after)
                time.sleep(chance.uniform(0, 0.05))
            case "save":
                # The tables of checksums are made and the step is named only at its end.
                step = (stands // EVERY + 1) * EVERY
                # What a former life left half saved is removed before that is said.
                self.wait_until(lambda: "compiling the step" in self.said())
                self.wait_until(lambda: any(saved.glob(f"{step}.orbax-checkpoint-tmp*")))
                time.sleep(chance.uniform(0, 0.02))
            case "evaluation":
                self.wait_until(lambda: self.said().count("evaluating ") > 0)
                time.sleep(chance.uniform(0, 0.2))
            case "data":
                self.wait_until(lambda: self.told() >= after)
                self.gate.touch()
                self._wait_until_still(self.path / "metrics.jsonl")

    def kill(self, point: Point) -> None:
        """Sends the notice, and sees that all end in bounded time."""
        hit = {"first": self.processes[:1], "last": self.processes[-1:], "all": self.processes}[point.whom]
        for process in hit:
            process.send_signal(point.notice)
        if len(self.processes) > 1 and point.notice == signal.SIGTERM:
            # A group stops behind a step that all can do, for which those that wait for data need them.
            time.sleep(1.0)
            self.gate.unlink(missing_ok=True)
        codes = [self._code_of(process) for process in self.processes]
        if point.notice == signal.SIGTERM:
            assert codes == [endings.PREEMPTED] * len(codes), self.said()
        else:
            assert -signal.SIGKILL in codes and 0 not in codes, self.said()
        self.gate.unlink(missing_ok=True)

    def end(self) -> None:
        """Waits until all have done their steps."""
        for process in self.processes:
            assert self._code_of(process) == 0, self.said()

    def _code_of(self, process: subprocess.Popen | warm.Process) -> int:
        """The exit code, in bounded time."""
        try:
            return process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            pytest.fail(f"process {process.pid} goes on:\n{self.said_with_stacks()}")

    def went_on_from(self) -> int:
        """The step, or 0."""
        found = re.search(r"going on from step (\d+)", self.said())
        return int(found[1]) if found else 0

    def published(self) -> int:
        """The newest step that is as it was written, or 0."""
        steps = checkpoint_steps.among(self.path)
        return max((int(step.name) for step in steps if not checkpoint_steps.faults(step)), default=0)

    def told(self) -> int:
        """The last step that this life has told of, or 0."""
        steps = re.findall(r"^step (\d+)/", self.said(), re.MULTILINE)
        return int(steps[-1]) if steps else 0

    def done(self) -> int:
        """The last step that a line of metrics tells of, or 0; one that was killed has lines of steps that are lost."""
        shown = self.path / "metrics.jsonl"
        steps = re.findall(r'"step": (\d+)', shown.read_text()) if shown.exists() else []
        return int(steps[-1]) if steps else 0

    def _said(self, number: int) -> pathlib.Path:
        return self.path / f"said-{self.started}-{number}.txt"

    def _wait_until_still(self, shown: pathlib.Path) -> None:
        """For half a second without a further step."""
        before, since = "", time.monotonic()

        def still() -> bool:
            nonlocal before, since
            if (now := shown.read_text()) != before:
                before, since = now, time.monotonic()
            return time.monotonic() - since > 0.5

        self.wait_until(still)


def scores(run: pathlib.Path) -> list[dict]:
    """What a run's evaluations found, in their order; one that was cut off is done again."""
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if line["kind"] == "evaluation"]


def chain(run: pathlib.Path) -> str:
    """Of the batches that a run has read."""
    return checkpoint_meta.read(checkpoint_steps.find(run))["batches"]


def differences(wanted: pathlib.Path, found: pathlib.Path) -> list[str]:
    """In what two runs ended differently, but for where they stand: arrays, their numbers, the chain of batches."""
    told = checkpoint_report.diff(str(wanted), str(found), values=True)
    changed = [*told["arrays"], *told["values"]["changed"]]
    return changed + [key for key in ("schema", "vocabulary", "mesh", "losses", "batches") if key in told]
