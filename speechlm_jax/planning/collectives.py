"""What passes between devices in a compiled step, read from the compiler's text."""

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jax.sharding import Mesh

from speechlm_jax import sharding

KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
_BYTES = {
    "pred": 1,
    "s8": 1,
    "u8": 1,
    "s16": 2,
    "u16": 2,
    "bf16": 2,
    "f16": 2,
    "s32": 4,
    "u32": 4,
    "f32": 4,
    "s64": 8,
    "u64": 8,
    "f64": 8,
    "f8e4m3fn": 1,
    "f8e5m2": 1,
}
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) .*\{$")
_ARRAY = re.compile(r"\b(\w+)\[([\d,]*)\]")
_CALL = re.compile(rf"= (.*?) ({'|'.join(KINDS)})(?:-start)?\(")
_BETWEEN_SLICES = re.compile(r'= (.*?) send\(.*_xla_megascale_transfer_type="(\w+)"')
_IN_ORDER = r"\[([\d,]+)\](?:T\(([\d,]+)\))?"
_NAMED_MESH = re.compile(rf"replica_groups=mesh\[([^\]]*)\](?:, device_ids=\({_IN_ORDER}\))?\s*\{{([^}}]*)\}}")
_LISTED = re.compile(r"replica_groups=\{(\{[\d,{}]*\})\}")
_IOTA = re.compile(rf"replica_groups=\[([\d,]+)\]<={_IN_ORDER}")
_PAIRS = re.compile(r"source_target_pairs=\{(\{[\d,{}]*\})\}")


class Collective(NamedTuple):
    """All collectives of one kind along the same axes of the mesh."""

    kind: str
    axis: str
    """Mesh axes that it runs along, joined by '+'."""
    count: int
    """In one step: those of a loop count as often as it runs."""
    bytes: int
    """Of one device in one step: what goes in or what comes out, whichever is more."""


def read(text: str, mesh: Mesh) -> list[Collective]:
    """The collectives of a compiled program over `mesh`, by kind and axis."""
    computations = _computations(text)
    times = _times(computations)
    totals: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    # One that is spread over several operations, to run beside them, stands in each of them.
    spread = {
        _channel(line)
        for name, lines in computations.items()
        for line in lines
        if name.startswith("async_collective_fusion") and _CALL.search(line)
    }
    seen: set[str] = set()
    for name, lines in computations.items():
        for line in lines if times[name] else ():
            channel = _channel(line)
            if channel and channel in seen:
                continue
            passed = _between_slices(line) or _within_a_slice(line, mesh)
            if passed is not None:
                seen |= {channel} & spread
                kind, axis, size = passed
                # How a TPU writes one: an all-reduce of which each device keeps its part.
                kind = "reduce-scatter" if name.startswith("all-reduce-scatter") else kind
                total = totals[kind, axis]
                total[0] += times[name]
                total[1] += times[name] * size
    return [Collective(*key, *total) for key, total in sorted(totals.items())]


def _between_slices(line: str) -> tuple[str, str, int] | None:
    """Kind, axis and bytes of what the hosts pass on: such a collective is left in the text as a send that names it."""
    found = _BETWEEN_SLICES.search(line)
    if found is None:
        return None
    sent = _ARRAY.search(found.group(1))
    return found.group(2).lower().replace("_", "-"), sharding.SLICE, 0 if sent is None else _bytes_of(*sent.groups())


def _channel(line: str) -> str:
    found = re.search(r"channel_id=(\d+)", line)
    return found.group(1) if found else ""


def _within_a_slice(line: str, mesh: Mesh) -> tuple[str, str, int] | None:
    """Kind, axis and bytes of a collective over the wires."""
    found = _CALL.search(line)
    axis = None if found is None else _axis(line, mesh)
    if found is None or axis is None:
        return None
    return found.group(2), axis, _size(found.group(1), found.group(2), line, mesh, axis)


def _computations(text: str) -> dict[str, list[str]]:
    """Name -> lines of each computation; the entry under ''."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        begins = _COMPUTATION.match(line)
        if begins is not None:
            lines = found.setdefault("" if begins.group(1) else begins.group(2), [])
        elif line.startswith(" "):
            lines.append(line)
    return found


def _times(computations: dict[str, list[str]]) -> dict[str, int]:
    """How often each computation runs in one run of the program."""
    times = dict.fromkeys(computations, 0)

    def visit(name: str, count: int) -> None:
        times[name] += count
        for called, repeats in _calls(computations[name], computations):
            if called in computations:
                visit(called, count * repeats)

    visit("", 1)
    return times


def _calls(lines: list[str], computations: dict[str, list[str]]) -> Iterator[tuple[str, int]]:
    for line in lines:
        body = re.search(r"condition=%?([\w.\-]+), body=%?([\w.\-]+)", line)
        if body is not None:
            yield body.group(2), _trips(line, computations[body.group(1)], computations)
        for called in re.findall(r"(?:calls|to_apply|true_computation|false_computation)=%?([\w.\-]+)", line):
            yield called, 1
        for listed in re.findall(r"(?:branch_computations|called_computations)=\{([^}]*)\}", line):
            for called in re.findall(r"%?([\w.\-]+)", listed):
                yield called, 1


def _trips(line: str, condition: list[str], computations: dict[str, list[str]]) -> int:
    """How often a loop runs: as the compiler says, or the number that its condition compares with."""
    told = re.search(r'"known_trip_count":\{"n":"(\d+)"\}', line)
    if told is not None:
        return int(told.group(1))
    lines = list(condition)
    for inner in re.findall(r"calls=%?([\w.\-]+)", "\n".join(condition)):
        lines += computations.get(inner, [])
    return max((int(n) for n in re.findall(r"[su]32\[\]\S* constant\((\d+)\)", "\n".join(lines))), default=1)


def _size(result: str, kind: str, line: str, mesh: Mesh, axis: str) -> int:
    arrays = [_bytes_of(*array) for array in _ARRAY.findall(result) if array != ("u32", "")]
    if f"{kind}-start(" in line and kind != "all-reduce":
        # It holds what goes in, then what comes out.
        half = len(arrays) // 2
        return max(sum(arrays[:half]), sum(arrays[half:]))
    total = sum(arrays)
    ways = int(np.prod([mesh.shape[name] for name in axis.split("+")]))
    return total * ways if kind == "reduce-scatter" else total


def _bytes_of(dtype: str, shape: str) -> int:
    size = int(np.prod(_numbers(shape), dtype=np.int64))
    return size * _BYTES.get(dtype, 0)


def _axis(line: str, mesh: Mesh) -> str | None:
    """The mesh axes along which the devices of a group differ; None where every group is one device."""
    shape = tuple(mesh.shape.values())
    varies = np.zeros(len(shape), bool)
    for group in _groups(line, int(np.prod(shape))):
        places = np.stack(np.unravel_index(np.asarray(group), shape), axis=1)
        varies |= (places != places[:1]).any(axis=0)
    return "+".join(name for name, does in zip(mesh.shape, varies, strict=True) if does) or None


def _groups(line: str, devices: int) -> np.ndarray | list[list[int]]:
    named, listed, iota, pairs = (pattern.search(line) for pattern in (_NAMED_MESH, _LISTED, _IOTA, _PAIRS))
    if named is not None:
        axes = dict(re.findall(r"'(\w+)'=(\d+)", named.group(1)))
        along = re.findall(r"'(\w+)'", named.group(4))
        grid = _in_order(named.group(2) or str(devices), named.group(3)).reshape([int(n) for n in axes.values()])
        inner = [list(axes).index(name) for name in along]
        grid = np.moveaxis(grid, inner, range(-len(inner), 0))
        return grid.reshape(-1, int(np.prod([int(axes[name]) for name in along])))
    if iota is not None:
        return _in_order(iota.group(2), iota.group(3)).reshape(_numbers(iota.group(1)))
    for found in (listed, pairs):
        if found is not None:
            return [_numbers(group) for group in re.findall(r"\{([\d,]+)\}", found.group(1))]
    return [list(range(devices))]


def _in_order(sides: str, turned: str | None) -> np.ndarray:
    """Numbers of devices counted along `sides`, with those axes in the order `turned`."""
    shape = _numbers(sides)
    grid = np.arange(np.prod(shape)).reshape(shape)
    return grid.transpose(_numbers(turned)) if turned else grid


def _numbers(listed: str) -> list[int]:
    return [int(n) for n in listed.split(",") if n]
