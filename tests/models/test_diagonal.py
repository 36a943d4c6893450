"""Speech says its text from the beginning to the end."""

import jax.numpy as jnp
import numpy as np
import rows
from flax import nnx

from speechlm_jax import batch as batches
from speechlm_jax.layers import dot_products
from speechlm_jax.models import diagonal

ROW = batches.Row(inputs=24, target_audio_seconds=2.4, segments=4)


def test_the_distance_is_that_of_guided_attention_and_of_each_segment_by_itself():
    steps, text = (5, 3), (4, 7)
    step_ids, text_ids = (np.repeat((1, 2, 0), (*lengths, 2))[None] for lengths in (steps, text))
    step_places, text_places = (
        np.concatenate([np.arange(length) for length in (*lengths, 2)])[None] for lengths in (steps, text)
    )
    found = diagonal.distance(*map(jnp.asarray, (step_ids, step_places, text_ids, text_places)), 3, 0.2)
    for segment, (long, wide) in enumerate(zip(steps, text, strict=True), start=1):
        t, n = np.mgrid[:long, :wide]
        wanted = 1 - np.exp(-((n / wide - t / long) ** 2) / (2 * 0.2**2))
        ours = np.asarray(found[0])[step_ids[0] == segment][:, text_ids[0] == segment]
        np.testing.assert_allclose(ours, wanted, atol=1e-6)


def test_a_model_tells_how_far_its_guided_heads_stray(monkeypatch):
    """Where every query looks at one place of its text alone, it strays by the distance of that place."""
    graph, params = rows.model(**rows.EVERY_HEAD)
    batch = rows.batch(
        ROW, [rows.example(0, inputs=6, target_seconds=0.6), rows.example(1, inputs=9, target_seconds=0.9)]
    )

    def last_place(queries, keys, mask):
        places = jnp.arange(mask.shape[2])[None, None, :]
        looks = mask & (places == jnp.max(jnp.where(mask, places, -1), axis=2, keepdims=True))
        return jnp.broadcast_to(looks[:, None].astype(jnp.float32), (mask.shape[0], queries.shape[2], *mask.shape[1:]))

    monkeypatch.setattr(dot_products, "probabilities", last_place)
    strays = nnx.merge(graph, params)(batch).target_audio.strays
    ids, places = (np.asarray(part)[0, :: ROW.reduction] for part in batch.target_audio[1:])
    for segment, length in ((1, 6), (2, 9)):
        own = ids == segment
        share = places[own] // ROW.reduction / own.sum()
        wanted = 1 - np.exp(-(((length - 1) / length - share) ** 2) / (2 * 0.2**2))
        np.testing.assert_allclose(np.asarray(strays)[0, own], wanted, atol=1e-5)


def test_without_text_to_read_nothing_strays():
    graph, params = rows.model(**rows.EVERY_HEAD)
    row = batches.Row(audio_seconds=1.6, target_audio_seconds=2.4, segments=4)
    batch = rows.batch(row, [rows.example(0, seconds=0.6, target_seconds=0.6)])
    assert nnx.merge(graph, params)(batch).target_audio.strays is None
