"""Utterances to measure with: rows of given lengths, and noise that is so long."""

import sys
from typing import Any

import numpy as np

from speechlm_jax import batch, vocabulary
from speechlm_jax.data import packing

BATCHES = 4
"""Different ones, that each system takes in turn."""
TOKENS_PER_SECOND = 4.0
PIECES = 51_865
"""Of Whisper's vocabulary."""


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


def filled(row: batch.Row, utterances: list[list[float]], pieces: int) -> batch.Batch:
    """A batch of these rows, with texts of so many pieces."""
    out = batch.empty(row, len(utterances))
    for index, members in enumerate(utterances):
        packing.write_row(out, index, [example(second, pieces) for second in members], row)
    return out
