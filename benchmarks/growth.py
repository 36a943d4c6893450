"""How a step grows: its time against rows, their length, layers, and the devices that its weights are cut over; and
what it takes to compile against depth.

    pip install 'speechlm_jax[bench]'
    JAX_PLATFORMS=cpu python benchmarks/growth.py [--rounds 5] [--plot FILE] [--keep NAME]

Each axis takes 1, 2, 4 and 8 times of a small model whose attention is written out: other kernels pass over what is in
other segments, so that their time grows with the segments rather than with the row. The time of a step, median of
rounds in turn, stands beside its operations by models/flops.py. Along `shards`, weights are cut over so many
pretended devices (fsdp), which share the cores of this machine: the work stays the same.

--plot writes a picture of all that. The script ends with code 1 where something grows more than the theory, and SPARE
beside it, has it. The last line of standard output is JSON: the points of each axis; `power`, with which time grew
from the first point to the last, beside that of the theory: at most 1 of rows and of layers, 2 of the length of a row
(attention), 0 of shards; and `compile_ratio` and `text_ratio`, of a program of 24 layers over that of 6.
"""

import argparse
import dataclasses
import importlib.util
import math
import os
import sys
import time
from collections.abc import Mapping
from typing import Any

import figures
import jax
import numpy as np
import train_step

from speechlm_jax import batch, layout, runtime, sharding
from speechlm_jax.data import config as data_config
from speechlm_jax.models import config as models
from speechlm_jax.planning import report
from speechlm_jax.training import config, program

# Devices that wait for each other at a collective each hold a thread, and XLA makes no more of them than devices.
os.environ.setdefault("NPROC", "16")
TIMES = (1, 2, 4, 8)
UTTERANCE = 4.9
"""Seconds of each, one for every five of a row."""
MODEL = models.Model(
    vocabulary_size=1024,
    width=128,
    mlp_width=512,
    encoder_layers=2,
    decoder_layers=2,
    stem_channels=64,
    dropout=0.0,
    spec_augment=None,
    attention_kernel="reference",
)
DEPTHS = (6, 24)


@dataclasses.dataclass(frozen=True)
class Point:
    """A step of some size."""

    rows: int = 8
    seconds: float = 5.0
    layers: int = 2
    shards: int = 1

    @property
    def row(self) -> batch.Row:
        """Room for the utterances of a row."""
        return batch.Row(audio_seconds=self.seconds, targets=round(8 * self.seconds), segments=round(self.seconds))

    @property
    def model(self) -> models.Model:
        """An encoder and a decoder of so many layers each."""
        return dataclasses.replace(MODEL, encoder_layers=self.layers, decoder_layers=self.layers)

    def work(self) -> train_step.Work:
        """The step on full rows."""
        utterances = [[UTTERANCE] * round(self.seconds / 5)] * self.rows
        return train_step.ours(self.model, self.row, [utterances], shards=self.shards)


AXES = {
    "rows": [Point(rows=times) for times in TIMES],
    "seconds": [Point(rows=1, seconds=5.0 * times) for times in TIMES],
    "layers": [Point(rows=2, layers=2 * times) for times in TIMES],
    "shards": [Point(shards=times) for times in TIMES],
}
THEORY = {"rows": 1, "seconds": 2, "layers": 1, "shards": 0}
"""Axis -> the power of it that time grows with at most."""
SPARE = {"rows": 0.1, "seconds": 0.1, "layers": 0.1, "shards": 0.2}
"""What measuring adds to a power. Of shards it is more: what the devices of a pod gather at once, each into its own
memory, the one memory of this machine takes in turn."""
MOST = {"compile_ratio": 1.3, "text_ratio": 1.1}
"""What depth may cost."""


