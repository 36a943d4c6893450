"""Convolutions over time that stay within segments: the strided stem's and the Conformer's."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from speechlm_jax import axes
from speechlm_jax.layers import norms, products, weights


class ShortConvolution(nnx.Module):
    """A convolution of width 3, centred on every place, or on every other one where it halves their number.

    It reaches one place to either side: neighbouring segments must be apart by a place of zeros.
    """

    def __init__(self, channels_in: int, channels_out: int, in_axis: str, *, halves: bool = True, rngs: nnx.Rngs):
        self.halves = halves
        self.kernel_3IC = weights.matrix(
            rngs, (3, channels_in, channels_out), (axes.KERNEL, in_axis, axes.CHANNELS), fan_in=3 * channels_in
        )
        self.bias_C = weights.constant(0.0, (channels_out,), (axes.CHANNELS,))

    def __call__(self, x: Float[Array, "B T I"]) -> Float[Array, "B _ C"]:
        num_rows, num_places, channels = x.shape
        # One matrix product over windows laid side by side suits every device, and so does its gradient.
        if self.halves:
            pairs_BTI = x.reshape(num_rows, num_places // 2, 2 * channels)
            before_BTI = jnp.pad(pairs_BTI[:, :-1, channels:], ((0, 0), (1, 0), (0, 0)))
            windows_BTI = jnp.concatenate([before_BTI, pairs_BTI], axis=-1)
        else:
            before_BTI = jnp.pad(x[:, :-1], ((0, 0), (1, 0), (0, 0)))
            after_BTI = jnp.pad(x[:, 1:], ((0, 0), (0, 1), (0, 0)))
            windows_BTI = jnp.concatenate([before_BTI, x, after_BTI], axis=-1)
        kernel_IC = self.kernel_3IC[...].reshape(3 * channels, -1).astype(x.dtype)
        return weights.shifted(jnp.einsum("BTI,IC->BTC", windows_BTI, kernel_IC), self.bias_C)


def same_segment(ids: Int[Array, "B P"], other_ids: Int[Array, "B P"]) -> Bool[Array, "B P"]:
    """Where a tap counts: the place it reads is of the same segment as the centre."""
    return ids == other_ids


def _padded(values: Array, taps: int, ahead: int, fill: int = 0) -> Array:
    widths = ((0, 0), (taps - 1 - ahead, ahead)) + ((0, 0),) * (values.ndim - 2)
    return jnp.pad(values, widths, constant_values=fill)


def _tap(values: Array, tap: int | Array, places: int) -> Array:
    return jax.lax.dynamic_slice_in_dim(values, tap, places, axis=1)


def _depthwise(
    x: Float[Array, "B P D"], kernel: Float[Array, "taps D"], segment_ids: Int[Array, "B P"], ahead: int
) -> Float[Array, "B P D"]:
    """Each channel convolved with its own kernel; a tap counts only where its segment is that of the place it is for.

    The last `ahead` taps read the places after that one, the others itself and those before.

    Moved copies are added up. On a CPU that is 50 times faster than a grouped convolution, and the gradients written
    out below are 25 times faster than those that JAX derives.
    """
    taps, places = kernel.shape[0], x.shape[1]
    padded_BPD = _padded(x, taps, ahead)
    padded_ids_BP = _padded(segment_ids, taps, ahead, fill=-1)
    total_BPD = jnp.zeros_like(x)
    for tap in range(taps):
        counts_BP = same_segment(segment_ids, _tap(padded_ids_BP, tap, places))
        moved_BPD = _tap(padded_BPD, tap, places) * kernel[tap][None, None, :]
        total_BPD += jnp.where(counts_BP[:, :, None], moved_BPD, 0)
    return total_BPD


def _forward(x: Array, kernel: Array, segment_ids: Array, ahead: int) -> tuple[Array, tuple[Array, Array, Array]]:
    return depthwise(x, kernel, segment_ids, ahead), (x, kernel, segment_ids)


def _backward(ahead: int, residuals: tuple[Array, Array, Array], gradient_BPD: Array) -> tuple[Array, Array, None]:
    x, kernel, segment_ids = residuals
    taps, places = kernel.shape[0], x.shape[1]
    padded_BPD = _padded(x, taps, ahead)
    padded_ids_BP = _padded(segment_ids, taps, ahead, fill=-1)

    def of_tap(_: None, tap: Array) -> tuple[None, Array]:
        counts_BP = same_segment(segment_ids, _tap(padded_ids_BP, tap, places))
        moved_BPD = jnp.where(counts_BP[:, :, None], _tap(padded_BPD, tap, places), 0)
        return None, jnp.einsum("BPD,BPD->BD", moved_BPD, gradient_BPD, preferred_element_type=jnp.float32)

    # Belonging together is mutual, so the gradient of x is the same convolution with the kernel turned round.
    gradient_x_BPD = depthwise(gradient_BPD, kernel[::-1], segment_ids, taps - 1 - ahead)
    # Rows are summed once for all taps: over devices that is one sum, not one for each.
    product_KBD = jax.lax.scan(of_tap, None, jnp.arange(taps))[1]
    return gradient_x_BPD, jnp.sum(product_KBD, axis=1).astype(kernel.dtype), None


depthwise = jax.custom_vjp(_depthwise, nondiff_argnums=(3,))
"""`_depthwise` with gradients of its own."""
depthwise.defvjp(_forward, _backward)


class ConformerConvolution(nnx.Module):
    """A Conformer's convolution module (arXiv 2005.08100, figure 2), over the segments of a row.

    A norm over channels stands where the paper has batch normalisation, which would mix examples.
    """

    def __init__(
        self,
        width: int,
        taps: int,
        *,
        causal: bool = False,
        out_scale: float = 1.0,
        gathering: float = 0.0,
        numbers: products.Numbers = "full",
        rngs: nnx.Rngs,
    ):
        """
        Args:
            causal: whether no tap reads ahead; else as many do as read back.
            gathering: how far the module starts as one that brings each place the sum of itself and those before it.
            numbers: Model.products.
        """
        self.numbers: products.Numbers = numbers
        self.ahead = 0 if causal else taps // 2
        self.gate_DC = weights.matrix(rngs, (width, width), (axes.EMBED, axes.CHANNELS), fan_in=width)
        self.value_DC = weights.matrix(rngs, (width, width), (axes.EMBED, axes.CHANNELS), fan_in=width)
        self.taps_KC = weights.matrix(rngs, (taps, width), (axes.KERNEL, axes.CHANNELS), fan_in=taps)
        back = taps - self.ahead
        weights.lean(self.taps_KC, jnp.where(jnp.arange(taps)[:, None] < back, 1 / math.sqrt(back), 0.0), gathering)
        self.norm = norms.RmsNorm(width, axis=axes.CHANNELS)
        self.out_CD = weights.matrix(rngs, (width, width), (axes.CHANNELS, axes.EMBED), fan_in=width, scale=out_scale)
        weights.lean(self.out_CD, out_scale * self.value_DC[...].T, gathering)

    def __call__(self, x: Float[Array, "B P D"], segment_ids: Int[Array, "B P"]) -> Float[Array, "B P D"]:
        mixed_BPC = depthwise(self._gated(x), self.taps_KC[...].astype(x.dtype), segment_ids, self.ahead)
        return self._out(mixed_BPC)

    def start(self, num_rows: Any, num_segments: int, dtype: jnp.dtype) -> Float[Array, "B E I C"]:
        """What `step` has to know before the first place of each segment. num_rows: as of stepping.Steps."""
        taps, channels = self.taps_KC.shape
        return jnp.zeros((num_rows, num_segments, taps - 1, channels), dtype)

    def step(
        self, x: Float[Array, "B E D"], recent: Float[Array, "B E I C"]
    ) -> tuple[Float[Array, "B E D"], Float[Array, "B E I C"]]:
        """The next place of every segment where the module is causal, and what the one after has to know."""
        window_BEKC = jnp.concatenate([recent, self._gated(x)[:, :, None]], axis=2)
        mixed_BEC = jnp.einsum("BEKC,KC->BEC", window_BEKC, self.taps_KC[...].astype(x.dtype))
        return self._out(mixed_BEC), window_BEKC[:, :, 1:]

    def _gated(self, x: Float[Array, "B P D"]) -> Float[Array, "B P C"]:
        gate_BPC = products.product("BPD,DC->BPC", x, self.gate_DC, self.numbers)
        value_BPC = products.product("BPD,DC->BPC", x, self.value_DC, self.numbers)
        return jax.nn.sigmoid(gate_BPC) * value_BPC

    def _out(self, mixed: Float[Array, "B P C"]) -> Float[Array, "B P D"]:
        return products.product("BPC,CD->BPD", jax.nn.silu(self.norm(mixed)), self.out_CD, self.numbers)
