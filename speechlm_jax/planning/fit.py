"""Which rows, layout and remat policy suit given devices best, found by compiling."""

import dataclasses
import hashlib
import importlib.metadata
import json
import math
import pathlib
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

from speechlm_jax import chips, layout, memory, sharding, whole_files
from speechlm_jax.planning import report
from speechlm_jax.training import config, program

REMATS = ("none", "minimal", "full")
"""From the least that is computed again to the most. What 'offload' passes to the host and back takes a time that no
maker publishes a peak for, so that it cannot be set beside these."""
MOST_ROWS = 64
"""Rows of one device that are tried at most."""
GROUP = 16
"""Devices with a copy of the weights between them, where there are more: of weights cut over 256, TPUs' compiler was
seen to sum whole matrices in place of gathering parts. It factors the torus of the usual slices."""


class Choice(NamedTuple):
    """One way to run a recipe."""

    layout: layout.Layout
    remat: str
    rows: int
    """Of the global batch."""
    data_shards: int
    """As the recipe has it, or what divides the rows."""

    def bindings(self) -> list[str]:
        """As the command line takes it."""
        cuts = [f"--gin.Layout.{name}={size}" for name, size in dataclasses.asdict(self.layout).items()]
        rows = [f"--gin.Data.rows={self.rows}", f"--gin.Stream.data_shards={self.data_shards}"]
        return [*cuts, f"--gin.Model.remat={self.remat}", *rows]


class Found(NamedTuple):
    """A choice and its report as JSON."""

    choice: Choice
    report: dict[str, Any]

    @property
    def rows_per_second(self) -> float:
        """At published peaks; where there are none, rows by what is computed for them."""
        computed = self.report["flops_model"] + self.report["flops_again"]
        return self.choice.rows / self.report["roofline_seconds"].get("longest", computed)


def search(
    recipe: config.Recipe, devices: list[Any], chip: chips.Chip | None, room: int, cache: pathlib.Path
) -> list[Found]:
    """What fits, the best first: of each layout and policy, as many rows as there is room for. Where nothing does, the
    one choice that needs the least.

    Memory grows evenly with rows, so that two small steps tell about where it ends, and one more is compiled there. The
    same recipe, devices and versions find the same; what was compiled once is read from the folder `cache`.
    """
    found, refused = list[Found](), []
    trials = _Trials(recipe, devices, chip, room, cache)
    for cut in layouts(recipe, len(devices)):
        try:
            for remat in REMATS:
                found += _largest(trials, cut, remat)
        except ValueError as error:  # The model's sizes do not divide so.
            refused.append(error)
            print(f"left out: {error}", file=sys.stderr)
    if refused and not found:
        raise refused[-1]
    fitting = [one for one in found if one.report["fits"]]
    if not fitting:
        return [min(found, key=lambda one: one.report["hbm_bytes"])]
    # Of two alike the first tried comes first.
    return sorted(fitting, key=lambda one: -one.rows_per_second)


