"""Greedy decoding of packed rows: each segment writes what it would write alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rows
from flax import nnx

from speechlm_jax import batch as batches
from speechlm_jax import vocabulary
from speechlm_jax.inference import decoding

STEPS = 6
PROMPT = 3
NO_TOKEN = -1
ROW = batches.Row(audio_seconds=2.4, inputs=16, targets=PROMPT + STEPS, segments=3)
GRAPH = rows.model()[0]
PARAMS = jax.tree.map(lambda leaf: 3 * leaf, rows.model()[1])
"""Large enough that one token does not follow another for ever."""
EXAMPLES = (
    rows.example(0, seconds=0.83, prompt=2, targets=1),
    rows.example(1, inputs=9, targets=1),
    rows.example(2, seconds=0.6, inputs=5, prompt=3, targets=1),
)


def search(batch, members, eos=NO_TOKEN):
    """Greedy tokens of each segment, as lists."""
    prompts = np.zeros((len(members), ROW.segments, PROMPT), np.int32)
    lengths = np.zeros((len(members), ROW.segments), np.int32)
    for row, examples in enumerate(members):
        for line, example in enumerate(examples):
            lengths[row, line] = len(example["prompt"])
            prompts[row, line, : lengths[row, line]] = example["prompt"]
    found = _search(PARAMS, batch, jnp.asarray(prompts), jnp.asarray(lengths), jnp.asarray(eos))
    tokens, written = map(np.asarray, found)
    assert np.all(tokens[np.arange(STEPS) >= written[..., None]] == 0)
    assert np.all(written[np.asarray(batch.segments.weights) == 0] == 0)
    return {
        (row, line): tokens[row, line, : written[row, line]].tolist()
        for row, examples in enumerate(members)
        for line in range(len(examples))
    }


@rows.compiled
def _search(params, batch, prompts, lengths, eos):
    model = nnx.merge(GRAPH, params)
    texts = decoding.write(model, batch, model.encode(batch), prompts, lengths, STEPS, eos=eos)
    return texts.tokens[:, :, 0], texts.lengths[:, :, 0]


@rows.compiled
def _decode(params, batch, lane):
    model = nnx.merge(GRAPH, params)
    return model.decode(batch._replace(targets=lane), model.encode(batch))[0]


def slowly(example):
    """All steps again for every token, and the best token of the last."""
    batch, written = rows.batch(ROW, [example]), list(example["prompt"])
    for _ in range(STEPS):
        lane = batch.targets
        places = jnp.arange(lane.tokens.shape[1], dtype=jnp.int32)[None, :]
        tokens = np.zeros(lane.tokens.shape, np.int32)
        tokens[0, : len(written)] = written
        lane = lane._replace(tokens=jnp.asarray(tokens), segment_ids=jnp.ones_like(places), positions=places)
        written.append(int(_decode(PARAMS, batch, lane)[0, len(written)].argmax()))
    return written[len(example["prompt"]) :]


def test_packed_greedy_search_writes_what_each_example_alone_would():
    wanted = [slowly(example) for example in EXAMPLES]
    assert len({tuple(tokens) for tokens in wanted}) == 3 and max(len(set(tokens)) for tokens in wanted) > 2
    members = [[EXAMPLES[2], EXAMPLES[0], EXAMPLES[1]], [EXAMPLES[1]]]
    found = search(rows.batch(ROW, *members), members)
    assert found == {(0, 0): wanted[2], (0, 1): wanted[0], (0, 2): wanted[1], (1, 0): wanted[1]}


def test_an_end_token_ends_its_segment_alone():
    members = [[EXAMPLES[2], EXAMPLES[0], EXAMPLES[1]], [EXAMPLES[1]]]
    batch = rows.batch(ROW, *members)
    whole = search(batch, members)
    eos = whole[0, 1][2]
    found = search(batch, members, eos)
    for place, tokens in whole.items():
        assert found[place] == (tokens[: tokens.index(eos)] if eos in tokens else tokens)
    assert len(found[0, 1]) <= 2


@pytest.mark.parametrize(
    ("path", "labels"),
    [([], []), ([0, 0], []), ([5, 5, 5], [5]), ([0, 5, 0, 5, 7, 7, 0], [5, 5, 7]), ([9, 8, 8, 9], [9, 8, 9])],
)
def test_a_ctc_path_joins_repeats_and_leaves_out_blanks(path, labels):
    assert decoding.collapse(np.asarray(path, np.int32)) == labels


def test_the_first_token_follows_the_start_token():
    """A prompt is only forced: search without one begins at <s>."""
    batch = rows.batch(ROW, [EXAMPLES[1]])

    @rows.compiled
    def first(params, batch):
        model = nnx.merge(GRAPH, params)
        steps = model.steps(model.encode(batch), 1, ROW.segments, 1)
        tokens = jnp.full((1, ROW.segments), vocabulary.BOS, jnp.int32)
        return steps.text(tokens, steps.start())[0].argmax(-1)

    assert search(batch, [[EXAMPLES[1]]])[0, 0][0] == first(PARAMS, batch)[0, 0]
