"""Where the decoder looks: of each segment what it is alone, and the head that is most decided."""

import jax.numpy as jnp
import numpy as np
import rows
from flax import nnx

from speechlm_jax import batch as batches
from speechlm_jax.layers import attention, masks
from speechlm_jax.models import looks

ROW = batches.Row(audio_seconds=2.4, inputs=16, targets=24, target_audio_seconds=2.4, segments=4)
EXAMPLES = [
    rows.example(0, seconds=0.7, targets=5),
    rows.example(1, inputs=6, target_seconds=0.5),
    rows.example(2, seconds=0.5, inputs=4, targets=7),
]


def looked(*members, **changes):
    """(each layer's looks of the first row, ids of steps, ids of positions); of another model with `changes`."""
    graph, params = rows.model(**rows.EVERY_HEAD, **changes)
    batch = rows.batch(ROW, members)

    @rows.compiled
    def run(params, batch):
        model = nnx.merge(graph, params)
        return model.looks(batch, model.encode(batch))

    steps = [batch.targets.segment_ids, batch.target_audio.segment_ids[:, :: ROW.reduction]]
    places = [batch.audio.segment_ids[:, :: ROW.subsampling], batch.inputs.segment_ids]
    return run(params, batch), *(np.concatenate([*map(np.asarray, ids)], axis=1)[0] for ids in (steps, places))


def test_steps_look_at_their_own_segment_and_give_it_all_of_their_look():
    found, steps, places = looked(*EXAMPLES)
    shares = np.asarray(found.shares)[:, 0]
    assert shares.shape == (rows.MODEL.decoder_layers, len(steps), len(places))
    same = (steps[:, None] == places[None]) & (steps[:, None] > 0)
    np.testing.assert_allclose(shares.sum(-1), np.broadcast_to(steps > 0, shares.shape[:2]), atol=1e-5)
    assert (shares[:, ~same] == 0).all() and (shares[:, same] > 0).all()


def test_a_segment_looks_as_it_does_alone():
    """With one head, so that it is the same one that is shown."""
    packed, steps, places = looked(*EXAMPLES, num_heads=1)
    for number, example in enumerate(EXAMPLES, 1):
        alone, own_steps, own_places = looked(example, num_heads=1)
        for layer in range(rows.MODEL.decoder_layers):
            ours = np.asarray(packed.shares)[layer, 0][np.ix_(steps == number, places == number)]
            wanted = np.asarray(alone.shares)[layer, 0][np.ix_(own_steps == 1, own_places == 1)]
            np.testing.assert_allclose(ours, wanted, atol=1e-5)


def test_the_head_that_is_shown_is_the_most_decided_one_of_its_row(monkeypatch):
    queries = np.zeros((2, 3, 4, 2), np.float32)
    queries[0, :, 2], queries[1, :, 1] = 9.0, 9.0
    keys = np.random.default_rng(0).normal(size=(2, 5, 4, 2)).astype(np.float32)
    ids = (np.array([[1, 1, 0], [1, 2, 2]]), np.array([[1, 1, 1, 1, 0], [1, 1, 2, 2, 2]]))
    mask = masks.SegmentMask(*map(jnp.asarray, ids))
    monkeypatch.setattr(attention.Attention, "queries", lambda self, asks: jnp.asarray(queries))
    memory = attention.Memory(jnp.asarray(keys), jnp.asarray(keys))
    told = looks.most_decided(attention.Attention(8, 4, rngs=nnx.Rngs(0)), jnp.zeros((2, 3, 8)), memory, mask)
    assert told.heads.tolist() == [2, 1]
    largest = np.asarray(told.shares).max(-1)
    live = ids[0] > 0
    np.testing.assert_allclose(told.decided, [largest[row][live[row]].mean() for row in range(2)], rtol=1e-6)


def test_without_anything_to_look_at_there_are_none():
    graph, params = rows.model()
    batch = rows.batch(batches.Row(targets=24, segments=4), [rows.example(0, targets=5)])
    model = nnx.merge(graph, params)
    assert model.looks(batch, model.encode(batch)) is None
