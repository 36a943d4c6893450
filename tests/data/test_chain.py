"""Chains of hashes: what they tell apart, and what they do not depend on."""

import jax
import numpy as np
import rows

from speechlm_jax import batch
from speechlm_jax.data import chain, stream_position

ROW = batch.Row(audio_seconds=1.0, inputs=8, targets=8, segments=2)
STEPS = [
    rows.batch(ROW, [rows.example(2 * step, seconds=0.5, targets=4)], [rows.example(2 * step + 1, inputs=5, targets=3)])
    for step in range(3)
]


def part(rows: batch.Batch, wanted: slice) -> batch.Batch:
    return jax.tree.map(lambda array: np.asarray(array)[wanted], rows)


def read(steps: list[batch.Batch], shards: list[int], state: stream_position.State | None = None):
    """Where the shards stand that have read these batches."""
    links = chain.Chain(state)
    for one in steps:
        state = links.add(stream_position.Step(one, {str(shard): {"draws": 7} for shard in shards})).state
    assert state is not None
    return state


def test_a_chain_is_the_same_on_any_number_of_processes_and_goes_on_where_it_stood():
    whole = read(STEPS, [0, 1])
    assert {shard: own["draws"] for shard, own in whole.items()} == {"0": 7, "1": 7}
    halves = [read([part(step, slice(n, n + 1)) for step in STEPS], [n]) for n in (0, 1)]
    assert halves[1] | halves[0] == whole and chain.of_all(halves[1] | halves[0]) == chain.of_all(whole)
    begun = [read([part(step, slice(n, n + 1)) for step in STEPS[:2]], [n]) for n in (0, 1)]
    assert read(STEPS[2:], [0, 1], begun[0] | begun[1]) == whole


def test_one_number_more_or_another_order_makes_another_chain_of_its_shard_alone():
    whole = read(STEPS, [0, 1])
    tokens = np.array(STEPS[0].targets.tokens)
    tokens[1, 0] += 1
    changed = STEPS[0]._replace(targets=STEPS[0].targets._replace(tokens=tokens))
    found = read([changed, *STEPS[1:]], [0, 1])
    assert found["0"] == whole["0"] and found["1"] != whole["1"] and chain.of_all(found) != chain.of_all(whole)
    assert read([STEPS[1], STEPS[0], STEPS[2]], [0, 1])["0"] != whole["0"]
    assert read(STEPS[:2], [0, 1])["0"] != whole["0"]
