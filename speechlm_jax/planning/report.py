"""What a compiled step needs of a device: whether it fits, where memory goes, and how long it takes at best."""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
from jax.experimental.compilation_cache import compilation_cache

from speechlm_jax import batch, chips, memory, parameters, sharding
from speechlm_jax.models import flops
from speechlm_jax.planning import collectives
from speechlm_jax.training import program


@dataclasses.dataclass(frozen=True)
class Report:
    """The step of a recipe on given devices. Bytes, operations and seconds are of one device and one step."""

    devices: int
    device_kind: str
    hosts: int
    parameters: int
    rows: int
    fits: bool
    hbm_bytes: int
    """That the step needs at its peak."""
    hbm_bytes_there: int
    """That the device has."""
    hbm_bytes_by_kind: dict[str, int]
    """params, optimizer (with moving averages), batch; activations: what the compiler needs beside these."""
    host_bytes: int
    """Memory of the host that a device of it takes: Model.remat = 'offload' keeps products there."""
    flops_model: float
    """By `flops.step`, shared evenly."""
    flops_again: float
    """What Model.remat has computed a second time, by `flops.again`."""
    flops_compiler: float | None
    """As the compiler counts: the body of a loop once; on a TPU nothing of what kernels such as splash do; nowhere
    more than one pair of blocks where Model.attention_kernel is 'blocks'."""
    bytes_accessed: float | None
    """Counted likewise, so that the roofline's `memory` is too short where layers are looped over."""
    collectives: list[collectives.Collective]
    roofline_seconds: dict[str, float]
    """An estimate from published peaks: the least time of each resource alone."""
    peaks_from: str | None
    """Where the peaks were published."""
    audio_hours_per_step: float
    """Over all devices, if rows are full."""
    tokens_per_step: int
    loops: bool
    """Whether the compiler counts less than there is: Model.scan, or microbatches."""

    @property
    def host_audio_seconds_per_second(self) -> float | None:
        """What each host's readers have to bring of both audio lanes, if a step took no longer than its roofline."""
        longest = self.roofline_seconds.get("longest")
        return self.audio_hours_per_step * 3600 / self.hosts / longest if longest else None

    def as_json(self) -> dict[str, Any]:
        """Plain lists, dicts and numbers."""
        return {
            **dataclasses.asdict(self),
            "collectives": [one._asdict() for one in self.collectives],
            "host_audio_seconds_per_second": self.host_audio_seconds_per_second,
        }


def make(planned: program.Program, lowered: Any, chip: chips.Chip | None, room: int) -> Report:
    """Compiles the step of a program.

    Args:
        lowered: what `planned.lower()` gave.
        chip: whose peaks the estimate is made of; None: no estimate.
        room: bytes of a device.
    """
    recipe, mesh = planned.recipe, planned.mesh
    row, rows = recipe.data.row, recipe.data.rows
    devices = int(mesh.devices.size)
    audio_frames = row.audio_frames + row.target_audio_frames
    shapes = (recipe.model, planned.plan.params, row, rows, planned.heads)
    kept = planned.held
    told: dict[str, Any] = {
        "devices": devices,
        "device_kind": mesh.devices.flat[0].device_kind,
        "hosts": len({device.process_index for device in mesh.devices.flat}),
        "parameters": planned.num_parameters,
        "rows": rows,
        "hbm_bytes_there": room,
        "flops_model": planned.flops / devices,
        "flops_again": flops.again(*shapes) / devices,
        "peaks_from": None if chip is None else chip.source,
        "audio_hours_per_step": rows * audio_frames * batch.HOP / batch.SAMPLE_RATE / 3600,
        "tokens_per_step": rows * (row.inputs + row.targets),
        "loops": recipe.model.scan or recipe.optimizer.accumulate > 1,
    }
    try:
        with compiled_anew():
            compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        found = memory.refused(error, sum(kept.values()))
        if found is None:
            raise
        needed, there = found
        nothing = {"flops_compiler": None, "bytes_accessed": None, "collectives": [], "roofline_seconds": {}}
        sizes = {"host_bytes": 0, "hbm_bytes": needed, "hbm_bytes_by_kind": _by_kind(kept, needed)}
        return Report(**{**told, **sizes, **nothing, "fits": False, "hbm_bytes_there": there})
    needed = memory.peak(compiled)
    cost = compiled.cost_analysis() or {}
    passed = collectives.read(compiled.as_text(), mesh)
    operations, accessed = cost.get("flops"), cost.get("bytes accessed")
    return Report(
        **told,
        fits=needed <= room,
        hbm_bytes=needed,
        hbm_bytes_by_kind=_by_kind(kept, needed),
        host_bytes=memory.of_host(compiled),
        flops_compiler=operations,
        bytes_accessed=accessed,
        collectives=passed,
        roofline_seconds={}
        if chip is None
        else _roofline(
            chip, told["flops_model"] + told["flops_again"], flops.rounded(*shapes) / devices, accessed, passed
        ),
    )


