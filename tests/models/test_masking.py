"""What masked speech hides, the codes it asks for, and that hidden frames tell nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rows
from flax import nnx

from speechlm_jax import batch as batches
from speechlm_jax.models import config, log_mel, masking

ROW = batches.Row(audio_seconds=30, segments=4)
MASKS = config.MaskedSpeech(codebooks=3, codes=32, code_width=8, span=5)
CHOICE = config.Model(width=16, num_heads=2, mels=20, masked_speech=MASKS)


def hidden(batch, key=0, span=5):
    def spans(batch):
        return masking.spans(batch.audio, batch.segments, 4, span, jax.random.key(key))

    return np.asarray(rows.compiled(spans)(batch))


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.2, 0.5])
def test_the_asked_share_is_hidden_everywhere_alike(share):
    batch = rows.batch(ROW, *[[rows.example(seed, seconds=8, mask_share=share)] for seed in range(8)])
    masks = np.concatenate([hidden(batch, key)[:, :200] for key in range(4)])
    assert abs(masks.mean() - share) < 0.03
    # The beginning of speech is hidden as often as its middle.
    assert abs(masks[:, :5].mean() - share) < 0.12


def test_what_is_hidden_stands_in_spans_and_nothing_else_is():
    batch = rows.batch(
        ROW, [rows.example(0, seconds=9, mask_share=0.3), rows.example(1, seconds=9), rows.example(2, seconds=9)]
    )
    found = rows.places(hidden(batch), batch.audio.segment_ids[:, ::4])
    assert not found[0, 2].any() and not found[0, 3].any()
    runs = np.diff(np.flatnonzero(np.diff(np.concatenate([[0], found[0, 1], [0]]))))[::2]
    inner = runs[1:-1]
    assert len(inner) and inner.min() >= 5, "a span is cut short"
    assert not hidden(batch)[np.asarray(batch.audio.segment_ids[:, ::4]) == 0].any()


def test_another_key_or_origin_hides_something_else():
    batch = rows.batch(ROW, [rows.example(0, seconds=9, mask_share=0.5)])
    moved = batch._replace(segments=batch.segments._replace(origins=batch.segments.origins.at[0, 0, 1].set(77)))
    assert (hidden(batch) == hidden(batch)).all()
    assert (hidden(batch) != hidden(batch, key=1)).any()
    assert (hidden(batch) != hidden(moved)).any()


@pytest.fixture(scope="module")
def module():
    return masking.MaskedSpeech(CHOICE, MASKS, rngs=nnx.Rngs(0))


def codes(module, batch):
    mel = log_mel.features(batch.audio.samples, batch.audio.segment_ids, 4, 20)
    return np.asarray(module.codes(mel, batch.audio, 4))


@pytest.mark.slow
def test_a_code_is_the_nearest_to_the_projected_features(module):
    """By the definition: arXiv 2202.01855, section 3.1, equation 1."""
    batch = rows.batch(batches.Row(audio_seconds=2, segments=4), [rows.example(0, seconds=1.28)])
    mel = np.asarray(log_mel.features(batch.audio.samples, batch.audio.segment_ids, 4, 20))[0]
    frames = int((batch.audio.segment_ids[0] > 0).sum())
    normal = (mel[:frames] - mel[:frames].mean(0)) / np.sqrt(mel[:frames].var(0) + masking.QUIET)
    stacked = np.concatenate([normal, np.zeros((len(mel) - frames, 20))]).reshape(-1, 80)
    projection_key, codes_key = jax.random.split(jax.random.key(0))
    projection = np.asarray(jax.random.normal(projection_key, (3, 80, 8)), np.float64)
    book = np.asarray(jax.random.normal(codes_key, (3, 32, 8)), np.float64)
    book /= np.linalg.norm(book, axis=-1, keepdims=True)
    found = codes(module, batch)[0]
    for q in range(3):
        projected = stacked @ projection[q]
        length = np.linalg.norm(projected, axis=-1, keepdims=True)
        away = np.linalg.norm(projected[:, None] / np.maximum(length, 1e-9)[:, None] - book[q], axis=-1)
        live = -(-frames // 4)
        assert (found[:live, q] == away[:live].argmin(-1)).mean() > 0.99


@pytest.mark.slow
def test_speech_uses_most_codes(module):
    batch = rows.batch(ROW, *[[rows.example(seed, seconds=28)] for seed in range(2)])
    found = codes(module, batch)[:, :690].reshape(-1, 3)
    for q in range(3):
        shares = np.bincount(found[:, q], minlength=32) / len(found)
        perplexity = np.exp(-np.sum(shares * np.log(np.maximum(shares, 1e-12))))
        assert perplexity > 16, f"codebook {q} has collapsed"


def test_hidden_frames_tell_the_encoder_nothing(module):
    mask = jnp.zeros((1, 10), bool).at[0, 3:5].set(True)
    features = jax.random.normal(jax.random.key(0), (1, 40, 20))
    found = module.hide(features, mask)
    assert (found[0, 12:20] == module.frame_M[...][None]).all()
    assert (found[0, :12] == features[0, :12]).all() and (found[0, 20:] == features[0, 20:]).all()
