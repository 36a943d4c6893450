"""Every size of model compiled for TPU slices that are not at hand, against tests/contracts/golden/plans/.

    python benchmarks/plans.py [NAME ...] [--renew]

NAME: of PLANS; none: all, an hour or two on two cores. It ends with a line for each, and with code 1 where one differs.
--renew writes what was found, and docs/plans.md from all that is kept.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
from typing import Any, NamedTuple

from speechlm_jax import memory

ROOT = pathlib.Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "contracts" / "golden" / "plans"
PAGE = ROOT / "docs" / "plans.md"
TOLERANCE = 0.02
"""Share by which bytes and operations may differ: the compiler's choices move a little with its version."""


class Plan(NamedTuple):
    """A size on a slice."""

    size: str
    topology: str
    layout: str
    rows: int
    slices: int = 1
    fits: bool = True


PLANS = {
    "tiny_v5e_16": Plan("tiny", "v5e:4x4", "fsdp", 16),
    "tiny_v5e_16_twice": Plan("tiny", "v5e:4x4", "fsdp", 32),
    "small_v5e_16": Plan("small", "v5e:4x4", "fsdp", 64),
    "base_v5e_16": Plan("base", "v5e:4x4", "fsdp", 32),
    "base_v5e_256": Plan("base", "v5e:16x16", "fsdp_groups", 512),
    "large_v5e_256": Plan("large", "v5e:16x16", "fsdp_groups", 256),
    "large_v6e_256": Plan("large", "v6e:16x16", "fsdp_groups", 512),
    "xl_v5p_128": Plan("xl", "v5p:4x4x8", "fsdp_groups", 256),
    "xl_2_v6e_256": Plan("xl", "v6e:16x16", "fsdp_groups", 512, slices=2),
    "xxl_v5e_8": Plan("xxl", "v5e:2x4", "fsdp", 8, fits=False),
    "xxl_v5e_16": Plan("xxl", "v5e:4x4", "fsdp", 16),
    "xxl_v5p_128": Plan("xxl", "v5p:4x4x8", "fsdp_tensor", 64),
    "xxl_v6e_256": Plan("xxl", "v6e:16x16", "fsdp_tensor", 128),
}
"""By size and slice; all train gin_configs/recipes/pretrain.gin."""


def main() -> int:
    """Compiles and compares; 1 where one differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=", ".join(PLANS))
    parser.add_argument("--renew", action="store_true", help="write what was found in place of what stands there")
    given = parser.parse_args()
    unknown = [name for name in given.names if name not in PLANS]
    if unknown:
        parser.error(f"no plan is named {', '.join(unknown)}")
    lines, differ = [], False
    for name in given.names or PLANS:
        found = summary(made(PLANS[name]))
        path = GOLDEN / f"{name}.json"
        if given.renew:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(found, indent=1) + "\n")
        wrong = [] if found["fits"] == PLANS[name].fits else [f"wanted fits = {PLANS[name].fits}"]
        wrong += differences(json.loads(path.read_text()), found) if path.exists() else ["no golden file: --renew"]
        differ |= bool(wrong)
        lines.append(f"{name}: {told(found)}{''.join(f'; {one}' for one in wrong)}")
        print(lines[-1], file=sys.stderr, flush=True)
    print("\n".join(lines))
    if given.renew:
        PAGE.write_text(page(), encoding="utf-8")
    return int(differ)


def made(plan: Plan) -> dict[str, Any]:
    """What `speechlm plan` says of it."""
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "plan.json"
        parts = ("recipes/pretrain", f"models/{plan.size}", f"layouts/{plan.layout}")
        subprocess.run(
            [
                *(sys.executable, "-m", "speechlm_jax", "plan"),
                *(f"--gin_file=gin_configs/{part}.gin" for part in parts),
                *(f"--gin.Data.rows={plan.rows}", f"--gin.Stream.data_shards={min(plan.rows, 256)}"),
                *(f"--topology={plan.topology}", f"--slices={plan.slices}"),
                f"--json={out}",
            ],
            cwd=ROOT,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        return json.loads(out.read_text())


def summary(found: dict[str, Any]) -> dict[str, Any]:
    """What a golden file keeps of a plan."""
    return {
        **{name: found[name] for name in ("fits", "parameters", "rows", "hbm_bytes", "hbm_bytes_there")},
        **{name: found[name] for name in ("hbm_bytes_by_kind", "flops_model", "flops_compiler")},
        "host_audio_seconds_per_second": found["host_audio_seconds_per_second"],
        "collectives": {
            f"{one['kind']} along {one['axis']}": {"count": one["count"], "bytes": one["bytes"]}
            for one in found["collectives"]
        },
    }


HEAD = """# What fits where

The step of `gin_configs/recipes/pretrain.gin` with each size of model, compiled for TPU slices that were not at hand:
`make plan-all` compiles them again and compares, `benchmarks/plans.py --renew` wrote this page. Memory is what the
compiler allots a chip, of what it has. The last column is an estimate from the makers' peaks, never a measurement: so
many seconds of audio a second a host would read if a step took no longer than its products, its memory or its wires,
whichever takes longest at its peak, and rows were full. Slices are told by chips: what Google calls v5p-256, after its
cores, is v5p:4x4x8 here.

| size | parameters | slice | layout | rows | memory of a chip | a host reads |
|---|---|---|---|---|---|---|
"""


def page() -> str:
    """The page of what is kept."""
    lines = []
    for name, plan in PLANS.items():
        found = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
        slices = f"{plan.slices} x " if plan.slices > 1 else ""
        room = f"{memory.gb(found['hbm_bytes'])} of {memory.gb(found['hbm_bytes_there'])}"
        cells = [
            *(plan.size, f"{found['parameters'] / 1e6:,.0f} M", f"{slices}{plan.topology}", f"`{plan.layout}`"),
            *(f"{plan.rows}", room if found["fits"] else f"{room}: does not fit"),
        ]
        reads = found["host_audio_seconds_per_second"]
        cells.append("" if reads is None else f"{reads:,.0f} s/s")
        lines.append(f"| {' | '.join(cells)} |\n")
    return HEAD + "".join(lines)


def differences(wanted: Any, found: Any, path: str = "") -> list[str]:
    """Where two summaries differ by more than TOLERANCE, or at all where they are no numbers."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        names = sorted(wanted.keys() | found.keys())
        return [line for name in names for line in differences(wanted.get(name), found.get(name), f"{path}/{name}")]
    numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in (wanted, found))
    alike = abs(found - wanted) <= TOLERANCE * abs(wanted) if numbers else found == wanted
    return [] if alike else [f"{path.lstrip('/')} was {wanted}, is {found}"]


def told(found: dict[str, Any]) -> str:
    """A line on a summary."""
    verdict, reads = "fits" if found["fits"] else "does NOT fit", found["host_audio_seconds_per_second"]
    return (
        f"{found['parameters'] / 1e6:,.0f} M parameters, {found['rows']} rows: {found['hbm_bytes'] / 1e9:.2f} of "
        f"{found['hbm_bytes_there'] / 1e9:.2f} GB a chip, {verdict}"
        + ("" if reads is None else f"; at peak speed a host reads {reads:,.0f} seconds of audio a second")
    )


if __name__ == "__main__":
    sys.exit(main())
