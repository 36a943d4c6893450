"""Log-mel features of packed waveforms, computed on the device, and SpecAugment on them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from speechlm_jax import batch
from speechlm_jax.layers import segments
from speechlm_jax.models import config

DYNAMIC_RANGE = 8.0
"""Powers of ten below a segment's loudest value at which quieter ones are clipped."""
SMALLEST_POWER = 1e-10


@functools.cache
def _matrices(mels: int) -> tuple[np.ndarray, np.ndarray]:
    """float32: the windowed discrete Fourier transform (WINDOW, 2 bins), cosines before sines; filters (bins, mels)."""
    import librosa

    samples = np.arange(batch.WINDOW)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * samples / batch.WINDOW)
    angles = 2 * np.pi * np.outer(samples, np.arange(batch.WINDOW // 2 + 1)) / batch.WINDOW
    transform = hann[:, None] * np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
    filters = librosa.filters.mel(sr=batch.SAMPLE_RATE, n_fft=batch.WINDOW, n_mels=mels)
    return transform.astype(np.float32), filters.T.astype(np.float32)


def features(
    samples: Int[Array, "B N"], segment_ids: Int[Array, "B T"], num_segments: int, mels: int
) -> Float[Array, "B T M"]:
    """Whisper's log-mel features (arXiv 2212.04356), each segment normalised by its own loudest value.

    Frame t looks at int16 samples [HOP t, HOP t + WINDOW). Dead frames are zeros.
    """
    num_rows, num_frames = segment_ids.shape
    transform, filters = _matrices(mels)
    # Frames are laid out from whole hops: a gather of frames, or jnp.fft, would bring all rows to every device.
    padded_BN = jnp.pad(samples, ((0, 0), (0, 2 * batch.HOP)))
    hops_BTN = padded_BN.reshape(num_rows, num_frames + 2, batch.HOP).astype(jnp.float32) / 32_768.0
    rest = batch.WINDOW - 2 * batch.HOP
    frames_BTN = jnp.concatenate([hops_BTN[:, :-2], hops_BTN[:, 1:-1], hops_BTN[:, 2:, :rest]], axis=-1)
    # One pass of bfloat16 would be off by a third, tensor-float by 4e-2.
    spectrum_BTZ = jnp.matmul(frames_BTN, transform, precision=jax.lax.Precision.HIGHEST)
    cosines_BTZ, sines_BTZ = jnp.split(spectrum_BTZ, 2, axis=-1)
    power_BTZ = jnp.square(cosines_BTZ) + jnp.square(sines_BTZ)
    energies_BTM = jnp.matmul(power_BTZ, filters, precision=jax.lax.Precision.HIGHEST)
    logs_BTM = jnp.log10(jnp.maximum(energies_BTM, SMALLEST_POWER))
    loudest_BE = segments.maximum(jnp.max(logs_BTM, axis=-1), segment_ids, num_segments)
    floor_BT = segments.look_up(loudest_BE, segment_ids) - DYNAMIC_RANGE
    normal_BTM = (jnp.maximum(logs_BTM, floor_BT[:, :, None]) + 4.0) / 4.0
    return jnp.where((segment_ids > 0)[:, :, None], normal_BTM, 0.0)


def augment(
    mel: Float[Array, "B T M"],
    lane: batch.AudioLane,
    lines: batch.Segments,
    masks: config.SpecAugment,
    key: PRNGKeyArray,
) -> Float[Array, "B T M"]:
    """Hides spans of time and bands of mels of each segment (SpecAugment, arXiv 1904.08779).

    What is hidden follows from the key and from where the example came from, not from the row that it lies in.
    """
    num_mels, num_segments = mel.shape[-1], lines.weights.shape[1]

    def draw(origin: Int[Array, "3"]) -> Float[Array, "draws"]:
        return jax.random.uniform(segments.own_key(key, origin), (2 * masks.time_masks + 2 * masks.mel_masks,))

    draws_BED = jax.vmap(jax.vmap(draw))(lines.origins)
    width_BEX, start_BEX, mels_BEX, mel_start_BEX = jnp.split(
        draws_BED, np.cumsum([masks.time_masks, masks.time_masks, masks.mel_masks]), axis=-1
    )
    frames_BE1 = segments.length(lane.segment_ids, num_segments).astype(jnp.float32)[:, :, None]
    width_BEX = width_BEX * masks.max_time_share * frames_BE1
    start_BEX = start_BEX * (frames_BE1 - width_BEX)
    positions_BT = lane.positions.astype(jnp.float32)
    hidden_BTM = jnp.zeros(mel.shape, bool)
    for mask in range(masks.time_masks):
        start_BT = segments.look_up(start_BEX[:, :, mask], lane.segment_ids)
        width_BT = segments.look_up(width_BEX[:, :, mask], lane.segment_ids)
        hidden_BT = (positions_BT >= start_BT) & (positions_BT < start_BT + width_BT)
        hidden_BTM |= hidden_BT[:, :, None]
    mels_M = jnp.arange(num_mels, dtype=jnp.float32)[None, None, :]
    for mask in range(masks.mel_masks):
        width_BE = jnp.floor(mels_BEX[:, :, mask] * (masks.max_mels + 1))
        start_BE = jnp.floor(mel_start_BEX[:, :, mask] * (num_mels + 1 - width_BE))
        start_BT1 = segments.look_up(start_BE, lane.segment_ids)[:, :, None]
        width_BT1 = segments.look_up(width_BE, lane.segment_ids)[:, :, None]
        hidden_BTM |= (mels_M >= start_BT1) & (mels_M < start_BT1 + width_BT1)
    return jnp.where(hidden_BTM, 0.0, mel)
