"""Verb `plan`: the step of a recipe compiled for devices that are not at hand."""

import argparse
import dataclasses
import os
import pathlib
import sys
from typing import Any

from speechlm_jax import provenance, whole_files
from speechlm_jax.training import config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this verb."""
    parser.add_argument("--topology", help="a TPU slice, such as v5e:16x16 or v5p:4x4x8")
    parser.add_argument("--slices", type=int, help="so many slices of it (default: Layout.slices)")
    parser.add_argument("--devices", type=int, help="in place of a topology: so many accelerators, pretended")
    parser.add_argument("--memory_gb", type=float, help="with --devices: memory of each, in 10^9 bytes")
    parser.add_argument("--shapes", action="store_true", help="print every parameter and where it lies")
    parser.add_argument(
        "--fit",
        metavar="DIR",
        help="find the rows, layout and Model.remat that fit best; what is compiled is kept in DIR",
    )
    parser.add_argument("--json", help="write the report here as JSON, whose `fits` says what the exit code does not")


def run(
    *,
    recipe: config.Recipe,
    topology: str = "",
    slices: int = 0,
    devices: int = 0,
    memory_gb: float = 0.0,
    shapes: bool = False,
    fit: str = "",
    json: str = "",
) -> dict[str, Any]:
    """Compiles one training step ahead of time, and prints and returns what it needs: see planning.report.Report.

    Nothing is allocated. With a topology the compiler is that of the TPU; else the step is compiled for pretended
    devices by the CPU's, which needs more room for temporaries than a GPU's: what it says of them is a bound to go by.

    Raises ValueError where the recipe does not fit the devices' number, or there is no such topology.
    """
    if bool(topology) == bool(devices):
        raise ValueError(
            "planning a run: wanted what to plan for, one of --topology=v5e:16x16 (a TPU slice) and --devices=8 "
            f"--memory_gb=80, found {'both' if topology else 'neither'}."
        )
    known = 0 < memory_gb < float("inf")
    if not 0 <= devices <= _MOST_DEVICES or (devices and not known) or (topology and memory_gb):
        asked = f"--topology={topology}" if topology else f"--devices={devices}"
        raise ValueError(
            f"planning for {asked}: wanted 1 to {_MOST_DEVICES:,} devices, and how much memory each has, "
            f"--memory_gb=80 say, which a topology knows; found --memory_gb={memory_gb:g}."
        )
    if fit and shapes:
        raise ValueError("planning a run: --fit tries many layouts and --shapes prints one. Give one of them.")
    if not fit:
        recipe.data.stream.rows_per_shard(recipe.data.rows)
    whole_files.check_file(json or None, "--json")
    whole_files.check_folder(fit or None, "--fit")
    # Beside a compiler for TPUs, JAX itself is to run where the process is.
    os.environ["JAX_PLATFORMS"] = "cpu"
    from speechlm_jax import memory, sharding
    from speechlm_jax.planning import fit as fits
    from speechlm_jax.planning import report
    from speechlm_jax.planning import topology as topologies
    from speechlm_jax.training import program

    if slices:
        recipe = dataclasses.replace(recipe, layout=dataclasses.replace(recipe.layout, slices=slices))
    if topology:
        there, chip = topologies.devices(topology, recipe.layout.slices), topologies.chip(topology)
        room = chip.hbm_bytes
    else:
        chip, there, room = None, topologies.pretended(devices), int(memory_gb * memory.GB)
        if recipe.model.attention_kernel == "auto":
            # What 'auto' takes of CPUs needs less room than what a GPU may have to take.
            written_out = dataclasses.replace(recipe.model, attention_kernel="reference")
            recipe = dataclasses.replace(recipe, model=written_out)
    asked = {"topology": topology, "devices": devices, "memory_gb": memory_gb}
    told = {"asked": asked, "versions": provenance.versions("jaxlib", "libtpu")}
    if fit:
        found = fits.search(recipe, there, chip, room, pathlib.Path(fit))
        print(fits.text(found))
        return _written(json, {**fits.as_json(found), **told})
    planned = program.Program(recipe, sharding.make_mesh(recipe.layout, there))
    if shapes:
        print("\n".join(report.parameter_lines(planned)))
    print(
        f"compiling the step for {len(there)} {there[0].device_kind}, which takes minutes where the model is large",
        file=sys.stderr,
    )
    made = report.make(planned, planned.lower(), chip, room)
    print(report.text(made))
    of = {"mesh": dict(planned.mesh.shape), "remat": recipe.model.remat, "accumulate": recipe.optimizer.accumulate}
    return _written(json, {**made.as_json(), **of, **told})


_MOST_DEVICES = 2**16


def _written(path: str, told: dict[str, Any]) -> dict[str, Any]:
    if path:
        whole_files.write_json(path, told)
    return told
