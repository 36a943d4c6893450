"""How much of a batch is speech: padding to 30 s, length buckets, and packed rows.

    python benchmarks/packing.py [--lengths FILE] [--keep NAME]

FILE has one duration in seconds a line; without it lengths are drawn about as LibriSpeech's lie (a mean of 11.9 s, half
of them from 13 to 16.5 s, at most 35 s). Gaps between utterances and alignment count as waste. The last line is JSON:
pad_30s, buckets_16, packed (rows of 35 s), packed_60s, packed_mixed (the lane that binds in a mixture of recognition
and text), packed_mixed_lanes (every lane), microseconds_per_example.
"""

import argparse
import time

import figures
import numpy as np

from speechlm_jax import batch
from speechlm_jax.data import capacities

OPEN_ROWS = 16
TOKENS_PER_SECOND = 4.0
POSITION = batch.HOP * 4


def librispeech_like(number: int, random: np.random.Generator) -> np.ndarray:
    """Durations in seconds in the shape of LibriSpeech's: a third spread over 1.5 to 13 s, the rest about 14.5 s."""
    short = random.uniform(1.5, 13.0, number)
    peak = np.clip(random.normal(14.5, 1.2, number), 11.0, 17.0)
    tail = np.clip(17.0 + random.exponential(2.0, number), 17.0, 35.0)
    kind = random.random(number)
    return np.where(kind < 0.38, short, np.where(kind < 0.97, peak, tail))


def padded(seconds: np.ndarray, length: float = 30.0) -> float:
    """Every utterance alone, padded; longer ones are cut."""
    return float(np.minimum(seconds, length).sum() / (length * len(seconds)))


def buckets(seconds: np.ndarray, number: int = 16) -> float:
    """Utterances in `number` buckets of equal size, each padded to the boundary of its bucket."""
    bounds = np.quantile(seconds, np.arange(1, number + 1) / number)
    return float(seconds.sum() / bounds[np.searchsorted(bounds, seconds).clip(max=number - 1)].sum())


def speech_examples(seconds: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(contents "n 4", demands "n 5") of recognition examples of these lengths."""
    samples = (seconds * batch.SAMPLE_RATE).astype(int)
    tokens = np.maximum(1, seconds * TOKENS_PER_SECOND * random.uniform(0.8, 1.2, len(seconds))).astype(int) + 3
    nothing, one = np.zeros_like(samples), np.ones_like(samples)
    positions = np.array([batch.slot_positions(int(n) // batch.HOP, 4) for n in samples])
    contents = np.stack([samples / POSITION, nothing, tokens, nothing], 1)
    return contents, np.stack([positions, nothing, tokens, nothing, one], 1)


def text_examples(number: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(contents, demands) of span corruption and of masked language modelling, half and half."""
    inputs = np.clip(random.lognormal(3.6, 0.5, number), 4, 250).astype(int)
    targets = np.where(random.random(number) < 0.5, inputs // 5 + 2, 0)
    nothing, one = np.zeros_like(inputs), np.ones_like(inputs)
    contents = np.stack([nothing, inputs, targets, nothing], 1)
    return contents.astype(float), np.stack([nothing, inputs, targets, nothing, one], 1)


def main() -> None:
    """Prints what each way wastes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", help="a file of durations in seconds, one a line")
    parser.add_argument("--seed", type=int, default=0)
    figures.add_arguments(parser)
    choices = parser.parse_args()
    random = np.random.default_rng(choices.seed)
    seconds = figures.durations(choices.lengths) if choices.lengths else librispeech_like(20_000, random)

    contents, demands = speech_examples(seconds, random)
    packed = {}
    began = time.process_time()
    for length in (35, 60):
        row = batch.Row(audio_seconds=length, targets=length * 8, segments=64)
        packed[length] = capacities.useful_shares(contents, demands, row, OPEN_ROWS)["audio"]
    microseconds = (time.process_time() - began) / (2 * len(seconds)) * 1e6

    text_contents, text_demands = text_examples(len(seconds), random)
    order = random.permutation(2 * len(seconds))
    mixed_contents = np.concatenate([contents, text_contents])[order]
    mixed_demands = np.concatenate([demands, text_demands])[order]
    row = batch.Row(audio_seconds=60, inputs=64, targets=64, segments=64)
    proposal = capacities.propose(mixed_contents[:4000], mixed_demands[:4000], row, OPEN_ROWS)
    lanes = capacities.useful_shares(mixed_contents[4000:], mixed_demands[4000:], proposal.row, OPEN_ROWS)

    print(f"{len(seconds)} utterances, mean {seconds.mean():.1f} s; row for the mixture: {proposal.bindings()}")
    found = {
        "pad_30s": round(padded(seconds), 4),
        "buckets_16": round(buckets(seconds), 4),
        "packed": round(packed[35], 4),
        "packed_60s": round(packed[60], 4),
        "packed_mixed": round(max(lanes.values()), 4),
        "packed_mixed_lanes": {lane: round(share, 4) for lane, share in lanes.items()},
        "microseconds_per_example": round(microseconds, 1),
        "open_rows": OPEN_ROWS,
    }
    figures.tell(found, choices)


if __name__ == "__main__":
    main()
