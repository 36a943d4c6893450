"""The loss that guides attention from speech to its text."""

import jax.numpy as jnp
import numpy as np
import pytest
import rows

from speechlm_jax import batch as batches
from speechlm_jax.losses import alignment
from speechlm_jax.models import speech_text

ROW = batches.Row(inputs=8, target_audio_seconds=1.6, segments=4)
EXAMPLES = [
    rows.example(0, inputs=3, target_seconds=0.4),
    rows.example(1, target_seconds=0.55),
    rows.example(2, inputs=1, target_seconds=0.3),
]


def told(strays):
    return speech_text.Outputs(alignment=strays)


@pytest.mark.parametrize("seconds", [0.4, 0.41])
def test_the_loss_is_the_mean_over_the_frames_of_speech_that_has_a_text(seconds):
    """Also where the last step is not full of frames."""
    examples = [rows.example(0, inputs=3, target_seconds=seconds), *EXAMPLES[1:]]
    batch = rows.batch(ROW, examples)
    strays = np.random.default_rng(0).random((1, ROW.target_audio_steps), np.float32)
    found, weights = alignment.totals(told(jnp.asarray(strays)), batch), alignment.weights(batch)
    scale, frames = examples[0]["weight"][0], rows.frames(examples[0]["target_audio"])
    own = np.flatnonzero(np.asarray(batch.target_audio.segment_ids)[0] == 1)
    assert len(own) == frames
    np.testing.assert_allclose(found[0, 0], scale * strays[0, own // ROW.reduction].sum(), rtol=1e-5)
    np.testing.assert_allclose(weights[0, 0], scale * frames)
    # The second speaks without a text, the third beside the name of its task.
    assert not np.any(found[0, 1:]) and not np.any(weights[0, 1:])


def test_a_model_whose_heads_are_not_guided_is_refused():
    batch = rows.batch(ROW, EXAMPLES)
    with pytest.raises(ValueError, match=r"no head of the model tells\. Set SpeechOut\.guided_heads"):
        alignment.totals(told(None), batch)


def test_without_speech_or_text_there_is_no_loss():
    for row in (batches.Row(inputs=8, segments=4), batches.Row(target_audio_seconds=1.6, segments=4)):
        example = EXAMPLES[0] | (
            {"inputs": EXAMPLES[1]["inputs"]} if not row.inputs else {"target_audio": np.zeros(0, np.int16)}
        )
        batch = rows.batch(row, [example])
        assert not alignment.totals(speech_text.Outputs(), batch).any() and not alignment.weights(batch).any()
