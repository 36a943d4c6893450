"""Floating-point operations of a training step by the model's shapes, as the literature counts them for utilisation.

A product of N vectors with a matrix is 2 N operations for each of its entries, and attention between S and U positions
4 S U D (Kaplan et al., arXiv 2001.08361, table 1). The backward pass is twice the forward one; what is computed again
for want of memory does not count (PaLM, arXiv 2204.02311, appendix B).
"""

import math
import re
from collections.abc import Collection, Iterator
from typing import Any

from flax import nnx

from speechlm_jax import axes, batch, parameters
from speechlm_jax.models import config

BACKWARD = 2
"""Products of the backward pass for one of the forward pass: with the weights and with what came in."""


def step(model: config.Model, params: nnx.State, row: batch.Row, num_rows: int, heads: Collection[str]) -> int:
    """Operations of a step on `num_rows` whole rows: all of their room counts, whatever lies in it.

    heads: the losses of the run; what none of them reads is not computed. Frozen weights count as trained ones.
    """
    positions = _Positions(model, row, heads)
    products = sum(positions.products(path, leaf) for path, leaf in parameters.by_path(params).items())
    return (1 + BACKWARD) * num_rows * int(products + sum(positions.attention()))


def again(model: config.Model, params: nnx.State, row: batch.Row, num_rows: int, heads: Collection[str]) -> int:
    """Operations that the backward pass does a second time by Model.remat: those of whole layers, or, where products
    with weights are kept, of attention."""
    positions = _Positions(model, row, heads)
    layers = sum(
        positions.products(path, leaf)
        for path, leaf in parameters.by_path(params).items()
        if parameters.words(leaf)[:1] == (axes.LAYERS,)
    )
    attention = sum(positions.attention())
    done = {"none": 0, "minimal": attention, "offload": attention, "full": attention + layers}
    return num_rows * int(done[model.remat])


def rounded(model: config.Model, params: nnx.State, row: batch.Row, num_rows: int, heads: Collection[str]) -> int:
    """Operations of `step` and `again` that Model.products makes products of int8: forward ones of blocks alone."""
    if model.products != "int8":
        return 0
    positions = _Positions(model, row, heads)
    products = sum(
        positions.products(path, leaf)
        for path, leaf in parameters.by_path(params).items()
        if re.search(r"/stack/.*(query|key|value|gate|into|out)_[A-Z]+$", path)
    )
    return (2 if model.remat == "full" else 1) * num_rows * int(products)


class _Positions:
    """At how many positions of one row each parameter is multiplied with something."""

    def __init__(self, model: config.Model, row: batch.Row, heads: Collection[str]):
        self.model, self.row = model, row
        self.audio, self.inputs, self.targets = row.audio_positions, row.inputs, row.targets
        self.steps = row.target_audio_steps if model.speech_out is not None else 0
        self.encoder, self.decoder = self.audio + self.inputs, self.targets + self.steps
        told = self.targets if {"targets", "matching"} & set(heads) else 0
        masked = self.inputs if "masked_tokens" in heads else 0
        ctc = self.audio if "ctc" in heads else 0
        codes = self.audio if "masked_speech" in heads else 0
        # The first pattern that a path begins with.
        self.table = (
            (r".*/(into|out|query|value)_bias_|(encoder|decoder)/places/", 0),
            (r"text/table_VD", told + masked + ctc * model.ctc_tied),
            (r"speech/halves/(\d+)/kernel", None),
            (r"speech/near/kernel", row.audio_frames),
            (r"speech/half/kernel", self.audio),
            (r"ctc/kernel", ctc),
            (r"masked_speech/kernel", codes),
            (r"masked_tokens/transform", masked),
            (r"speech/projection|encoder/stack/convolution/", self.audio),
            (r"encoder/stack/text_convolution/", self.inputs),
            (r"decoder/stack/cross_attention/(key|value)", self.encoder),
            (r"decoder/stack/cross_attention/", self.decoder if self.encoder else 0),
            (r"encoder/stack/", self.encoder),
            (r"decoder/stack/", self.decoder),
            (r"speech_out/", self.steps),
        )

    def products(self, path: str, leaf: Any) -> float:
        """Operations of one row with one parameter."""
        return 2 * math.prod(parameters.array(leaf).shape) * self.of(path)

    def of(self, path: str) -> float:
        """0 for what is added or scales: a product of two vectors is no matrix product."""
        if not re.search(r"_\w*[A-Z0-9]{2,}$", path):
            return 0
        for pattern, positions in self.table:
            found = re.match(pattern, path)
            if found is not None:
                return self.row.audio_frames / 2 ** (int(found.group(1)) + 1) if positions is None else positions
        raise AssertionError(f"models/flops.py does not know where {path} is used: give it a line in its table.")

    def attention(self) -> Iterator[float]:
        """Products of queries with keys, and of shares with values, over all pairs of a row's positions."""
        width = 4 * self.model.width
        yield width * self.model.encoder_layers * self.encoder**2
        yield width * self.model.decoder_layers * self.decoder * (self.decoder + self.encoder)