def main() -> None:
    """Prints a line for each point, then all as JSON."""
    runtime.quiet()
    jax.config.update("jax_num_cpu_devices", max(TIMES))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=figures.positive, default=5)
    parser.add_argument("--plot", help="a picture to write, such as growth.png")
    figures.add_arguments(parser)
    given = parser.parse_args()
    if given.plot and importlib.util.find_spec("matplotlib") is None:
        parser.error(
            "drawing needs matplotlib, which is not installed. Install speechlm_jax[bench], or leave --plot out."
        )
    found: dict[str, Any] = {"axes": {axis: grown(axis, points, given.rounds) for axis, points in AXES.items()}}
    found |= depth()
    figures.tell(found, given, "jaxlib")
    if given.plot:
        draw(found["axes"], given.plot)
    if wrong := beyond(found):
        sys.exit("\n".join(wrong))


def beyond(found: Mapping[str, Any]) -> list[str]:
    """What grows more than it may."""
    return [
        *(
            f"time grows with the power {own['power']} of {axis}, wanted at most {own['theory'] + SPARE[axis]}"
            for axis, own in found["axes"].items()
            if own["power"] > own["theory"] + SPARE[axis]
        ),
        *(
            f"{name} of {DEPTHS[1]} layers over {DEPTHS[0]} is {found[name]}, wanted at most {most}"
            for name, most in MOST.items()
            if found[name] > most
        ),
    ]


def grown(axis: str, points: list[Point], rounds: int) -> dict[str, Any]:
    """The points of one axis, with their time and operations."""
    works = {str(getattr(point, axis)): point.work() for point in points}
    times = train_step.timed({name: work.step for name, work in works.items()}, rounds)
    told = []
    for name, work in works.items():
        told.append({axis: float(name), "seconds_a_step": round(times[name], 4), "operations": work.operations})
        runtime.say(f"{axis} {name:>5}  {times[name]:8.4f} s  {work.operations / 1e9:8.2f} G operations")
    first, last = told[0], told[-1]
    power = math.log(last["seconds_a_step"] / first["seconds_a_step"]) / math.log(last[axis] / first[axis])
    return {"points": told, "power": round(power, 3), "theory": THEORY[axis]}


def depth() -> dict[str, float]:
    """What a deep step takes of what a flat one does, to trace and compile, and as text."""
    seconds, texts = [], []
    with report.compiled_anew():
        for layers in DEPTHS:
            point = Point(rows=2, layers=layers)
            recipe = config.Recipe(
                steps=1,
                data=data_config.Data(row=point.row, rows=point.rows, vocabulary="none.model"),
                model=point.model,
                layout=layout.Layout(slices=1, data=1, fsdp=1, tensor=1),
            )
            began = time.perf_counter()
            compiled = program.Program(recipe, sharding.make_mesh(recipe.layout, jax.devices()[:1])).compile()
            seconds.append(time.perf_counter() - began)
            texts.append(len(compiled.as_text()))
            runtime.say(f"{layers:>2} layers  {seconds[-1]:6.1f} s to compile  {texts[-1]:,} characters")
    return {"compile_ratio": round(seconds[1] / seconds[0], 3), "text_ratio": round(texts[1] / texts[0], 3)}


def draw(axes: Mapping[str, Mapping[str, Any]], path: str) -> None:
    """Time and operations of each axis, both over those of its first point."""
    import matplotlib  # pyright: ignore[reportMissingImports]

    matplotlib.use("Agg")
    from matplotlib import pyplot  # pyright: ignore[reportMissingImports]

    figure, panels = pyplot.subplots(1, len(axes), figsize=(4 * len(axes), 4), layout="constrained")
    for panel, (axis, own) in zip(np.ravel(panels), axes.items(), strict=True):
        at = [point[axis] for point in own["points"]]
        for key, label, style in (("seconds_a_step", "time", "o-"), ("operations", "operations", "--")):
            values = np.asarray([point[key] for point in own["points"]], float)
            panel.loglog(at, values / values[0], style, label=label, base=2)
        panel.set(xlabel=axis, ylabel="of the first", xticks=at, xticklabels=[f"{value:g}" for value in at])
        panel.set_ylim(bottom=0.5)  # Else the noise of what does not grow would fill its panel.
        panel.legend()
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
