"""What the safeguards of a run cost: checksums of what is saved, hashes of what is read, steps gated by whether they
are finite, the ledger and the watchdog.

    python benchmarks/safeguards.py [--rounds 5] [--steps 10] [--gin_file RECIPE] [--into FILE] [--keep NAME]

Three runs of a recipe, each in a process of its own, take turns at blocks of steps: one as it is; `gated`, in which
the step alone is guarded, by the same program; and `bare`, to whose program every number is finite. A block ends with
a save, which has to be on disk before it counts as done, or has none. The last line is JSON: `overhead`, by how much
longer a step takes between saves than a bare one, median of the rounds; `overhead_on_host`, than a gated one, so
without what another program makes of it; `save_overhead_seconds`, what a save takes longer than a bare one;
`overhead_in_all`, where there is a save every --every steps as by default. --into adds it to what stands in a file,
under `safeguards`.
"""

import argparse
import contextlib
import json
import os
import pathlib
import statistics
import tempfile
import time
from typing import Any

import apart
import figures

from speechlm_jax import cli, runtime, whole_files

GUARDED, GATED, BARE = RUNS = ("guarded", "gated", "bare")


def _serve(there: Any, folder: str, gin_file: str, name: str, steps: int) -> None:
    """Answers whether a block is to end with a save by the seconds that it took."""
    runtime.quiet()
    import jax

    from speechlm_jax.training import course

    if name != GUARDED:
        _without_safeguards()
    if name == BARE:
        _without_gate()
    former, place = course.Course.step, {"left": 0, "began": 0.0, "save": False}

    def step(self: course.Course, *arguments: Any) -> None:
        former(self, *arguments)
        if place["left"] in (0, 1, steps + 1):
            jax.block_until_ready(self._now)
        if place["left"] == steps + 1:
            # The first step is not counted: the system takes memory back that stood idle.
            place["began"] = time.perf_counter()
        place["left"] -= 1
        if place["left"] > 0:
            return
        if place["save"]:
            self.save()
            self._parts.saved.wait()
        there.send(time.perf_counter() - place["began"])
        try:
            place["save"], place["left"] = there.recv(), steps + 1
        except EOFError:
            os._exit(0)

    course.Course.step = step
    os.environ["SPEECHLM_TRACEBACK"] = "1"
    never = [f"--gin.{what}=1000000" for what in ("Recipe.steps", "Checkpoints.every", "Evaluation.every")]
    words = [f"--gin_file={gin_file}", f"--gin.Recipe.run_dir='{folder}/{name}'", *never]
    cli.main(["train", *words, f"--gin.Data.vocabulary='{folder}/vocabulary.model'"])


def _without_gate() -> None:
    """Has every number be finite to the step, in this process: XLA then leaves out what depends on it."""
    import jax.numpy as jnp

    from speechlm_jax.training import optimizers, step

    class Always:
        """jax.numpy but for that."""

        def __getattr__(self, name: str) -> Any:
            return (lambda value: jnp.ones(jnp.shape(value), bool)) if name == "isfinite" else getattr(jnp, name)

    step.jnp = optimizers.jnp = Always()


def _without_safeguards() -> None:
    """Has all safeguards but the gate do nothing, in this process."""
    from speechlm_jax import checksums
    from speechlm_jax.data import chain
    from speechlm_jax.training import ledger, watchdog, window

    def nothing(*_: Any, **__: Any) -> None:
        return None

    chain.Chain.add = lambda self, read: read
    chain.of_all = lambda state: ""
    checksums.write = lambda folder, **_: (pathlib.Path(folder) / checksums.NAME).write_text("{}") and None
    checksums.add = nothing
    window.Window.look = nothing
    ledger.Ledger.enter = ledger.Ledger.lap = ledger.Ledger.write = nothing
    watchdog.Watchdog.__enter__ = watchdog.Watchdog.__exit__ = nothing


def main() -> None:
    """Prints what they cost."""
    runtime.quiet()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10, help="of a block")
    parser.add_argument("--every", type=int, default=1000, help="steps between saves, of which overhead_in_all tells")
    parser.add_argument("--gin_file", default="gin_configs/recipes/quickstart.gin")
    parser.add_argument("--into", type=pathlib.Path, help="a file of JSON that is there")
    figures.add_arguments(parser)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as parts:
        words = ["data", f"--gin_file={given.gin_file}", f"--gin.Data.vocabulary='{folder}/vocabulary.model'"]
        if cli.main([*words, "--train_vocabulary=1000"]):
            raise SystemExit(1)
        runs = {
            name: parts.enter_context(apart.Apart(_serve, folder, given.gin_file, name, given.steps)) for name in RUNS
        }
        times: dict[tuple[str, bool], list[float]] = {}
        for number in range(given.rounds + 1):
            for save in (False, True):
                # Who goes first changes, for the others find the machine as the first has left it.
                for place in range(len(RUNS)):
                    name = RUNS[(number + place) % len(RUNS)]
                    seconds = runs[name].ask(save)
                    if number:
                        times.setdefault((name, save), []).append(seconds)
    found = figures.tell(told(given, times), given)
    if given.into is not None:
        whole_files.write_json(given.into, {**json.loads(given.into.read_text("utf-8")), "safeguards": found})


def told(given: argparse.Namespace, times: dict[tuple[str, bool], list[float]]) -> dict[str, Any]:
    """What is printed as JSON."""
    usual = {key: statistics.median(seconds) for key, seconds in times.items()}
    saves = {name: usual[name, True] - usual[name, False] for name in RUNS}
    more, step = saves[GUARDED] - saves[BARE], usual[BARE, False] / given.steps

    def over(other: str) -> float:
        pairs = zip(times[GUARDED, False], times[other, False], strict=True)
        return statistics.median(one / other for one, other in pairs) - 1

    return {
        "recipe": given.gin_file,
        "rounds": given.rounds,
        "steps": given.steps,
        "step_seconds": {name: round(usual[name, False] / given.steps, 5) for name in RUNS},
        "overhead": round(over(BARE), 4),
        "overhead_on_host": round(over(GATED), 4),
        "save_seconds": {name: round(seconds, 4) for name, seconds in saves.items()},
        "save_overhead_seconds": round(more, 4),
        "every": given.every,
        "overhead_in_all": round(over(BARE) + more / (given.every * step), 4),
    }


if __name__ == "__main__":
    main()
