"""A training step against that of transformers' Whisper in PyTorch, turn by turn, each in a process of its own.

    pip install 'speechlm_jax[bench]'
    python benchmarks/train_step.py [--lengths FILE] [--size tiny] [--rows 4] [--rounds 5] [--devices 1] [--no_peer]

Both have the sizes of Whisper: a Transformer over 20 ms positions, as many layers, as wide, as many parameters; ours
has gated feed-forward layers of two thirds the width, which is as many operations. Precision is float32 on a CPU and
bfloat16 on a GPU; the peer has SDPA attention and a fused AdamW, and the faster of eager and compiled. Of several
systems in one process, each would have the memory that another left in pieces.

    padded: batches of one shape, every utterance alone, padded to 30 s and 128 tokens. Features are given to the peer;
            ours makes them of the samples.
    useful: utterances of the lengths in FILE (seconds, one a line; drawn in the shape of LibriSpeech's without it),
            each as its users run it: the peer padded to 30 s and to the longest text of a batch, ours packed into half
            as many rows of 64 s. Seconds of speech a second. A few lengths, and rows, from all over the distribution.
    default: our Conformer of the same width and depth at 40 ms a position, with its CTC head, packed likewise.

The last line is JSON; padded_ratio and useful_ratio are ours over the peer's, higher is better. On a GPU `mfu` is
operations by planning/flops.py (the backward pass twice the forward one) over the time and the published peak; memory
is not preallocated there, for all are on one device. `bytes` is what a compiled step of ours needs. With --devices a
CPU looks like so many, one a core, and rows are dealt to them.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import apart
import jax
import numpy as np
import packing as lengths_like

from speechlm_jax import batch, layout, provenance, runtime, sharding, vocabulary
from speechlm_jax.data import config as data_config
from speechlm_jax.data import packing
from speechlm_jax.models import config as models
from speechlm_jax.planning import flops
from speechlm_jax.training import config, program

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
PADDED_SECONDS = 30.0
PACKED_SECONDS = 64.0
"""So long that little is left over: packing.py tells that rows of 35 s, of LibriSpeech's lengths, are 91% full, and of
60 s 98%."""
TOKENS_PER_SECOND = 4.0
PADDED_TOKENS = 128
PACKED_TOKENS = 280
PIECES = 51_865
OURS = ("ours_padded", "ours_packed", "ours_default")
PEERS = ("peer_padded_eager", "peer_padded_compiled", "peer_useful_eager", "peer_useful_compiled")
BATCHES = 4
"""Different ones, that each takes in turn."""
PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12}
"""Products in bfloat16 a second, dense, as NVIDIA's data sheets state them."""


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


def main() -> None:
    """Prints what each takes."""
    runtime.quiet()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", help="a file of durations in seconds, one a line")
    parser.add_argument("--size", choices=SIZES, default="tiny")
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--devices", type=int, default=1, help="that ours deals its rows to")
    parser.add_argument("--no_peer", action="store_true", help="leave PyTorch out")
    given = parser.parse_args()
    if given.rows % (2 * given.devices):
        parser.error(f"--rows={given.rows}: wanted a multiple of {2 * given.devices}, for packed rows are half as many")
    wanted = 16 * given.rows * BATCHES
    if (found := len(durations(given))) < wanted:
        parser.error(f"--rows={given.rows} wants {wanted} utterances, found {found}")
    with contextlib.ExitStack() as parts:
        names = OURS + (() if given.no_peer else PEERS)
        systems = {name: parts.enter_context(apart.Apart(_serve, name, given)) for name in names}
        times = timed({name: system.ask for name, system in systems.items()}, given.rounds)
    print(json.dumps(told(given, {name: system.about for name, system in systems.items()}, times)))


def durations(given: argparse.Namespace) -> np.ndarray:
    """Their seconds."""
    own = np.loadtxt(given.lengths) if given.lengths else lengths_like.librispeech_like(2000, np.random.default_rng(0))
    return np.minimum(own, PADDED_SECONDS - 0.1)


