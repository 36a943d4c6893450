"""Words of a text that another model wrote have the times that the CTC head of a checkpoint gives them."""

import jax
import numpy as np
import pytest
from inference import untrained

from speechlm_jax import batch, sharding
from speechlm_jax.data import batches
from speechlm_jax.inference import aligning, alignment, asking, loading

TEXTS = ("the small house", "you and me", "the house")
POSITION_SECONDS = 4 * batch.HOP / batch.SAMPLE_RATE


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("aligner")
    untrained.write(folder)
    return loading.load(str(folder), rows=2)


def noise(seconds, seed=0):
    return np.random.default_rng(seed).normal(0, 3000, int(seconds * batch.SAMPLE_RATE)).astype(np.int16)


SAID = [(noise(1 + number / 4, number), text) for number, text in enumerate(TEXTS)]


def test_words_have_the_times_of_the_best_path_whatever_shares_their_row(loaded):
    aligner = aligning.Aligner(loaded)
    together = aligner(SAID)
    assert together == [aligner([one])[0] for one in SAID]
    assert ["".join(word.text for word in words) for words in together] == list(TEXTS)
    samples, text = SAID[1]
    (packed,) = batches.pack(
        [{**asking.hear(asking.Given(audio=samples)), "id": "", "origin": (0, 0, 0)}], loaded.data.row, rows=2
    )
    with sharding.model_on(loaded.mesh, loaded.graphdef, loaded.params) as model:
        logits = model.ctc_logits(model.encode(jax.device_put(packed.batch)))
    own = packed.batch.audio.segment_ids[0, ::4] == 1
    log_probs = np.asarray(jax.nn.log_softmax(logits))[0][own]
    tokens = loaded.vocabulary.encode(text)
    spans = alignment.spans(tokens, log_probs[:, tokens], log_probs[:, 0])
    wanted = alignment.words(tokens, spans, loaded.vocabulary.decode, POSITION_SECONDS)
    assert [word.text for word in together[1]] == [word.text for word in wanted]
    np.testing.assert_allclose([word[1:] for word in together[1]], [word[1:] for word in wanted], rtol=1e-6)
    assert together[1][-1].end <= len(samples) / batch.SAMPLE_RATE + POSITION_SECONDS


def test_what_cannot_be_said_in_the_time_or_heard_at_once_or_spelled_has_none(loaded):
    aligner = aligning.Aligner(loaded)
    too_long = noise(aligner.longest / batch.SAMPLE_RATE + 0.1)
    assert aligner([(noise(0.1), TEXTS[0]), (too_long, TEXTS[0]), (noise(1), "two  spaces")]) == [None] * 3
    assert aligner([(too_long[: aligner.longest], TEXTS[0])]) != [None]
    assert aligner([]) == []
