"""One step of a small model with every head, however it is laid out.

python laid_out.py FILE SLICES FSDP TENSOR: the step as one process of a group, whose first writes it to FILE.
"""

import dataclasses
import functools
import sys

import jax
import numpy as np
import rows

from speechlm_jax import batch as batches
from speechlm_jax import layout, parameters, peers, runtime, sharding
from speechlm_jax.data import config as data_config
from speechlm_jax.models import config as models
from speechlm_jax.training import config, program

ROW = batches.Row(audio_seconds=1.28, inputs=16, targets=20, target_audio_seconds=1.28, segments=3)
MODEL = dataclasses.replace(
    rows.MODEL,
    width=32,
    num_heads=8,
    mlp_width=32,
    stem_channels=16,
    ctc_tied=True,
    dropout=0.1,
    spec_augment=models.SpecAugment(),
    **rows.EVERY_HEAD | {"speech_out": models.SpeechOut(mels=16, levels=4, reduction=2, hidden=16, guided_heads=1)},
)
LOSSES = config.Losses(
    tuple(
        (head, 1.0)
        for head in ("targets", "ctc", "masked_tokens", "masked_speech", "target_audio", "matching", "alignment")
    )
)
# What is left of a gradient after one step is its first moment; nothing else may hide it.
PLAIN = config.Optimizer(schedule=config.Schedule(peak=1e-3, warmup_steps=0), clip_norm=None)
ROWS = 8


def made(shape, *, accumulate=1, num_rows=ROWS, **changes):
    """The program of the model with these changes, on as many devices as the layout has places, and its step."""
    recipe = config.Recipe(
        steps=10,
        data=data_config.Data(row=ROW, rows=num_rows, vocabulary="/nowhere/vocabulary.model"),
        model=dataclasses.replace(MODEL, **changes),
        losses=LOSSES,
        optimizer=dataclasses.replace(PLAIN, accumulate=accumulate),
        layout=shape,
    )
    places = (shape.slices, shape.data, shape.fsdp, shape.tensor)
    planned = program.Program(recipe, sharding.make_mesh(shape, jax.devices()[: int(np.prod(places))]))
    return planned, planned.lower().compile(compiler_options=rows.FAST_COMPILE)


@functools.cache
def global_rows():
    """Two examples a row, which fill all lanes between them."""
    return rows.batch(
        ROW,
        *[
            [
                rows.example(2 * row, seconds=0.5, prompt=2, targets=6, claim=1, mask_share=0.3),
                rows.example(2 * row + 1, inputs=7, targets=5, target_seconds=0.4),
            ]
            for row in range(ROWS)
        ],
    )


def stepped(shape, **choices):
    """Loss totals by head, and the gradient of every parameter, of the first step on a mesh."""
    planned, step = made(shape, **choices)
    here = sharding.local_rows(planned.mesh, ROWS)
    local = jax.tree.map(lambda array: array[here], global_rows())
    now, metrics = step(planned.first_state(None), sharding.global_batch(planned.mesh, local))
    moments = parameters.by_path(now.opt_state["adam"].mu)
    gradients = {
        path: peers.whole(parameters.array(leaf), planned.mesh) / (1 - PLAIN.b1)
        for path, leaf in moments.items()
        if parameters.is_variable(leaf)
    }
    return np.asarray(metrics.sums.totals).sum(axis=1), gradients


def main(path, slices, fsdp, tensor):
    """Takes the step with the other processes."""
    runtime.initialize()
    totals, gradients = stepped(layout.Layout(slices=int(slices), data=1, fsdp=int(fsdp), tensor=int(tensor)))
    if jax.process_index() == 0:
        np.savez(path, totals=totals, **gradients)


if __name__ == "__main__":
    main(*sys.argv[1:])
