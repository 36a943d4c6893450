"""Speech out of the decoder, step by step, and its way from levels to a waveform."""

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest
import rows
from flax import nnx
from scipy import optimize

from speechlm_jax import batch as batches
from speechlm_jax.inference import speaking
from speechlm_jax.models import config, encoder, speech_out

ROW = batches.Row(inputs=24, target_audio_seconds=2.0, segments=3)
EXAMPLES = [rows.example(seed, inputs=count, target_seconds=0.2) for seed, count in enumerate((5, 9, 7))]
STEPS = 12


def _model():
    """One that does not stop at once."""
    graph, params = rows.model(**rows.EVERY_HEAD)
    leaves = {path: leaf[...] for path, leaf in nnx.to_flat_state(params)}
    leaves["speech_out", "stop_bias"] -= 1.0
    return graph, nnx.from_flat_state({path: nnx.Param(leaf) for path, leaf in leaves.items()})


GRAPH, PARAMS = _model()


@rows.compiled
def drawn(params, batch):
    model = nnx.merge(GRAPH, params)
    return speaking.sample(model, batch, model.encode(batch), STEPS, temperature=1.0, key=jax.random.key(0))


@rows.compiled
def likeliest(params, batch):
    model = nnx.merge(GRAPH, params)
    return speaking.sample(model, batch, model.encode(batch), STEPS, temperature=0.0, key=jax.random.key(0))


def test_speech_step_by_step_is_what_all_steps_at_once_say():
    """Each likeliest step is the likeliest again when the decoder is shown those before it as the truth."""
    speech = rows.EVERY_HEAD["speech_out"]
    batch = rows.batch(ROW, [EXAMPLES[0]])
    levels, lengths = likeliest(PARAMS, batch)
    count = int(lengths[0, 0])
    assert count > 1

    @rows.compiled
    def forced(params, batch, before):
        model = nnx.merge(GRAPH, params)
        hidden = model.speech_out.into(before)
        lane = speech_lane(hidden, count)
        (hidden,), _ = model.decoder([lane], model.encode(batch))
        return model.speech_out.out_of(hidden)

    before = np.zeros((1, count, speech.reduction, speech.mels), np.int32)
    before[0, 1:] = levels[0, 0, : count - 1]
    told = forced(PARAMS, batch, before)
    np.testing.assert_array_equal(np.asarray(told.levels).argmax(-1)[0], levels[0, 0, :count])
    ends = np.asarray(told.stop[0]) > 0
    assert not ends[:-1].any() and (ends[-1] or count == STEPS)


def speech_lane(hidden, count):
    return encoder.Lane(hidden, jnp.ones((1, count), jnp.int32), jnp.arange(count)[None])


def test_what_is_spoken_does_not_depend_on_the_row():
    packed, alone = (
        rows.batch(ROW, [EXAMPLES[2], EXAMPLES[0], EXAMPLES[1]], [], []),
        rows.batch(ROW, *[[example] for example in EXAMPLES]),
    )
    (levels, lengths), (single, single_lengths) = drawn(PARAMS, packed), drawn(PARAMS, alone)
    for place, index in enumerate((2, 0, 1)):
        assert lengths[0, place] == single_lengths[index, 0]
        np.testing.assert_array_equal(levels[0, place], single[index, 0])
    assert (np.asarray(levels[0, 0]) != np.asarray(levels[0, 1])).any()


def test_a_spectrum_is_nearly_the_nearest_that_is_not_negative():
    bank_MX = librosa.filters.mel(sr=16_000, n_fft=400, n_mels=40)
    rng = np.random.default_rng(0)
    # A little of it no spectrum has.
    power_TM = rng.exponential(size=(6, 201)) ** 3 @ bank_MX.T + rng.exponential(0.02, (6, 40))
    found_TX = speaking._spectrum(power_TM)
    assert (found_TX >= 0).all()
    for frame, power_M in zip(found_TX, power_TM, strict=True):
        _, least = optimize.nnls(bank_MX, power_M)
        assert np.linalg.norm(bank_MX @ frame - power_M) < least + 0.05 * np.linalg.norm(power_M)


@pytest.mark.slow
def test_levels_made_into_a_waveform_have_those_levels_again():
    choice = config.SpeechOut(levels=16, range_db=60.0, mels=80)
    time = np.arange(16_000) / 16_000
    glide = (8_000 * np.sin(2 * np.pi * (300 * time + 700 * time**2))).astype(np.int16)
    found = _levels(glide, choice)
    spoken = speaking.griffin_lim(speaking.mel_power(found, choice))
    assert len(spoken) == len(found) * batches.HOP
    again = _levels(spoken, choice)
    loud = found >= 9  # Within 25 dB of the loudest.
    assert np.abs(found - again)[loud].mean() < 1.5


def _levels(samples, choice):
    batch = rows.batch(batches.Row(target_audio_seconds=1.2, segments=1), [{**EXAMPLES[0], "target_audio": samples}])
    levels = np.asarray(speech_out.levels(batch.target_audio, 1, choice)).reshape(-1, choice.mels)
    return levels[np.asarray(batch.target_audio.segment_ids[0]) > 0]


def test_silence_is_spoken_as_silence():
    assert not speaking.griffin_lim(np.zeros((20, 80))).any()


def test_powers_are_those_of_the_levels_in_decibels():
    choice = config.SpeechOut(levels=16, range_db=60.0)
    power = speaking.mel_power(np.array([[0, 5, 15]]), choice)[0]
    np.testing.assert_allclose(librosa.power_to_db(power[1:]), [-40, 0], atol=1e-6)
    assert power[0] == 0
