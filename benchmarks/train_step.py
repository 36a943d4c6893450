"""A training step against that of transformers' Whisper in PyTorch, turn by turn, each in a process of its own.

    pip install 'speechlm_jax[bench]'
    python benchmarks/train_step.py [--lengths FILE] [--size tiny] [--rows 4] [--rounds 5] [--devices 1] [--no_peer]
                                    [--profile DIR] [--keep NAME]

Both have the sizes of Whisper: a Transformer over 20 ms positions, as many layers, as wide, as many parameters; ours
has gated feed-forward layers of two thirds the width, which is as many operations. Precision is float32 on a CPU and
bfloat16 on a GPU; the peer has SDPA attention and a fused AdamW, and the faster of eager and compiled. Of several
systems in one process, each would have the memory that another left in pieces.

    padded: batches of one shape, every utterance alone, padded to 30 s and 128 tokens. Features are given to the peer;
            ours makes them of the samples.
    useful: utterances of the lengths in FILE (seconds, one a line; drawn in the shape of LibriSpeech's without it),
            each as its users run it: the peer padded to 30 s and to the longest text of a batch, ours packed into half
            as many rows of 64 s. Seconds of speech a second. A few lengths, and rows, from all over the distribution.
    default: our Conformer of the same width and depth at 40 ms a position, with its CTC head, packed likewise; with
            --no_peer also padded, and default_packing_ratio tells what packing is worth to it.

The last line is JSON; padded_ratio and useful_ratio are ours over the peer's, higher is better. On a GPU `mfu` is that
of ours_packed, as one trains, and `mfu_of_each` beside it: operations by models/flops.py (the backward pass twice the
forward one) over the time and the published peak. Memory is not preallocated there, for all are on one device.
`peak_bytes` is what the device was seen to hold (on a CPU: the process), `bytes` what the compiler says that a step of
ours needs; `first_step_seconds` is the time to the end of the first step, compiling and the state with it;
`share_of_products` sets the operations of a step over its time beside those of a bare product of large matrices. With
--devices a CPU looks like so many, one a core, and rows are dealt to them. --profile writes a profile of a few steps of
each of ours, for xprof or TensorBoard.
"""

import argparse
import contextlib
import dataclasses
import os
import pathlib
import resource
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import apart
import figures
import jax
import numpy as np
import packing as lengths_like
import products
import utterances

from speechlm_jax import batch, chips, layout, memory, provenance, runtime, sharding
from speechlm_jax.data import config as data_config
from speechlm_jax.models import config as models
from speechlm_jax.models import flops
from speechlm_jax.training import config, program

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
PADDED_SECONDS = 30.0
PACKED_SECONDS = 64.0
"""So long that little is left over: `packing.py --lengths` tells how much of rows of 35 s and of 60 s."""
PADDED_TOKENS = 128
PACKED_TOKENS = 280
OURS = ("ours_padded", "ours_packed", "ours_default")
ALONE = ("ours_default_padded",)
"""Beside them where there is no peer, which would want the memory."""
PEERS = ("peer_padded_eager", "peer_padded_compiled", "peer_useful_eager", "peer_useful_compiled")


class Size(NamedTuple):
    """Width, heads and layers of encoder and decoder each: table 1 of arXiv 2212.04356."""

    width: int
    heads: int
    layers: int


SIZES = {"tiny": Size(384, 6, 4), "base": Size(512, 8, 6), "small": Size(768, 12, 12), "large": Size(1280, 20, 32)}


class Work(NamedTuple):
    """Something to be timed: steps over batches in turn."""

    step: Any
    """(number of a step) -> None, when it is done; None where another process has it."""
    useful_seconds: float
    """Of speech in a batch, on average."""
    parameters: int
    operations: float = 0.0
    """Of a step."""
    bytes: int = 0
    """That it needs at its peak, where the compiler tells."""
    began: float = 0.0
    """When it was begun to be made, by time.perf_counter, its data aside."""
    first_step_seconds: float = 0.0
    """From then to the end of the first step."""
    product_rate: float = 0.0
    """Operations a second of a product of large matrices by the same library: what a step could reach at most."""