@contextlib.contextmanager
def compiled_anew() -> Iterator[None]:
    """Keeps JAX's cache of compiled programs out: without a TPU, a program for one cannot be read back from it."""
    used = jax.config.values["jax_enable_compilation_cache"]

    def use(cache: bool) -> None:
        jax.config.update("jax_enable_compilation_cache", cache)
        # It asks once, and goes by the answer.
        compilation_cache.reset_cache()

    use(False)
    try:
        yield
    finally:
        use(used)


def _by_kind(kept: dict[str, int], needed: int) -> dict[str, int]:
    """What is kept from step to step, and activations: the rest of what is needed."""
    return {**kept, "activations": max(0, needed - sum(kept.values()))}


def _roofline(
    chip: chips.Chip,
    operations: float,
    rounded: float,
    accessed: float | None,
    passed: list[collectives.Collective],
) -> dict[str, float]:
    """Seconds that products, memory and wires would take at their peaks, each by itself, and the longest of them.

    rounded: operations of int8 among all. Of fp8 these chips tell no peak: it counts as bfloat16.
    """
    # What every device gets, and of a sum also what it gives on: rings pass it twice.
    ways = {one: (2 if one.kind == "all-reduce" else 1) * one.bytes for one in passed}
    far = sum(size for one, size in ways.items() if sharding.SLICE in one.axis.split("+"))
    near = sum(ways.values()) - far
    seconds = {
        "compute": (operations - rounded) / chip.flops + rounded / chip.int8_ops,
        "memory": (accessed or 0) / chip.hbm_bytes_per_s,
        "links": near / (chip.link_bytes_per_s / 2),
        "network": far / chip.network_bytes_per_s,
    }
    return {**seconds, "longest": max(seconds.values())}


def text(made: Report) -> str:
    """The report for people."""
    spare = made.hbm_bytes_there - made.hbm_bytes
    once = " (the body of a loop once)" if made.loops else ""
    verdict = f"fits, {memory.gb(spare)} to spare" if made.fits else f"does NOT fit, {memory.gb(-spare)} too much"
    lines = [
        f"{made.devices} {made.device_kind}: {made.parameters:,} parameters, {made.rows} rows a step",
        f"memory of a device: {memory.gb(made.hbm_bytes)} of {memory.gb(made.hbm_bytes_there)}: {verdict}",
        *(f"  {kind:<12}{memory.gb(size):>10}" for kind, size in made.hbm_bytes_by_kind.items()),
        *([f"memory of the host for it: {memory.gb(made.host_bytes)}"] if made.host_bytes else []),
        f"operations of a device: {made.flops_model:.3g} by the model's shapes, {made.flops_again:.3g} of them twice"
        + ("" if made.flops_compiler is None else f", {made.flops_compiler:.3g} by the compiler{once}"),
        *([] if made.bytes_accessed is None else [f"bytes to and from its memory: {made.bytes_accessed:.3g}{once}"]),
        *(f"  {one.kind} along {one.axis}: {one.count:,} times, {memory.gb(one.bytes)}" for one in made.collectives),
    ]
    if made.roofline_seconds:
        each = ", ".join(f"{name} {seconds:.3g} s" for name, seconds in made.roofline_seconds.items())
        least = "; of memory at least that, for what loops read again is not counted" if made.loops else ""
        lines.append(f"at peaks from {made.peaks_from} (an estimate, never a measurement): {each}{least}")
    lines.append(
        f"full rows: {made.audio_hours_per_step:.3g} hours of audio and {made.tokens_per_step:,} tokens a step"
    )
    needed = made.host_audio_seconds_per_second
    if needed is not None:
        lines.append(f"at that speed each of the hosts ({made.hosts}) reads {needed:,.0f} seconds of audio a second")
    if not made.fits:
        lines.append(memory.MEND)
    return "\n".join(lines)


def parameter_lines(planned: program.Program) -> list[str]:
    """A line for each parameter: path, type and shape, words of its axes, where it lies, bytes on one device."""
    lines = []
    places = planned.plan.params
    for path, leaf in parameters.by_path(places).items():
        array = parameters.array(leaf)
        words = " ".join(word or "-" for word in parameters.words(leaf))
        cut = " ".join(str(place) if place else "-" for place in tuple(array.sharding.spec)) or "whole"
        lines.append(f"{path}  {parameters.describe(leaf)}  ({words})  on ({cut})  {memory.held(array):,} bytes")
    return lines
