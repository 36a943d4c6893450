"""What the safeguards of a run cost: checksums of what is saved, hashes of what is read, steps gated by whether they
are finite, and the ledger.

    python benchmarks/safeguards.py [--rounds 8] [--steps 10] [--gin_file RECIPE] [--into FILE] [--keep NAME]

One run of a recipe, in one process, whose memory and threads are the same for all, takes turns at blocks of steps:
`guarded`, as a run is; `gated`, in which the step alone is guarded; and `bare`, with a program to which every number
is finite. A block ends with a save, which has to be on disk before it counts as done, or has none. The last line is
JSON: `overhead`, by how much longer a step takes between saves than a bare one, median of the rounds, and
`overhead_interval`, between the quartiles of them; `overhead_on_host`, than a gated one, which runs the same program;
`save_overhead_seconds`, what a save takes longer than a bare one; `overhead_in_all`, where there is a save every
--every steps as by default. --into adds it to what stands in a file, under `safeguards`.
"""

import argparse
import json
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import figures

from speechlm_jax import cli, runtime, whole_files

GUARDED, GATED, BARE = MODES = ("guarded", "gated", "bare")


class Enough(BaseException):
    """All blocks are done: the run may end, which nothing in it is to take for a failure."""


class Turns:
    """Blocks of a run's steps in turn, and the seconds of each."""

    def __init__(self, given: argparse.Namespace):
        self._steps = given.steps
        self._blocks = self._in_order(given.rounds)
        self._left = 0
        self._began = 0.0
        self._block: tuple[str, bool] | None = None
        self._programs: dict[bool, Any] = {}
        self._guards = Guards()
        self.times: dict[tuple[str, bool], list[float]] = {}

    @staticmethod
    def _in_order(rounds: int) -> Iterator[tuple[str, bool]]:
        """(mode, whether it ends with a save). Who goes first changes: the others find the machine as it left it."""
        for number in range(rounds + 1):
            for save in (False, True):
                for place in range(len(MODES)):
                    yield MODES[(number + place) % len(MODES)], save

    def after(self, course: Any) -> None:
        """To be called after each step. The first of a block is not counted: its batch was made in the one before."""
        import jax

        self._left -= 1
        if self._left == self._steps:
            jax.block_until_ready(course._now)
            self._began = time.perf_counter()
        if self._left > 0:
            return
        jax.block_until_ready(course._now)
        if self._block is not None:
            if self._block[1]:
                course.save()
                course._parts.saved.wait()
            self.times.setdefault(self._block, []).append(time.perf_counter() - self._began)
        self._block = next(self._blocks, None)
        if self._block is None:
            raise Enough
        self._left = self._steps + 1
        self._guards.on = self._block[0] == GUARDED
        course._parts = course._parts._replace(train_step=self._program(course._parts, self._block[0]))

    def _program(self, parts: Any, mode: str) -> Any:
        """The step that a mode runs."""
        if not self._programs:
            self._programs = {True: parts.train_step, False: without_gate(parts.recipe)}
        return self._programs[mode != BARE]


def without_gate(recipe: Any) -> Any:
    """The step of a recipe to which every number is finite: XLA leaves out what depends on it."""
    import jax.numpy as jnp

    from speechlm_jax.training import optimizers, program, step

    class Always:
        """jax.numpy but for that."""

        def __getattr__(self, name: str) -> Any:
            return (lambda value: jnp.ones(jnp.shape(value), bool)) if name == "isfinite" else getattr(jnp, name)

    step.jnp = optimizers.jnp = Always()
    try:
        return program.Program(recipe).compile()
    finally:
        step.jnp = optimizers.jnp = jnp