def main() -> None:
    """Prints what each takes."""
    runtime.quiet()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", help="a file of durations in seconds, one a line")
    parser.add_argument("--size", choices=SIZES, default="tiny")
    parser.add_argument("--rows", type=figures.positive, default=4)
    parser.add_argument("--rounds", type=figures.positive, default=5)
    parser.add_argument("--devices", type=figures.positive, default=1, help="that ours deals its rows to")
    parser.add_argument("--no_peer", action="store_true", help="leave PyTorch out")
    parser.add_argument("--profile", metavar="DIR", help="write profiles of ours to it")
    figures.add_arguments(parser)
    given = parser.parse_args()
    if given.rows % (2 * given.devices):
        parser.error(f"--rows={given.rows}: wanted a multiple of {2 * given.devices}, for packed rows are half as many")
    wanted = 16 * given.rows * utterances.BATCHES
    if (found := len(durations(given))) < wanted:
        parser.error(f"--rows={given.rows} wants {wanted} utterances, found {found}")
    with contextlib.ExitStack() as parts:
        names = OURS + (ALONE if given.no_peer else PEERS)
        systems = {name: parts.enter_context(apart.Apart(_serve, name, given)) for name in names}
        times = timed({name: system.ask for name, system in systems.items()}, given.rounds)
        peaks = {name: system.ask(PEAK) for name, system in systems.items()}
        for name in set(names) - set(PEERS) if given.profile else ():
            systems[name].ask(str(pathlib.Path(given.profile).absolute() / name))
    found = told(given, {name: system.about for name, system in systems.items()}, times)
    libraries = ("jaxlib",) if given.no_peer else ("jaxlib", "torch", "transformers")
    figures.tell({**found, "peak_bytes": peaks}, given, *libraries)


def durations(given: argparse.Namespace) -> np.ndarray:
    """Their seconds."""
    own = (
        figures.durations(given.lengths)
        if given.lengths
        else lengths_like.librispeech_like(2000, np.random.default_rng(0))
    )
    return np.minimum(own, PADDED_SECONDS - 0.1)


