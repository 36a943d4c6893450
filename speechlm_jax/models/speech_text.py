"""The model: speech and text in, text and speech out."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, Shaped

from speechlm_jax import batch as batches
from speechlm_jax import vocabulary
from speechlm_jax.models import (
    config,
    decoder,
    diagonal,
    encoder,
    frontends,
    heads,
    log_mel,
    looks,
    masking,
    speech_out,
    stepping,
)


class Outputs(NamedTuple):
    """float32 logits; None where the batch lacks the lane or the model the head."""

    targets: Float[Array, "B U V"] | None = None
    masked_tokens: Float[Array, "B S V"] | None = None
    ctc: Float[Array, "B P V"] | None = None
    matching: Float[Array, "B E"] | None = None
    masked_speech: masking.Masked | None = None
    target_audio: speech_out.Told | None = None
    alignment: Float[Array, "B Y"] | None = None
    """Not logits: how far from the diagonal of its text each step of speech looks, 0 to 1."""


class SpeechText(nnx.Module):
    """An encoder over speech and text, a decoder of text and speech, and heads that read either.

    A lane that is None in a batch is not in the program. Without a key there is no dropout and no SpecAugment, and what
    is hidden of speech follows from where an example came from alone.
    """

    def __init__(self, choice: config.Model, *, rngs: nnx.Rngs):
        self.choice = choice
        self.speech = (frontends.WhisperSpeech if choice.is_whisper else frontends.Speech)(choice, rngs=rngs)
        self.text = frontends.Text(choice, rngs=rngs)
        self.encoder = encoder.Encoder(choice, rngs=rngs)
        self.decoder = decoder.Decoder(choice, rngs=rngs)
        self.masked_tokens = heads.MaskedTokens(choice, rngs=rngs)
        if choice.ctc:
            self.ctc = heads.Ctc(choice, rngs=rngs)
        if choice.matching:
            self.matching = heads.Matching()
        if choice.masked_speech is not None:
            self.masked_speech = masking.MaskedSpeech(choice, choice.masked_speech, rngs=rngs)
        if choice.speech_out is not None:
            self.speech_out = speech_out.SpeechOut(choice, choice.speech_out, rngs=rngs)

    def __call__(self, batch: batches.Batch, *, key: PRNGKeyArray | None = None) -> Outputs:
        """What every loss head reads; the decoder's with the true tokens and frames before each."""
        encoder_key, decoder_key = (None, None) if key is None else jax.random.split(key)
        encoded, hidden = self._encode(batch, encoder_key)
        targets, target_audio = self.decode(batch, encoded, key=decoder_key)
        return Outputs(
            targets=targets,
            masked_tokens=self.masked_token_logits(encoded),
            ctc=self.ctc_logits(encoded),
            matching=self.matching_logits(targets, batch),
            masked_speech=hidden,
            target_audio=target_audio,
            alignment=None if target_audio is None else target_audio.strays,
        )

    def encode(self, batch: batches.Batch, *, key: PRNGKeyArray | None = None) -> encoder.Encoded | None:
        """Encoder positions of the audio lane, then of the inputs lane; None where the batch has neither."""
        return self._encode(batch, key)[0]

    def decode(
        self, batch: batches.Batch, encoded: encoder.Encoded | None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Float[Array, "B U V"] | None, speech_out.Told | None]:
        """Logits of the targets lane and of the target_audio lane, from what stands before in a segment's own lane."""
        speech_key, stack_key = (None, None) if key is None else jax.random.split(key)
        lanes, truth_BYRM = self._decoder_lanes(batch, speech_key)
        if not lanes:
            return None, None
        distance_BUS = self._distance(lanes, batch, encoded)
        watch = None if distance_BUS is None else looks.strays(distance_BUS, self.choice)
        hidden, strays_LBU = self.decoder(lanes, encoded, stack_key, watch=watch)
        told = None if truth_BYRM is None else self.speech_out.out_of(hidden[-1], truth_BYRM)
        if told is not None and strays_LBU is not None:
            told = told._replace(strays=jnp.mean(strays_LBU, axis=0)[:, -told.stop.shape[1] :])
        return None if batch.targets is None else self.text.logits(hidden[0]), told

    def looks(self, batch: batches.Batch, encoded: encoder.Encoded | None) -> looks.Looks | None:
        """Where the decoder looks, with the true tokens and frames before each step; None where it writes nothing or
        there is nothing to look at."""
        lanes, _ = self._decoder_lanes(batch, None)
        if not lanes or encoded is None:
            return None
        return self.decoder(lanes, encoded, watch=looks.most_decided)[1]

    def _decoder_lanes(
        self, batch: batches.Batch, key: PRNGKeyArray | None
    ) -> tuple[list[encoder.Lane], Int[Array, "B Y R M"] | None]:
        """What the decoder is given of each lane that it writes, text first; and the levels of the speech."""
        lanes, truth_BYRM = [], None
        if batch.targets is not None:
            lane = batch.targets
            before_BU = jnp.where(lane.positions == 0, vocabulary.BOS, _shifted(lane.tokens))
            lanes.append(encoder.Lane(self.text(before_BU), lane.segment_ids, lane.positions))
        if batch.target_audio is not None and self.choice.speech_out is not None:
            audio, reduction = batch.target_audio, self.choice.speech_out.reduction
            truth_BYRM = speech_out.levels(audio, batch.segments.weights.shape[1], self.choice.speech_out)
            positions_BY = audio.positions[:, ::reduction] // reduction
            # Before the first step stands silence: every channel at its lowest level.
            before_BYRM = jnp.where((positions_BY == 0)[:, :, None, None], 0, _shifted(truth_BYRM))
            hidden_BYD = self.speech_out.into(before_BYRM, key)
            lanes.append(encoder.Lane(hidden_BYD, audio.segment_ids[:, ::reduction], positions_BY))
        return lanes, truth_BYRM

    def steps(
        self, encoded: encoder.Encoded | None, num_rows: Any, num_segments: int, num_steps: int, hypotheses: int = 1
    ) -> stepping.Steps:
        """The decoder step by step, of at most `num_steps` for `num_segments` segments in each row; each has so many
        hypotheses, which are lines of their own. To be asked for before a loop; see stepping.Steps."""
        speech = None if self.choice.speech_out is None else self.speech_out
        return stepping.Steps(
            self.decoder,
            encoded,
            self.text,
            speech,
            num_rows=num_rows,
            num_segments=num_segments,
            num_steps=num_steps,
            hypotheses=hypotheses,
        )

    def ctc_logits(self, encoded: encoder.Encoded | None) -> Float[Array, "B P V"] | None:
        """Logits at encoder audio positions; None without an audio lane or a CTC head."""
        if encoded is None or encoded.audio is None or not self.choice.ctc:
            return None
        return self.ctc(encoded.audio, self.text)

    def masked_token_logits(self, encoded: encoder.Encoded | None) -> Float[Array, "B S V"] | None:
        """Logits at the places of the inputs lane; None without that lane."""
        return None if encoded is None or encoded.inputs is None else self.masked_tokens(encoded.inputs, self.text)

    def matching_logits(
        self, targets: Float[Array, "B U V"] | None, batch: batches.Batch
    ) -> Float[Array, "B E"] | None:
        """The logit that each segment's target is what was spoken, from the logits of its tokens; None without a
        targets lane or where the model does not say."""
        if targets is None or batch.targets is None or not self.choice.matching:
            return None
        return self.matching(targets, batch.targets, batch.segments.weights.shape[1])

    def _encode(
        self, batch: batches.Batch, key: PRNGKeyArray | None
    ) -> tuple[encoder.Encoded | None, masking.Masked | None]:
        """What the encoder gives, and what it tells of hidden speech."""
        self._check(batch)
        speech_key, stack_key = (None, None) if key is None else jax.random.split(key)
        audio, hidden_BP, codes_BPQ, inputs = None, None, None, None
        if batch.audio is not None:
            audio, hidden_BP, codes_BPQ = self._audio(batch.audio, batch.segments, speech_key)
        if batch.inputs is not None:
            lane = batch.inputs
            inputs = encoder.Lane(self.text(lane.tokens), lane.segment_ids, lane.positions)
        if audio is None and inputs is None:
            return None, None
        encoded = self.encoder(audio, inputs, stack_key)
        if encoded.audio is None or hidden_BP is None or codes_BPQ is None:
            return encoded, None
        return encoded, masking.Masked(hidden_BP, codes_BPQ, self.masked_speech.logits(encoded.audio))

    def _audio(
        self, lane: batches.AudioLane, lines: batches.Segments, key: PRNGKeyArray | None
    ) -> tuple[encoder.Lane, Bool[Array, "B P"] | None, Int[Array, "B P Q"] | None]:
        """Encoder positions of speech, where it was hidden, and its codes."""
        choice, num_segments = self.choice, lines.weights.shape[1]
        mel_BTM = log_mel.features(lane.samples, lane.segment_ids, num_segments, choice.mels)
        hidden_BP, codes_BPQ = None, None
        if choice.masked_speech is not None:
            codes_BPQ = self.masked_speech.codes(mel_BTM, lane, num_segments)
            mask_key = jax.random.key(0) if key is None else jax.random.fold_in(key, 1)
            hidden_BP = masking.spans(lane, lines, choice.subsampling, choice.masked_speech.span, mask_key)
        if key is not None and choice.spec_augment is not None:
            mel_BTM = log_mel.augment(mel_BTM, lane, lines, choice.spec_augment, key)
        if hidden_BP is not None:
            mel_BTM = self.masked_speech.hide(mel_BTM, hidden_BP)
        positions = encoder.Lane(
            self.speech(mel_BTM, lane.segment_ids),
            lane.segment_ids[:, :: choice.subsampling],
            lane.positions[:, :: choice.subsampling] // choice.subsampling,
        )
        return positions, hidden_BP, codes_BPQ

    def _distance(
        self, lanes: Sequence[encoder.Lane], batch: batches.Batch, encoded: encoder.Encoded | None
    ) -> Float[Array, "B U S"] | None:
        """How far the places of the inputs lane are from the diagonal of each step of speech; 0 for all other pairs.
        None without guided heads, speech to write or text to read."""
        speech, text = self.choice.speech_out, batch.inputs
        if encoded is None or text is None or batch.target_audio is None or speech is None or not speech.guided_heads:
            return None
        steps, num_segments = lanes[-1], batch.segments.weights.shape[1]
        distance_BYW = diagonal.distance(
            steps.segment_ids, steps.positions, text.segment_ids, text.positions, num_segments, speech.guide_width
        )
        text_steps = sum(lane.segment_ids.shape[1] for lane in lanes[:-1])
        audio_places = encoded.hidden.shape[1] - text.tokens.shape[1]
        return jnp.pad(distance_BYW, ((0, 0), (text_steps, 0), (audio_places, 0)))

    def _check(self, batch: batches.Batch) -> None:
        if batch.target_audio is not None:
            frames, speech = batch.target_audio.segment_ids.shape[1], self.choice.speech_out
            if speech is None:
                raise ValueError(
                    "decoding a batch: this model writes no speech, wanted no target_audio lane, found one of "
                    f"{frames} frames. Set Model.speech_out = @SpeechOut(), or Row.target_audio_seconds = 0."
                )
            if frames % speech.reduction:
                raise ValueError(
                    f"decoding a batch: wanted target_audio rows of a multiple of {speech.reduction} frames, found "
                    f"{frames}. Set Row.reduction and SpeechOut.reduction to one value."
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


def _shifted(values: Shaped[Array, "B U ..."]) -> Shaped[Array, "B U ..."]:
    """Every step's place taken by the one before it, the first by zeros."""
    return jnp.pad(values[:, :-1], ((0, 0), (1, 0)) + ((0, 0),) * (values.ndim - 2))
