"""What the safeguards of a run cost: checksums of what is saved, hashes of what is read, steps gated by whether they
are finite, the ledger and the watchdog, all together.

    python benchmarks/safeguards.py [--rounds 8] [--steps 20] [--gin_file RECIPE] [--into FILE] [--keep NAME]

Two runs of a recipe, each in a process of its own, take turns at blocks of steps: one as it is, one whose safeguards do
nothing. A block ends with a save, which has to be on disk before it counts as done, or has none. The last line is JSON:
`overhead`, by how much longer the first takes for a step between saves, median of the rounds; `save_overhead_seconds`,
what it takes longer for a save; `overhead_in_all`, where there is a save every --every steps as by default. --into
adds it to what stands in a file, under `safeguards`.
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


def _serve(there: Any, folder: str, gin_file: str, guarded: bool, steps: int) -> None:
    """Answers whether a block is to end with a save by the seconds that it took."""
    runtime.quiet()
    import jax

    from speechlm_jax.training import course

    if not guarded:
        _without_safeguards()
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
    name = "guarded" if guarded else "unguarded"
    never = [f"--gin.{what}=1000000" for what in ("Recipe.steps", "Checkpoints.every", "Evaluation.every")]
    words = [f"--gin_file={gin_file}", f"--gin.Recipe.run_dir='{folder}/{name}'", *never]
    cli.main(["train", *words, f"--gin.Data.vocabulary='{folder}/vocabulary.model'"])


def _without_safeguards() -> None:
    """Has them do nothing, in this process."""
    import jax.numpy as jnp

    from speechlm_jax import checksums
    from speechlm_jax.data import chain
    from speechlm_jax.training import ledger, optimizers, step, watchdog, window

    def nothing(*_: Any, **__: Any) -> None:
        return None

    class Always:
        """jax.numpy, to which every number is finite: XLA then leaves out what depends on it."""

        def __getattr__(self, name: str) -> Any:
            return (lambda value: jnp.ones(jnp.shape(value), bool)) if name == "isfinite" else getattr(jnp, name)

    step.jnp = optimizers.jnp = Always()
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
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=20, help="of a block")
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
            guarded: parts.enter_context(apart.Apart(_serve, folder, given.gin_file, guarded, given.steps))
            for guarded in (True, False)
        }
        times: dict[tuple[bool, bool], list[float]] = {}
        for number in range(given.rounds + 1):
            for save in (False, True):
                # Who goes first changes, for the second finds the machine as the first has left it.
                for guarded in (True, False) if number % 2 else (False, True):
                    seconds = runs[guarded].ask(save)
                    if number:
                        times.setdefault((guarded, save), []).append(seconds)
    found = told(given, times)
    if given.into is not None:
        whole_files.write_json(given.into, {**json.loads(given.into.read_text("utf-8")), "safeguards": found})
    figures.tell(found, given)


def told(given: argparse.Namespace, times: dict[tuple[bool, bool], list[float]]) -> dict[str, Any]:
    """What is printed as JSON."""
    usual = {key: statistics.median(seconds) for key, seconds in times.items()}
    pairs = zip(times[True, False], times[False, False], strict=True)
    overhead = statistics.median(one / other for one, other in pairs) - 1
    saves = {guarded: usual[guarded, True] - usual[guarded, False] for guarded in (True, False)}
    step = usual[False, False] / given.steps
    more = saves[True] - saves[False]
    return {
        "recipe": given.gin_file,
        "rounds": given.rounds,
        "steps": given.steps,
        "step_seconds": {"guarded": round(usual[True, False] / given.steps, 5), "unguarded": round(step, 5)},
        "overhead": round(overhead, 4),
        "save_seconds": {"guarded": round(saves[True], 4), "unguarded": round(saves[False], 4)},
        "save_overhead_seconds": round(more, 4),
        "every": given.every,
        "overhead_in_all": round(overhead + more / (given.every * step), 4),
    }


if __name__ == "__main__":
    main()
