"""Examples, a model and its probabilities for tests of searches: everything computed again for every token."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import rows
from flax import nnx

from speechlm_jax import batch as batches

STEPS, PROMPT = 6, 3
ROW = batches.Row(audio_seconds=2.4, inputs=16, targets=PROMPT + STEPS, segments=3)
GRAPH, _PARAMS = rows.model(decoder_kernel=3)
PARAMS = jax.tree.map(lambda leaf: 2.5 * leaf, _PARAMS)
OTHER = rows.model(decoder_layers=1)
EXAMPLES = (
    rows.example(0, seconds=0.83, prompt=2, targets=1),
    rows.example(1, inputs=9, targets=1),
    rows.example(2, seconds=0.6, inputs=5, prompt=3, targets=1),
)
PACKED = [[EXAMPLES[2], EXAMPLES[0], EXAMPLES[1]], [EXAMPLES[1]]]


def prompts(members):
    told, lengths = (
        np.zeros((len(members), ROW.segments, PROMPT), np.int32),
        np.zeros((len(members), ROW.segments), int),
    )
    for row, examples in enumerate(members):
        for line, example in enumerate(examples):
            lengths[row, line] = len(example["prompt"])
            told[row, line, : lengths[row, line]] = example["prompt"]
    return jnp.asarray(told), jnp.asarray(lengths, jnp.int32)


def of_segments(members, found):
    tokens, lengths, scores, ended = map(np.asarray, found)
    return {
        (row, line): [
            (tuple(tokens[row, line, n, :length].tolist()), float(scores[row, line, n]), bool(ended[row, line, n]))
            for n, length in enumerate(lengths[row, line])
            if length >= 0
        ]
        for row, examples in enumerate(members)
        for line in range(len(examples))
    }


@functools.partial(rows.compiled, static_argnums=(0, 1))
def _log_probs(graph, encodes, params, batch, lane):
    model = nnx.merge(graph, params)
    logits = model.decode(batch._replace(targets=lane), model.encode(batch) if encodes else None)[0]
    return jax.nn.log_softmax(logits)


@functools.cache
def log_probs(number, text, other=False):
    """Of each token behind a text of an example, with everything computed again."""
    example = EXAMPLES[number]
    batch, written = rows.batch(ROW, [example]), [*example["prompt"], *text]
    lane = batch.targets
    places = jnp.arange(lane.tokens.shape[1], dtype=jnp.int32)[None, :]
    tokens = np.zeros(lane.tokens.shape, np.int32)
    tokens[0, : len(written)] = written
    lane = lane._replace(tokens=jnp.asarray(tokens), segment_ids=jnp.ones_like(places), positions=places)
    graph, params = OTHER if other else (GRAPH, PARAMS)
    return np.asarray(_log_probs(graph, not other, params, batch, lane)[0, len(written)], np.float64)


@functools.cache
def speech(number):
    """What the CTC head says of an example: probabilities "P V"."""
    batch = rows.batch(ROW, [EXAMPLES[number]])

    @rows.compiled
    def logits(params, batch):
        model = nnx.merge(GRAPH, params)
        return model.ctc_logits(model.encode(batch))

    own = np.asarray(batch.audio.segment_ids[0, :: ROW.subsampling]) == 1
    exponents = np.exp(np.asarray(logits(PARAMS, batch)[0], np.float64)[own])
    return exponents / exponents.sum(-1, keepdims=True)


def assert_alike(found, wanted):
    assert [(text, ended) for text, _, ended in found] == [(text, ended) for text, _, ended in wanted]
    np.testing.assert_allclose([entry[1] for entry in found], [entry[1] for entry in wanted], rtol=1e-5, atol=1e-4)