def layouts(recipe: config.Recipe, devices: int) -> Iterator[layout.Layout]:
    """Weights cut along fsdp, over all devices and over groups of them, and over more and more devices along tensor, as
    far as heads divide; copies of them between slices, as the recipe has it."""
    slices = recipe.layout.slices
    tensor = 1
    while devices // slices % tensor == 0 and recipe.model.num_heads % tensor == 0:
        fsdp = devices // slices // tensor
        yield layout.Layout(slices=slices, data=1, fsdp=fsdp, tensor=tensor)
        if fsdp > GROUP and fsdp % GROUP == 0:
            yield layout.Layout(slices=slices, data=fsdp // GROUP, fsdp=GROUP, tensor=tensor)
        tensor *= 2


@dataclasses.dataclass(frozen=True)
class _Trials:
    """Compiles choices, each once."""

    recipe: config.Recipe
    devices: list[Any]
    chip: chips.Chip | None
    room: int
    """Bytes of a device."""
    cache: pathlib.Path

    def of(self, choice: Choice) -> Found:
        """The report of a choice; a layout that cannot be is a ValueError."""
        changed = dataclasses.replace(
            self.recipe,
            layout=choice.layout,
            model=dataclasses.replace(self.recipe.model, remat=choice.remat),
            data=dataclasses.replace(self.recipe.data, rows=choice.rows),
        )
        planned = program.Program(changed, sharding.make_mesh(choice.layout, self.devices))
        lowered = planned.lower()
        kept = self.cache / f"{self._hash(lowered.as_text())}.json"
        made = _read(kept)
        if made is None:
            print(f"trying {' '.join(choice.bindings())}", file=sys.stderr)
            # Without bounds, so that what is kept serves devices of any memory.
            made = report.make(planned, lowered, self.chip, sys.maxsize).as_json()
            whole_files.write_json(kept, made)
        if made["fits"]:  # The compiler did not refuse.
            made |= {"fits": made["hbm_bytes"] <= self.room, "hbm_bytes_there": self.room}
        return Found(choice, made)

    def _hash(self, lowered: str) -> str:
        """Of all that a report follows from: the program before it is compiled, the devices and their peaks, the
        compilers, and the code that reads what these say."""
        where = [f"{device.device_kind} {device}" for device in self.devices]
        files = [*sorted(pathlib.Path(__file__).parent.glob("*.py")), pathlib.Path(memory.__file__)]
        code = [path.read_text(encoding="utf-8") for path in files]
        compilers = [found for name in ("jaxlib", "libtpu") for found in importlib.metadata.distributions(name=name)]
        versions = [f"{found.name} {found.version}" for found in compilers]
        parts = (lowered, where, self.chip, versions, code)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _read(kept: pathlib.Path) -> dict[str, Any] | None:
    """A report that was kept; None where none was, or it is damaged."""
    try:
        return json.loads(whole_files.read_text(kept))
    except (FileNotFoundError, ValueError):
        return None


def _largest(trials: _Trials, cut: layout.Layout, remat: str) -> list[Found]:
    """The choice of as many rows, by powers of two a device, as memory has room for; where there is none, one that does
    not fit."""
    ways = cut.slices * cut.data * cut.fsdp * trials.recipe.optimizer.accumulate

    def of(rows: int) -> Found:
        shards = trials.recipe.data.stream.data_shards
        return trials.of(Choice(cut, remat, rows * ways, math.gcd(shards, rows * ways)))

    one = of(1)
    if not one.report["fits"]:
        return [one]
    two = of(2)
    if not two.report["fits"]:
        return [one]
    each = max(1, two.report["hbm_bytes"] - one.report["hbm_bytes"])
    many = 1 + (trials.room - one.report["hbm_bytes"]) // each
    rows = min(MOST_ROWS, 2 ** int(math.log2(max(2, many))))
    while rows > 2 and not of(rows).report["fits"]:
        rows //= 2
    return [of(rows)]


def as_json(found: list[Found]) -> dict[str, Any]:
    """The best as a plan of its own, with how to ask for it, and all that fit."""
    listed = [{"bindings": one.choice.bindings(), "report": one.report} for one in found if one.report["fits"]]
    return {**found[0].report, "bindings": found[0].choice.bindings(), "found": listed}


def text(found: list[Found]) -> str:
    """For people: a line for each, and how to ask for the best."""
    best = found[0]
    if not best.report["fits"]:
        needed, there = (memory.gb(best.report[name]) for name in ("hbm_bytes", "hbm_bytes_there"))
        return (
            f"nothing fits. What needs the least, {' '.join(best.choice.bindings())}, needs {needed} of each device, "
            f"which has {there}. Take more or larger devices, a smaller model, or less room in Row."
        )
    by = "rows a second at best" if best.report["roofline_seconds"] else "rows by operation"
    lines = [
        f"{memory.gb(one.report['hbm_bytes']):>11} a device, {one.rows_per_second:.4g} {by}: "
        f"{' '.join(one.choice.bindings())}"
        for one in found
    ]
    return "\n".join([*lines, f"best: {' '.join(best.choice.bindings())}"])
