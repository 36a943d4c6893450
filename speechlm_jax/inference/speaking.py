"""Speech from a model: its levels step by step, and a waveform from them by Griffin-Lim."""

import functools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Int16, Integer, PRNGKeyArray

from speechlm_jax import batch, sharding
from speechlm_jax.data import batches
from speechlm_jax.inference import generate, uses
from speechlm_jax.layers import segments
from speechlm_jax.models import config, encoder, speech_text, stepping

PEAK = 0.7
"""Of full scale: where the loudest sample of a synthesised waveform stands."""

_UPDATES = 50
"""More bring the spectrum hardly nearer."""


class _State(NamedTuple):
    levels: Int[Array, "B E Y R M"]
    lengths: Int[Array, "B E"]
    ended: Bool[Array, "B E"]
    cache: stepping.Cache


def sample(
    model: speech_text.SpeechText,
    rows: batch.Batch,
    encoded: encoder.Encoded | None,
    max_steps: int,
    *,
    temperature: float = 1.0,
    key: PRNGKeyArray,
) -> tuple[Int[Array, "B E {max_steps} R M"], Int[Array, "B E"]]:
    """Steps of speech drawn one after the other, for all segments of all rows at once; to be called under jit.

    Each channel is drawn by itself from softmax(logits / temperature); temperature 0 takes the most probable level.
    A segment ends with the step that is more likely than not the last, which counts, or after `max_steps`. What is
    drawn for a segment follows from the key and from where its example came from, not from the row that it lies in.
    """
    speech = model.choice.speech_out
    assert speech is not None
    num_rows, num_segments = rows.segments.weights.shape
    shape = (num_rows, num_segments, speech.reduction, speech.mels)
    steps = model.steps(encoded, num_rows, num_segments, max_steps)

    def draw(logits_BERMZ: Array, step: Array) -> Array:
        if temperature == 0:
            return logits_BERMZ.argmax(-1).astype(jnp.int32)

        def of_segment(origin_3: Array, logits_RMZ: Array) -> Array:
            own_key = segments.own_key(key, origin_3)
            return jax.random.categorical(jax.random.fold_in(own_key, step), logits_RMZ / temperature)

        return jax.vmap(jax.vmap(of_segment))(rows.segments.origins, logits_BERMZ).astype(jnp.int32)

    def unfinished(state: _State) -> Bool[Array, ""]:
        return (state.cache.step < max_steps) & ~jnp.all(state.ended)

    def advance(state: _State) -> _State:
        step = state.cache.step
        before_BERM = jax.lax.dynamic_index_in_dim(state.levels, jnp.maximum(step - 1, 0), axis=2, keepdims=False)
        told, cache = steps.speech(jnp.where(step == 0, 0, before_BERM), state.cache)
        drawn_BERM = draw(told.levels, step)
        live_BE = ~state.ended
        drawn_BERM = jnp.where(live_BE[:, :, None, None], drawn_BERM, 0)
        return _State(
            levels=jax.lax.dynamic_update_index_in_dim(state.levels, drawn_BERM, step, axis=2),
            lengths=state.lengths + live_BE,
            ended=state.ended | (told.stop > 0),
            cache=cache,
        )

    start = _State(
        levels=jnp.zeros((*shape[:2], max_steps, *shape[2:]), jnp.int32),
        lengths=jnp.zeros(shape[:2], jnp.int32),
        ended=rows.segments.weights <= 0,
        cache=steps.start(),
    )
    end = jax.lax.while_loop(unfinished, advance, start)
    return end.levels, end.lengths


def mel_power(levels: Integer[np.ndarray, "T M"], speech: config.SpeechOut) -> Float[np.ndarray, "T M"]:
    """The power of mel channels that levels stand for, the loudest level being 1."""
    below_db = (levels / (speech.levels - 1) - 1) * speech.range_db
    return np.where(levels > 0, 10 ** (below_db / 10), 0.0)


def griffin_lim(power: Float[np.ndarray, "T M"], *, iterations: int = 32) -> Int16[np.ndarray, "N"]:
    """A waveform, 16 kHz, whose mel power is near `power`: phases by Griffin and Lim (1984), as librosa does it, from
    the same beginning each time."""
    import librosa

    if not power.any() or len(power) < 2:
        return np.zeros(len(power) * batch.HOP, np.int16)
    # The end of a waveform is the middle of one more frame than the lane has.
    magnitude_XT = np.pad(np.sqrt(_spectrum(power)).T, ((0, 0), (0, 1)), mode="edge")
    wave_N = librosa.griffinlim(
        magnitude_XT, n_iter=iterations, hop_length=batch.HOP, n_fft=batch.WINDOW, random_state=0
    )
    largest = np.abs(wave_N).max()
    return np.round(wave_N * (PEAK * 32_767 / largest if largest else 0.0)).astype(np.int16)


def _spectrum(power: Float[np.ndarray, "T M"]) -> Float[np.ndarray, "T X"]:
    """The power of frequencies whose mel power is nearest `power`: non-negative least squares by the multiplicative
    updates of Lee and Seung (2001). librosa's own search ends at its first guess, which is heard less well."""
    import librosa
    from sklearn import decomposition

    bank_MX = librosa.filters.mel(sr=batch.SAMPLE_RATE, n_fft=batch.WINDOW, n_mels=power.shape[1])
    spectrum_TX, _, _ = decomposition.non_negative_factorization(
        power.astype(np.float32),
        H=np.ascontiguousarray(bank_MX.T),
        n_components=bank_MX.shape[1],
        update_H=False,
        solver="mu",
        max_iter=_UPDATES,
        tol=0.0,
    )
    return spectrum_TX


class Spoken(NamedTuple):
    """What the model said for one example."""

    example: Mapping[str, Any]
    samples: Int16[np.ndarray, "N"]
    """At 16 kHz."""
    cut: bool
    """Whether it took all the steps that it may: more may have been to come."""


class Speaker:
    """Speaks packed examples, all segments of a batch at once. In a run of several processes all of them call it, each
    with the whole batch, and each gets all of the speech.

    speech: how the model writes speech. steps: of it at most. temperature, seed: how it is sampled.
    """

    def __init__(
        self,
        graphdef: nnx.GraphDef,
        speech: config.SpeechOut,
        *,
        mesh: jax.sharding.Mesh,
        steps: int,
        temperature: float = uses.TEMPERATURE,
        seed: int = 0,
    ):
        self._speech, self._mesh, self._steps = speech, mesh, steps
        self._sample = jax.jit(
            functools.partial(_sample, graphdef, mesh, steps, temperature, seed),
            out_shardings=sharding.replicated(mesh),
        )

    def __call__(self, params: nnx.State, packed: batches.Packed) -> Iterator[Spoken]:
        """What is spoken for every example of a packed batch."""
        levels, lengths = jax.device_get(self._sample(params, generate.place(self._mesh, packed.batch)))
        for index, members in enumerate(packed.rows):
            for line, example in enumerate(members):
                own = levels[index, line, : lengths[index, line]].reshape(-1, self._speech.mels)
                samples = griffin_lim(mel_power(own, self._speech))
                yield Spoken(example, samples, cut=bool(lengths[index, line] == self._steps))


def _sample(
    graphdef: nnx.GraphDef,
    mesh: jax.sharding.Mesh,
    steps: int,
    temperature: float,
    seed: int,
    params: Any,
    rows: batch.Batch,
) -> tuple[jax.Array, jax.Array]:
    with sharding.model_on(mesh, graphdef, params) as model:
        key = jax.random.key(seed)
        return sample(model, rows, model.encode(rows), steps, temperature=temperature, key=key)