def make(name: str, given: argparse.Namespace) -> Work:
    """The work of this name, in this process."""
    if given.devices > 1:
        jax.config.update("jax_num_cpu_devices", given.devices)
    size, rows, seconds = SIZES[given.size], given.rows, durations(given)
    alone = representative(seconds, rows, np.random.default_rng(0))
    padded_row = batch.Row(audio_seconds=PADDED_SECONDS, targets=PADDED_TOKENS, segments=1, subsampling=2)
    packed_row = batch.Row(audio_seconds=PACKED_SECONDS, targets=PACKED_TOKENS, segments=32, subsampling=2)
    default_row = dataclasses.replace(packed_row, subsampling=4)
    shapes = {
        "ours_padded": (whisper_shaped, padded_row),
        "ours_packed": (whisper_shaped, packed_row),
        "ours_default": (default_of, default_row),
    }
    if name in shapes:
        model, row = shapes[name]
        batches = alone if row is padded_row else packed_rows(seconds, row, rows // 2)
        return ours(model(size), row, batches, copies=given.devices)
    _, kind, how = name.split("_")
    return peer(size, alone, kind, compile_it=how == "compiled")


def _serve(there: Any, name: str, given: argparse.Namespace) -> None:
    runtime.quiet()
    work = make(name, given)
    there.send(work._replace(step=None))
    with contextlib.suppress(EOFError):
        while True:
            work.step(there.recv())
            there.send(None)


def told(given: argparse.Namespace, works: dict[str, Work], times: dict[str, float]) -> dict[str, Any]:
    """What is printed as JSON."""
    device = jax.devices()[0]
    peak = next((flops for name, flops in PEAK_FLOPS.items() if name in device.device_kind), None)
    speeds = {name: work.useful_seconds / times[name] for name, work in works.items()}
    found: dict[str, Any] = {
        "size": given.size,
        "rows": given.rows,
        "ours_devices": given.devices,
        "lengths": os.path.basename(given.lengths) if given.lengths else "like LibriSpeech's",
        "dtype": dtype(),
        "memory_settings": os.environ.get("GLIBC_TUNABLES", ""),
        "step_seconds": {name: round(value, 4) for name, value in times.items()},
        "useful_audio_seconds_per_second": {name: round(speed, 2) for name, speed in speeds.items()},
        "parameters": {name: work.parameters for name, work in works.items()},
        "operations": {name: work.operations for name, work in works.items() if work.operations},
        "bytes": {name: work.bytes for name, work in works.items() if work.bytes},
    }
    theirs = not given.no_peer
    if theirs:
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
        found["mfu"] = {
            name: round(work.operations / times[name] / peak, 4) for name, work in works.items() if work.operations
        }
    versions = provenance.versions("jaxlib", *(("torch", "transformers") if theirs else ()))
    return found | {"versions": versions, **provenance.machine()}


def dtype() -> Literal["float32", "bfloat16"]:
    """What both compute in."""
    return "bfloat16" if jax.default_backend() == "gpu" else "float32"


def timed(steps: Mapping[str, Callable[[int], Any]], rounds: int) -> dict[str, float]:
    """Median seconds of a step of each; they take turns, so that what else the machine does falls on all."""
    for step in steps.values():
        for number in range(BATCHES):
            step(number)
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds):
        for name, step in steps.items():
            # The system takes memory back that stood idle while others had their turn.
            step(BATCHES * number)
            began = time.perf_counter()
            for place in range(BATCHES):
                step(BATCHES * number + place)
            taken[name].append((time.perf_counter() - began) / BATCHES)
    return {name: float(np.median(values)) for name, values in taken.items()}


def representative(seconds: np.ndarray, rows: int, random: np.random.Generator) -> list[list[list[float]]]:
    """Batches of rows of one utterance each, of lengths from all over the distribution: so few drawn at random have
    another mean, and a padded step takes the same time for it."""
    places = (np.arange(BATCHES * rows) + 0.5) / (BATCHES * rows)
    chosen = random.permutation(np.quantile(seconds, places))
    return [[[float(second)] for second in chosen[n * rows : (n + 1) * rows]] for n in range(BATCHES)]