def make(name: str, given: argparse.Namespace) -> Work:
    """The work of this name, in this process."""
    if given.devices > 1:
        jax.config.update("jax_num_cpu_devices", given.devices)
    size, rows, seconds = SIZES[given.size], given.rows, durations(given)
    alone = utterances.representative(seconds, rows, np.random.default_rng(0))
    padded_row = batch.Row(audio_seconds=PADDED_SECONDS, targets=PADDED_TOKENS, segments=1, subsampling=2)
    packed_row = batch.Row(audio_seconds=PACKED_SECONDS, targets=PACKED_TOKENS, segments=32, subsampling=2)
    shapes = {
        "ours_padded": (whisper_shaped, padded_row),
        "ours_packed": (whisper_shaped, packed_row),
        "ours_default": (default_of, dataclasses.replace(packed_row, subsampling=4)),
        "ours_default_padded": (default_of, dataclasses.replace(padded_row, subsampling=4)),
    }
    if name in shapes:
        model, row = shapes[name]
        batches = alone if name.endswith("padded") else utterances.packed_rows(seconds, row, rows // 2)
        return ours(model(size), row, batches, copies=given.devices)
    _, kind, how = name.split("_")
    return peer(size, alone, kind, compile_it=how == "compiled")


PEAK = "peak"
"""What a system is asked for the bytes it has held; a number asks it for that step, a folder for a profile."""


def _serve(there: Any, name: str, given: argparse.Namespace) -> None:
    runtime.quiet()
    work = make(name, given)
    work.step(0)
    seconds = time.perf_counter() - work.began
    rate = products.of_torch(dtype()) if name in PEERS else products.of_jax(dtype(), given.devices)
    there.send(work._replace(step=None, first_step_seconds=seconds, product_rate=rate))
    with contextlib.suppress(EOFError):
        while True:
            asked = there.recv()
            if asked == PEAK:
                there.send(most_held(ours=name not in PEERS))
                continue
            if isinstance(asked, str):
                with jax.profiler.trace(asked):
                    for number in range(utterances.BATCHES):
                        work.step(number)
            else:
                work.step(asked)
            there.send(None)


def most_held(*, ours: bool) -> int:
    """Bytes that the device of this process has held at most; of a CPU, those of the process."""
    if jax.default_backend() == "cpu":
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if ours:
        return jax.local_devices()[0].memory_stats()["peak_bytes_in_use"]
    import torch  # pyright: ignore[reportMissingImports]

    return torch.cuda.max_memory_allocated()


def told(given: argparse.Namespace, works: dict[str, Work], times: dict[str, float]) -> dict[str, Any]:
    """What is printed as JSON."""
    device = jax.devices()[0]
    peak = chips.peak_flops(device.device_kind)
    speeds = {name: work.useful_seconds / times[name] for name, work in works.items()}
    found: dict[str, Any] = {
        "size": given.size,
        "rows": given.rows,
        "ours_devices": given.devices,
        "lengths": os.path.basename(given.lengths) if given.lengths else "like LibriSpeech's",
        "dtype": dtype(),
        "step_seconds": {name: round(value, 4) for name, value in times.items()},
        "useful_audio_seconds_per_second": {name: round(speed, 2) for name, speed in speeds.items()},
        "parameters": {name: work.parameters for name, work in works.items()},
        "operations": {name: work.operations for name, work in works.items() if work.operations},
        "bytes": {name: work.bytes for name, work in works.items() if work.bytes},
        "product_operations_per_second": {name: round(work.product_rate) for name, work in works.items()},
        "share_of_products": {
            name: round(work.operations / times[name] / work.product_rate, 3)
            for name, work in works.items()
            if work.operations
        },
        "first_step_seconds": {name: round(work.first_step_seconds, 1) for name, work in works.items()},
    }
    if given.no_peer:
        found["default_packing_ratio"] = round(speeds["ours_default"] / speeds["ours_default_padded"], 3)
    else:
        padded, useful = (
            min((name for name in works if name.startswith(f"peer_{kind}")), key=lambda name: times[name])
            for kind in ("padded", "useful")
        )
        found |= {
            "peers": [padded, useful],
            "padded_ratio": round(times[padded] / times["ours_padded"], 3),
            "useful_ratio": round(speeds["ours_packed"] / speeds[useful], 3),
            "default_useful_ratio": round(speeds["ours_default"] / speeds[useful], 3),
        }
    if peak is not None:
        found["mfu_of_each"] = {
            name: round(work.operations / times[name] / peak, 4) for name, work in works.items() if work.operations
        }
        found["mfu"] = found["mfu_of_each"]["ours_packed"]
    return found


def dtype() -> Literal["float32", "bfloat16"]:
    """What both compute in."""
    return "bfloat16" if jax.default_backend() == "gpu" else "float32"


def timed(steps: Mapping[str, Callable[[int], Any]], rounds: int) -> dict[str, float]:
    """Median seconds of a step of each; they take turns, so that what else the machine does falls on all."""
    for step in steps.values():
        for number in range(utterances.BATCHES):
            step(number)
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds):
        for name, step in steps.items():
            # The system takes memory back that stood idle while others had their turn.
            step(utterances.BATCHES * number)
            began = time.perf_counter()
            for place in range(utterances.BATCHES):
                step(utterances.BATCHES * number + place)
            taken[name].append((time.perf_counter() - began) / utterances.BATCHES)
    return {name: float(np.median(values)) for name, values in taken.items()}