class Guards:
    """The safeguards of this process beside the gate, which are on or do nothing."""

    def __init__(self) -> None:
        from speechlm_jax import checksums
        from speechlm_jax.data import chain
        from speechlm_jax.training import ledger, window

        self.on = True

        def empty_table(folder: Any, **_: Any) -> None:
            (pathlib.Path(folder) / checksums.NAME).write_text("{}")

        self._switch(chain.Chain, "add", lambda _, read: read)
        self._switch(chain, "of_all", lambda _: "")
        self._switch(checksums, "write", empty_table)
        self._switch(checksums, "add", _nothing)
        self._switch(window.Window, "look", _nothing)
        for name in ("enter", "lap", "write"):
            self._switch(ledger.Ledger, name, _nothing)

    def _switch(self, owner: Any, name: str, otherwise: Callable[..., Any]) -> None:
        guarding = getattr(owner, name)

        def either(*arguments: Any, **options: Any) -> Any:
            return (guarding if self.on else otherwise)(*arguments, **options)

        setattr(owner, name, either)


def _nothing(*_: Any, **__: Any) -> None:
    return None


def main() -> None:
    """Prints what they cost."""
    runtime.quiet()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=figures.positive, default=8)
    parser.add_argument("--steps", type=figures.positive, default=10, help="of a block")
    parser.add_argument(
        "--every", type=figures.positive, default=1000, help="steps between saves, of which overhead_in_all tells"
    )
    parser.add_argument("--gin_file", default="gin_configs/recipes/quickstart.gin")
    parser.add_argument("--into", type=pathlib.Path, help="a file of JSON that is there")
    figures.add_arguments(parser)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        vocabulary = f"--gin.Data.vocabulary='{folder}/vocabulary.model'"
        if cli.main(["data", f"--gin_file={given.gin_file}", vocabulary, "--train_vocabulary=1000"]):
            raise SystemExit(1)
        times = timed(given, [f"--gin.Recipe.run_dir='{folder}/run'", vocabulary])
    found = figures.tell(told(given, times), given)
    if given.into is not None:
        whole_files.write_json(given.into, {**json.loads(given.into.read_text("utf-8")), "safeguards": found})


def timed(given: argparse.Namespace, bindings: list[str]) -> dict[tuple[str, bool], list[float]]:
    """Seconds of each block of a run, by mode and whether it ends with a save; the first round is left out."""
    from speechlm_jax.training import course

    turns, former = Turns(given), course.Course.step

    def step(self: course.Course, *arguments: Any) -> None:
        former(self, *arguments)
        turns.after(self)

    course.Course.step = step
    never = [f"--gin.{what}=1000000" for what in ("Recipe.steps", "Checkpoints.every", "Evaluation.every")]
    try:
        code = cli.main(["train", f"--gin_file={given.gin_file}", *never, *bindings])
    except Enough:
        return {block: seconds[1:] for block, seconds in turns.times.items()}
    raise SystemExit(code or 1)


def told(given: argparse.Namespace, times: dict[tuple[str, bool], list[float]]) -> dict[str, Any]:
    """What is printed as JSON."""
    usual = {key: statistics.median(seconds) for key, seconds in times.items()}
    saves = {name: usual[name, True] - usual[name, False] for name in MODES}
    more, step = saves[GUARDED] - saves[BARE], usual[BARE, False] / given.steps

    def over(other: str) -> list[float]:
        pairs = zip(times[GUARDED, False], times[other, False], strict=True)
        return [one / another - 1 for one, another in pairs]

    overhead = statistics.median(over(BARE))
    low, _, high = statistics.quantiles(over(BARE), n=4)
    return {
        "recipe": given.gin_file,
        "rounds": given.rounds,
        "steps": given.steps,
        "step_seconds": {name: round(usual[name, False] / given.steps, 5) for name in MODES},
        "overhead": round(overhead, 4),
        "overhead_interval": [round(low, 4), round(high, 4)],
        "overhead_on_host": round(statistics.median(over(GATED)), 4),
        "save_seconds": {name: round(seconds, 4) for name, seconds in saves.items()},
        "save_overhead_seconds": round(more, 4),
        "every": given.every,
        "overhead_in_all": round(overhead + more / (given.every * step), 4),
    }


if __name__ == "__main__":
    main()
