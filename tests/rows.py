"""Small batches from random examples, a small model for them, and the check that packing changes nothing."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from speechlm_jax import audio, vocabulary
from speechlm_jax import batch as batches
from speechlm_jax.data import packing
from speechlm_jax.models import config, speech_text

VOCABULARY = 128
FAST_COMPILE = {"xla_backend_optimization_level": 0}
"""For programs that are compiled to be run once or twice."""
MODEL = config.Model(
    vocabulary_size=VOCABULARY,
    width=16,
    num_heads=2,
    mlp_width=32,
    encoder_layers=2,
    decoder_layers=2,
    conv_kernel=5,
    mels=20,
    stem_channels=16,
)
EVERY_HEAD = {
    "text_kernel": 3,
    "decoder_kernel": 3,
    "matching": True,
    "masked_speech": config.MaskedSpeech(codebooks=2, codes=16, code_width=4, span=3),
    "speech_out": config.SpeechOut(mels=12, levels=5, reduction=2, hidden=16, dropout=0.1, guided_heads=1),
}
"""What MODEL lacks of what a model may have."""

compiled = functools.partial(jax.jit, compiler_options=FAST_COMPILE)


def normal(seed: int, *shape: int) -> jax.Array:
    """Random numbers of a normal distribution."""
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


@functools.cache
def model(**changes: Any) -> tuple[nnx.GraphDef, nnx.State]:
    """The graph and the parameters of MODEL with these changes; scales and biases do not stand at their start."""
    choice = dataclasses.replace(MODEL, **changes)
    abstract = nnx.eval_shape(lambda: speech_text.SpeechText(choice, rngs=nnx.Rngs(0)))
    params = compiled(lambda: nnx.state(speech_text.SpeechText(choice, rngs=nnx.Rngs(0))))()
    leaves, structure = jax.tree.flatten(params)
    random = np.random.default_rng(0)
    moved = [np.asarray(leaf) + 0.1 * random.normal(size=leaf.shape).astype(np.float32) for leaf in leaves]
    return nnx.split(abstract)[0], jax.tree.unflatten(structure, [jnp.asarray(leaf) for leaf in moved])


def example(
    seed: int,
    *,
    seconds: float = 0.0,
    inputs: int = 0,
    prompt: int = 0,
    targets: int = 0,
    target_seconds: float = 0.0,
    mask_share: float = 0.0,
    claim: float = 0.0,
) -> dict[str, Any]:
    """A random example with these lengths, as the stream hands it to the packer."""
    random = np.random.default_rng(seed)

    def speech(length: float) -> np.ndarray:
        loudness = random.uniform(0.2, 2)
        return (random.normal(0, 3_000, int(length * batches.SAMPLE_RATE)) * loudness).astype(np.int16)

    def tokens(length: int) -> np.ndarray:
        return random.integers(5, VOCABULARY, length).astype(np.int32)

    samples = speech(seconds)
    out = tokens(targets)
    # Repeated labels need a blank between them, which is where CTC goes wrong first.
    out[2:4] = out[1] if targets > 5 else out[2:4]
    out[-1:] = vocabulary.EOS
    return {
        "audio": samples,
        "inputs": tokens(inputs),
        "prompt": tokens(prompt),
        "targets": out,
        "target_audio": speech(target_seconds),
        "masked_tokens": tokens(inputs),
        "masked_weights": (random.random(inputs) < 0.5).astype(np.float32),
        "ctc": np.array([int(seconds > 0 and targets > 0)], np.int32),
        "claim": np.array([claim], np.float32),
        "mask_share": np.array([mask_share], np.float32),
        "weight": np.array([random.choice([0.5, 1.0, 2.0])], np.float32),
        "task": 0,
        "origin": (0, seed, 0),
    }


def batch(row: batches.Row, *rows: Sequence[dict[str, Any]]) -> batches.Batch:
    """These examples side by side in these rows, on the device."""
    out = batches.empty(row, len(rows))
    for index, members in enumerate(rows):
        packing.write_row(out, index, members, row)
    return jax.tree.map(jnp.asarray, out)


def places(values: Any, segment_ids: Any) -> dict[tuple[int, int], np.ndarray]:
    """(row, segment id) -> the values "B X ..." at the places of that segment."""
    values, segment_ids = np.asarray(values), np.asarray(segment_ids)
    return {
        (row, int(segment)): values[row, segment_ids[row] == segment]
        for row in range(len(segment_ids))
        for segment in np.unique(segment_ids[row][segment_ids[row] > 0])
    }


def lines(values: Any, rows: batches.Batch) -> dict[tuple[int, int], np.ndarray]:
    """(row, segment id) -> the line of that segment in a table "B E ..."."""
    values = np.asarray(values)
    return {
        (int(row), int(line) + 1): values[row, line] for row, line in np.argwhere(np.asarray(rows.segments.weights))
    }


def check_packing_is_exact(
    evaluate: Callable[[batches.Batch], dict[str, dict[tuple[int, int], np.ndarray]]],
    packed: batches.Batch,
    alone: batches.Batch,
    *,
    tolerance: float = 1e-5,
) -> None:
    """Raises AssertionError where an example's values depend on the row that it lies in.

    `evaluate` gives for each name what belongs to each (row, segment id), as `places` and `lines` do. Examples are
    known again by where they came from.
    """
    found, wanted = evaluate(packed), evaluate(alone)
    assert found.keys() == wanted.keys()
    for name in wanted:
        values, single = _by_origin(found[name], packed), _by_origin(wanted[name], alone)
        assert values.keys() == single.keys() and single, f"{name}: {values.keys()} against {single.keys()}"
        for origin, value in values.items():
            assert np.all(np.isfinite(value)), f"{name} of example {origin} is not finite"
            scale = max(1.0, float(np.abs(single[origin]).max(initial=0.0)))
            np.testing.assert_allclose(
                value, single[origin], rtol=0, atol=tolerance * scale, err_msg=f"{name} of example {origin}"
            )


def _by_origin(values: dict[tuple[int, int], np.ndarray], rows: batches.Batch) -> dict[int, np.ndarray]:
    origins = np.asarray(rows.segments.origins)
    return {int(origins[row, segment - 1, 1]): value for (row, segment), value in values.items()}


def frames(samples: np.ndarray) -> int:
    """Speech frames of a recording."""
    return audio.num_frames(len(samples))
