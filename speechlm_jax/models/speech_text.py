"""The model: speech and text in, text out."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from speechlm_jax import batch as batches
from speechlm_jax import vocabulary
from speechlm_jax.models import config, decoder, encoder, frontends, heads, log_mel


class Outputs(NamedTuple):
    """float32 logits; None where the batch lacks the lane or the model the head."""

    targets: Float[Array, "B U V"] | None
    masked_tokens: Float[Array, "B S V"] | None
    ctc: Float[Array, "B P V"] | None


class SpeechText(nnx.Module):
    """An encoder over speech and text, a decoder of text, and heads that read the encoder.

    A lane that is None in a batch is not in the program. Without a key there is no dropout and no SpecAugment.
    """

    def __init__(self, choice: config.Model, *, rngs: nnx.Rngs):
        self.choice = choice
        self.speech = frontends.Speech(choice, rngs=rngs)
        self.text = frontends.Text(choice, rngs=rngs)
        self.encoder = encoder.Encoder(choice, rngs=rngs)
        self.decoder = decoder.Decoder(choice, rngs=rngs)
        self.masked_tokens = heads.MaskedTokens(choice, rngs=rngs)
        if choice.ctc:
            self.ctc = heads.Ctc(choice, rngs=rngs)

    def __call__(self, batch: batches.Batch, *, key: PRNGKeyArray | None = None) -> Outputs:
        """Logits for every loss head, the decoder's with the true tokens before each."""
        encoder_key, decoder_key = (None, None) if key is None else jax.random.split(key)
        encoded = self.encode(batch, key=encoder_key)
        return Outputs(
            targets=None if batch.targets is None else self.decode(batch.targets, encoded, key=decoder_key),
            masked_tokens=self.masked_token_logits(encoded),
            ctc=self.ctc_logits(encoded),
        )

    def encode(self, batch: batches.Batch, *, key: PRNGKeyArray | None = None) -> encoder.Encoded | None:
        """Encoder positions of the audio lane, then of the inputs lane; None where the batch has neither."""
        self._check(batch)
        speech_key, stack_key = (None, None) if key is None else jax.random.split(key)
        audio = None if batch.audio is None else self._audio(batch.audio, batch.segments, speech_key)
        inputs = None
        if batch.inputs is not None:
            lane = batch.inputs
            inputs = encoder.Lane(self.text(lane.tokens), lane.segment_ids, lane.positions)
        if audio is None and inputs is None:
            return None
        return self.encoder(audio, inputs, stack_key)

    def decode(
        self, lane: batches.TargetsLane, encoded: encoder.Encoded | None, *, key: PRNGKeyArray | None = None
    ) -> Float[Array, "B U V"]:
        """Logits of each token of `lane` from those before it in its segment."""
        before_BU = jnp.pad(lane.tokens[:, :-1], ((0, 0), (1, 0)))
        before_BU = jnp.where(lane.positions == 0, vocabulary.BOS, before_BU)
        steps = encoder.Lane(self.text(before_BU), lane.segment_ids, lane.positions)
        return self.text.logits(self.decoder(steps, encoded, key))

    def start(self, encoded: encoder.Encoded | None, num_rows: int, num_segments: int, num_steps: int) -> decoder.Cache:
        """The cache of at most `num_steps` decoding steps, of `num_segments` segments in each row."""
        return self.decoder.start(encoded, num_rows, num_segments, num_steps)

    def step(self, tokens: Int[Array, "B E"], cache: decoder.Cache) -> tuple[Float[Array, "B E V"], decoder.Cache]:
        """Logits of the token after `tokens` in every segment of every row; the first tokens are vocabulary.BOS."""
        hidden_BED, cache = self.decoder.step(self.text(tokens), cache)
        return self.text.logits(hidden_BED), cache

    def ctc_logits(self, encoded: encoder.Encoded | None) -> Float[Array, "B P V"] | None:
        """Logits at encoder audio positions; None without an audio lane or a CTC head."""
        return None if encoded is None or encoded.audio is None or not self.choice.ctc else self.ctc(encoded.audio)

    def masked_token_logits(self, encoded: encoder.Encoded | None) -> Float[Array, "B S V"] | None:
        """Logits at the places of the inputs lane; None without that lane."""
        return None if encoded is None or encoded.inputs is None else self.masked_tokens(encoded.inputs, self.text)

    def _audio(self, lane: batches.AudioLane, lines: batches.Segments, key: PRNGKeyArray | None) -> encoder.Lane:
        choice = self.choice
        mel_BTM = log_mel.features(lane.samples, lane.segment_ids, lines.weights.shape[1], choice.mels)
        if key is not None and choice.spec_augment is not None:
            mel_BTM = log_mel.augment(mel_BTM, lane, lines, choice.spec_augment, key)
        return encoder.Lane(
            self.speech(mel_BTM, lane.segment_ids),
            lane.segment_ids[:, :: choice.subsampling],
            lane.positions[:, :: choice.subsampling] // choice.subsampling,
        )

    def _check(self, batch: batches.Batch) -> None:
        if batch.target_audio is not None:
            raise ValueError(
                "encoding a batch: this model has no speech decoder, wanted no target_audio lane, found one of "
                f"{batch.target_audio.segment_ids.shape[1]} frames. Set Row.target_audio_seconds = 0."
            )
        if batch.audio is None:
            return
        frames, subsampling = batch.audio.segment_ids.shape[1], self.choice.subsampling
        if frames % subsampling:
            raise ValueError(
                f"encoding a batch: wanted audio rows of a multiple of {subsampling} frames, found {frames}. Set "
                f"Row.subsampling and Model.subsampling to one value, found Model.subsampling = {subsampling}."
            )
        if batch.audio.samples.shape[1] != frames * batches.HOP:
            raise ValueError(
                f"encoding a batch: {frames} audio frames are {frames * batches.HOP} samples, found "
                f"{batch.audio.samples.shape[1]}. Make batches with batch.empty and the packer."
            )
