"""Order as a function: keys, uniform numbers and permutations without state, so that any place is found at once.

All of it is on Python integers: numpy scalars cost thirty times as much here.
"""

import hashlib
import operator
from typing import SupportsIndex

_MASK = (1 << 64) - 1
_ROUNDS = 8
_ROUND_STEP = 0x632BE59BD9B4E019
_INDEX_STEP = 0xD1B54A32D192ED03


def key(*parts: SupportsIndex | str) -> int:
    """A 64-bit key that is a function of the parts, in order: the same in every process, on every machine."""
    text = "".join(f"s{len(part)}:{part};" if isinstance(part, str) else f"i{operator.index(part)};" for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8"), digest_size=8).digest(), "little")


def uniform(stream: int, index: int) -> float:
    """The `index`-th number of the stream keyed by `stream`: uniform in [0, 1)."""
    return (_mix((index * _INDEX_STEP + stream) & _MASK) >> 11) / 9007199254740992.0


def permute(index: int, count: int, stream: int) -> int:
    """Where `index` stands in a permutation of range(count) that is a function of `stream`.

    A Feistel network over the next power of two, walked until it lands below `count` (Black and Rogaway, "Ciphers
    with arbitrary finite domains", 2002). Raises ValueError for an index outside range(count).
    """
    if not 0 <= index < count:
        raise ValueError(f"a permutation of {count} records was asked for number {index}, wanted 0 to {count - 1}.")
    if count == 1:
        return 0
    bits = max(2, (count - 1).bit_length())
    low_bits = bits // 2
    low_mask, high_mask = (1 << low_bits) - 1, (1 << (bits - low_bits)) - 1
    while True:
        high, low = index >> low_bits, index & low_mask
        round_key = stream
        for _ in range(_ROUNDS // 2):
            low ^= _mix((high + round_key) & _MASK) & low_mask
            round_key += _ROUND_STEP
            high ^= _mix((low + round_key) & _MASK) & high_mask
            round_key += _ROUND_STEP
        index = high << low_bits | low
        if index < count:
            return index


def record(position: int, count: int, *, seed: int, shuffle: bool = True) -> int:
    """Which of `count` records stands at `position` (0, 1, ...) of an endless run through them, epoch after epoch.

    Every epoch holds every record once; with `shuffle` each epoch has an order of its own.
    """
    epoch, index = divmod(position, count)
    return permute(index, count, key(seed, "epoch", epoch)) if shuffle else index


def _mix(x: int) -> int:
    """The finaliser of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014)."""
    x = (x + 0x9E3779B97F4A7C15) & _MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)