def packed_rows(seconds: np.ndarray, row: batch.Row, rows: int) -> list[list[list[float]]]:
    """Batches of rows of utterances, as the stream lays them: some from all over how full rows are. The first ones that
    a packer closes are fuller than those to come."""
    packer: packing.Packer[float] = packing.Packer(packing.capacity(row), open_rows=16)
    closed: list[list[float]] = []
    # A file may be sorted, whose first batches are not like the others.
    for second in np.random.default_rng(0).permutation(seconds):
        full = packer.add(float(second), packing.demand(example(float(second)), row))
        if full:
            closed.append(full)
    usual = sorted(closed[len(closed) // 4 :], key=sum)
    wanted = BATCHES * rows
    if len(usual) < wanted:
        sys.exit(f"packing {len(seconds)} utterances: wanted {wanted} full rows, found {len(usual)}. Add more.")
    places = np.random.default_rng(0).permutation((np.arange(wanted) + 0.5) / wanted * len(usual))
    chosen = [usual[int(place)] for place in places]
    return [chosen[n * rows : (n + 1) * rows] for n in range(BATCHES)]


def example(seconds: float, pieces: int = PIECES) -> dict[str, Any]:
    """Noise of this length, and tokens as if it were speech."""
    random = np.random.default_rng(int(seconds * 1000))
    nothing = np.zeros(0, np.int32)
    tokens = random.integers(5, pieces, max(2, int(seconds * TOKENS_PER_SECOND))).astype(np.int32)
    tokens[-1] = vocabulary.EOS
    return {
        "audio": random.normal(0, 2000, int(seconds * batch.SAMPLE_RATE)).astype(np.int16),
        "inputs": nothing,
        "prompt": tokens[:3],
        "targets": tokens,
        "target_audio": np.zeros(0, np.int16),
        "masked_tokens": nothing,
        "masked_weights": nothing.astype(np.float32),
        "ctc": np.ones(1, np.int32),
        "claim": np.zeros(1, np.float32),
        "mask_share": np.zeros(1, np.float32),
        "weight": np.ones(1, np.float32),
        "task": 0,
        "origin": (0, 0, 0),
    }


def whisper_shaped(size: Size) -> models.Model:
    """Our model of Whisper's sizes."""
    return models.Model(
        vocabulary_size=-(-PIECES // 128) * 128,
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
    made = program.Program(recipe, sharding.make_mesh(recipe.layout, jax.devices()[: copies * shards]))
    compiled = made.compile()
    held = [made.first_state()]
    pieces = min(PIECES, model.vocabulary_size)
    place = made.rows().segments.weights.sharding
    placed = [jax.device_put(filled(row, utterances, pieces), place) for utterances in batches]

    def step(number: int) -> None:
        held[0], metrics = compiled(held[0], placed[number % len(placed)])
        if int(metrics.skipped):
            raise RuntimeError("timing a step: its loss or a gradient was not finite.")

    memory = compiled.memory_analysis()
    return Work(
        step,
        float(np.mean([sum(map(sum, utterances)) for utterances in batches])),
        made.num_parameters,
        flops.step(model, made.plan.params, row, len(batches[0]), [name for name, _ in losses]),
        memory.argument_size_in_bytes + memory.temp_size_in_bytes,
    )


def filled(row: batch.Row, utterances: list[list[float]], pieces: int) -> batch.Batch:
    """A batch of these rows, with texts of so many pieces."""
    out = batch.empty(row, len(utterances))
    for index, members in enumerate(utterances):
        packing.write_row(out, index, [example(second, pieces) for second in members], row)
    return out


def peer(size: Size, batches: list[list[list[float]]], kind: str, *, compile_it: bool) -> Work:
    """Whisper of these sizes in PyTorch; texts are padded to one length, or in `useful` batches to the longest."""
    import torch  # pyright: ignore[reportMissingImports]
    import transformers  # pyright: ignore[reportMissingImports]

    where = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(provenance.cpus())
    half = dtype() == "bfloat16"
    rows = len(batches[0])
    longest = [max(len(example(row[0])["targets"]) for row in utterances) for utterances in batches]
    lengths = {"padded": [PADDED_TOKENS] * len(batches), "useful": longest}
    features = torch.randn(rows, 80, int(PADDED_SECONDS * 100), device=where)
    useful_seconds = float(np.mean([sum(map(sum, utterances)) for utterances in batches]))

    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "vocab_size": PIECES,
        "d_model": size.width,
        "encoder_layers": size.layers,
        "decoder_layers": size.layers,
        "encoder_attention_heads": size.heads,
        "decoder_attention_heads": size.heads,
        "encoder_ffn_dim": 4 * size.width,
        "decoder_ffn_dim": 4 * size.width,
        "attn_implementation": "sdpa",
    }
    model: Any = transformers.WhisperForConditionalGeneration(transformers.WhisperConfig(**sizes))
    model.to(where).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    run = torch.compile(model, dynamic=True) if compile_it else model
    labels = [torch.randint(5, PIECES, (rows, length), device=where) for length in lengths[kind]]

    def step(number: int) -> None:
        with torch.autocast(where, torch.bfloat16, enabled=half):
            loss = run(input_features=features, labels=labels[number % len(labels)]).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if where == "cuda":
            torch.cuda.synchronize()

    return Work(step, useful_seconds, sum(weights.numel() for weights in model.parameters()))


if __name__ == "__main__":
    main()