def whisper_shaped(size: Size) -> models.Model:
    """Our model of Whisper's sizes."""
    return models.Model(
        vocabulary_size=-(-utterances.PIECES // 128) * 128,
        width=size.width,
        num_heads=size.heads,
        mlp_width=size.width * 8 // 3,
        encoder_layers=size.layers,
        decoder_layers=size.layers,
        encoder_block="transformer",
        subsampling=2,
        stem_channels=size.width,
        ctc=False,
        dropout=0.0,
        spec_augment=None,
        dtype=dtype(),
    )


def default_of(size: Size) -> models.Model:
    """Our default of the same width and depth."""
    return dataclasses.replace(
        whisper_shaped(size), encoder_block="conformer", mlp_width=size.width * 4 // 3, subsampling=4, ctc=True
    )


def ours(
    model: models.Model, row: batch.Row, batches: list[list[list[float]]], *, copies: int = 1, shards: int = 1
) -> Work:
    """Our step over these batches of rows of utterances, with so many copies of the weights, each cut over so many
    devices."""
    losses = (("targets", 1.0), ("ctc", 0.3)) if model.ctc else (("targets", 1.0),)
    recipe = config.Recipe(
        steps=10_000,
        data=data_config.Data(row=row, rows=len(batches[0]), vocabulary="none.model"),
        model=model,
        losses=config.Losses(losses),
        optimizer=config.Optimizer(schedule=config.Schedule(peak=1e-4)),
        layout=layout.Layout(slices=1, data=copies, fsdp=shards, tensor=1),
    )
    pieces = min(utterances.PIECES, model.vocabulary_size)
    full = [utterances.filled(row, members, pieces) for members in batches]
    began = time.perf_counter()
    made = program.Program(recipe, sharding.make_mesh(recipe.layout, jax.devices()[: copies * shards]))
    compiled = made.compile()
    now = [made.first_state(None)]
    place = made.rows().segments.weights.sharding
    placed = [jax.device_put(rows, place) for rows in full]

    def step(number: int) -> None:
        now[0], metrics = compiled(now[0], placed[number % len(placed)])
        if int(metrics.skipped):
            raise RuntimeError("timing a step: its loss or a gradient was not finite.")

    return Work(
        step,
        float(np.mean([sum(map(sum, members)) for members in batches])),
        made.num_parameters,
        flops.step(model, made.plan.params, row, len(batches[0]), [name for name, _ in losses]),
        memory.peak(compiled),
        began,
    )


def of_transformers(size: Size) -> dict[str, Any]:
    """What transformers' configuration of a Whisper of this size says."""
    return {
        "vocab_size": utterances.PIECES,
        "d_model": size.width,
        "encoder_layers": size.layers,
        "decoder_layers": size.layers,
        "encoder_attention_heads": size.heads,
        "decoder_attention_heads": size.heads,
        "encoder_ffn_dim": 4 * size.width,
        "decoder_ffn_dim": 4 * size.width,
        "attn_implementation": "sdpa",
    }


def peer(size: Size, batches: list[list[list[float]]], kind: str, *, compile_it: bool) -> Work:
    """Whisper of these sizes in PyTorch; texts are padded to one length, or in `useful` batches to the longest."""
    import torch  # pyright: ignore[reportMissingImports]
    import transformers  # pyright: ignore[reportMissingImports]

    where = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(provenance.cpus())
    half = dtype() == "bfloat16"
    rows = len(batches[0])
    longest = [max(len(utterances.example(row[0])["targets"]) for row in members) for members in batches]
    lengths = {"padded": [PADDED_TOKENS] * len(batches), "useful": longest}
    features = torch.randn(rows, 80, int(PADDED_SECONDS * 100), device=where)
    useful_seconds = float(np.mean([sum(map(sum, members)) for members in batches]))

    began = time.perf_counter()
    torch.manual_seed(0)
    model: Any = transformers.WhisperForConditionalGeneration(transformers.WhisperConfig(**of_transformers(size)))
    model.to(where).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    run = torch.compile(model, dynamic=True) if compile_it else model
    labels = [torch.randint(5, utterances.PIECES, (rows, length), device=where) for length in lengths[kind]]

    def step(number: int) -> None:
        with torch.autocast(where, torch.bfloat16, enabled=half):
            loss = run(input_features=features, labels=labels[number % len(labels)]).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if where == "cuda":
            torch.cuda.synchronize()

    return Work(step, useful_seconds, sum(weights.numel() for weights in model.parameters()), began=began)


if __name__ == "__main__":
    main()
