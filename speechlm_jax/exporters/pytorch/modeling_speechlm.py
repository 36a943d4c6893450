"""A model of speechlm_jax in PyTorch, for `AutoModelForSeq2SeqLM.from_pretrained(FOLDER, trust_remote_code=True)`.

This file needs PyTorch and transformers alone. Parameters bear the names and the shapes that they have in speechlm_jax;
letters behind a name say what its axes are: B rows, N samples, T frames, P places of speech, S places of the encoder,
U steps of the decoder, D the width of the trunk, H heads, K their width, F and C channels, V the vocabulary, M mel
channels, R frames in a step, Z levels or codes, Q codebooks.
"""

import dataclasses
import math
from typing import Any

import torch
import transformers
from torch import nn
from torch.nn import functional
from transformers import audio_utils, cache_utils, generation
from transformers.utils import ModelOutput

HOP, WINDOW, RATE = 160, 400, 16_000
DYNAMIC_RANGE, SMALLEST_POWER = 8.0, 1e-10
DB_OF_FEATURE = 40.0
QUIET = 1e-5


class SpeechLMConfig(transformers.PretrainedConfig):
    """`model` has the fields of speechlm_jax's Model."""

    model_type = "speechlm_jax"
    keys_to_ignore_at_inference = ("past_key_values",)

    def __init__(self, model: dict[str, Any] | None = None, **kwargs: Any):
        self.model = model or {}
        self.num_hidden_layers = self.model.get("decoder_layers", 0)
        kwargs["is_encoder_decoder"] = True
        kwargs["tie_word_embeddings"] = False
        super().__init__(**kwargs)

    def get_text_config(self, *args: Any, **kwargs: Any) -> "SpeechLMConfig":
        """Itself: nothing of it describes a decoder alone."""
        return self


@dataclasses.dataclass
class SpeechLMOutput(ModelOutput):
    """Logits, float32; None where there was nothing to tell, or the model has no such head."""

    logits: torch.Tensor | None = None
    """Of the tokens, "B U V"."""
    past_key_values: Any = None
    encoder_last_hidden_state: torch.Tensor | None = None
    """Places of speech, then of `input_ids`, "B S D"."""
    ctc_logits: torch.Tensor | None = None
    """At places of speech, "B P V"; token 0 is the blank."""
    masked_token_logits: torch.Tensor | None = None
    """At places of `input_ids`, "B S V"."""
    matching_logits: torch.Tensor | None = None
    """That the text is what was spoken, "B"."""
    code_logits: torch.Tensor | None = None
    """Of hidden speech, "B P Q Z"."""
    level_logits: torch.Tensor | None = None
    """Of the speech to be spoken, "B Y R M Z"."""
    stop_logits: torch.Tensor | None = None
    """That a step of it is the last one, "B Y"."""


@dataclasses.dataclass
class Encoded(ModelOutput):
    """What the encoder gives."""

    last_hidden_state: torch.Tensor | None = None
    """Places of speech, then of text, "B S D"."""
    counts: torch.Tensor | None = None
    """Which of them hold something, "B S"."""
    speech: int | None = None
    """How many of them are of speech."""


def parameter(*shape: int) -> nn.Parameter:
    """Of a value that a checkpoint brings."""
    return nn.Parameter(torch.zeros(shape))


class Norm(nn.Module):
    """RMSNorm, in float32."""

    def __init__(self, width: int):
        super().__init__()
        self.scale_D = parameter(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x32 = x.float()
        return (x32 * torch.rsqrt(x32.square().mean(-1, keepdim=True) + 1e-6) * self.scale_D.float()).to(x.dtype)


class FeedForward(nn.Module):
    """SwiGLU."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.gate_DF, self.value_DF = parameter(width, hidden), parameter(width, hidden)
        self.out_FD = parameter(hidden, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (functional.silu(x @ self.gate_DF) * (x @ self.value_DF)) @ self.out_FD


class Convolution(nn.Module):
    """A Conformer's, whose taps read no place that belongs to nobody."""

    def __init__(self, width: int, taps: int, causal: bool):
        super().__init__()
        self.ahead = 0 if causal else taps // 2
        self.gate_DC, self.value_DC, self.out_CD = (parameter(width, width) for _ in range(3))
        self.taps_KC = parameter(taps, width)
        self.norm = Norm(width)

    def forward(self, x: torch.Tensor, alive: torch.Tensor) -> torch.Tensor:
        taps, width = self.taps_KC.shape
        gated = (self.gated(x) * alive[..., None]).transpose(1, 2)
        padded = functional.pad(gated, (taps - 1 - self.ahead, self.ahead))
        return self.out(functional.conv1d(padded, self.taps_KC.T[:, None], groups=width).transpose(1, 2))

    def gated(self, x: torch.Tensor) -> torch.Tensor:
        """What the taps mix, "B P C"."""
        return torch.sigmoid(x @ self.gate_DC) * (x @ self.value_DC)

    def out(self, mixed: torch.Tensor) -> torch.Tensor:
        """Of what they have mixed, "B P C"."""
        return functional.silu(self.norm(mixed)) @ self.out_CD


class Attention(nn.Module):
    """Softmax attention, softmax in float32; zeros for one who looks at nothing."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.query_DHK, self.key_DHK, self.value_DHK = (parameter(width, heads, width // heads) for _ in range(3))
        self.out_HKD = parameter(heads, width // heads, width)

    def memory(self, x: torch.Tensor, rotation: Any = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values, "B H S K"."""
        keys, values = (torch.einsum("bsd,dhk->bhsk", x, kernel) for kernel in (self.key_DHK, self.value_DHK))
        return rotated(keys, rotation), values

    def forward(self, x: torch.Tensor, memory: Any, looks: torch.Tensor, rotation: Any = None) -> torch.Tensor:
        queries = torch.einsum("bud,dhk->bhuk", x, self.query_DHK)
        queries = rotated(queries, rotation) * queries.shape[-1] ** -0.5
        keys, values = memory
        scores = torch.einsum("bhuk,bhsk->bhus", queries, keys).float().masked_fill(~looks[:, None], -math.inf)
        shares = torch.nan_to_num(scores.softmax(-1)).to(values.dtype)
        return torch.einsum("bhuk,hkd->bud", torch.einsum("bhus,bhsk->bhuk", shares, values), self.out_HKD)


def angles(positions: torch.Tensor, number: int) -> torch.Tensor:
    """Of positions "B S", by which `number` pairs of channels turn."""
    rates = 10_000.0 ** (-torch.arange(number, dtype=torch.float32, device=positions.device) / number)
    return positions.float()[..., None] * rates


def rotated(x: torch.Tensor, rotation: tuple[torch.Tensor, torch.Tensor] | None) -> torch.Tensor:
    """ "B H S K", channels k and k + K/2 turned as a pair."""
    if rotation is None:
        return x
    cosines, sines = (part[:, None].to(x.dtype) for part in rotation)
    left, right = x.chunk(2, dim=-1)
    return torch.cat([left * cosines - right * sines, right * cosines + left * sines], dim=-1)


class Stack(nn.Module):
    """What both stacks have about their blocks."""

    def __init__(self, choice: dict[str, Any], block: type[nn.Module], layers: int):
        super().__init__()
        self.choice = choice
        self.stack = nn.ModuleList(block(choice) for _ in range(layers))
        self.norm = Norm(choice["width"])

    def placed(self, x: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """`x` with sinusoids that tell its places."""
        if not self.choice["sinusoids"]:
            return x
        turns = angles(positions, self.choice["width"] // 2)
        return x + torch.cat([turns.sin(), turns.cos()], dim=-1).to(x.dtype)

    def rotation(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """By what queries and keys turn."""
        turns = angles(positions, self.choice["width"] // self.choice["num_heads"] // 2)
        return turns.cos(), turns.sin()


class EncoderBlock(nn.Module):
    """A Conformer block or a Transformer block."""

    def __init__(self, choice: dict[str, Any]):
        super().__init__()
        width = choice["width"]
        self.conformer, self.text_kernel = choice["encoder_block"] == "conformer", choice["text_kernel"]
        if self.conformer:
            self.first_norm, self.convolution_norm = Norm(width), Norm(width)
            self.first_feed_forward = FeedForward(width, choice["mlp_width"])
            self.convolution = Convolution(width, choice["conv_kernel"], causal=False)
        if self.text_kernel:
            self.text_convolution_norm = Norm(width)
            self.text_convolution = Convolution(width, self.text_kernel, causal=False)
        self.attention_norm, self.norm = Norm(width), Norm(width)
        self.attention = Attention(width, choice["num_heads"])
        self.feed_forward = FeedForward(width, choice["mlp_width"])

    def forward(self, x: torch.Tensor, alive: torch.Tensor, speech: int | torch.SymInt, rotation: Any) -> torch.Tensor:
        """speech: how many of the places are of speech."""
        if self.conformer:
            x = x + 0.5 * self.first_feed_forward(self.first_norm(x))
        y = self.attention_norm(x)
        looks = alive[:, :, None] & alive[:, None, :]
        x = x + self.attention(y, self.attention.memory(y, rotation), looks, rotation)
        heard, read = x[:, :speech], x[:, speech:]
        if self.conformer and speech:
            heard = heard + self.convolution(self.convolution_norm(heard), alive[:, :speech])
        if self.text_kernel and read.shape[1]:
            read = read + self.text_convolution(self.text_convolution_norm(read), alive[:, speech:])
        x = torch.cat([heard, read], dim=1)
        return x + (0.5 if self.conformer else 1.0) * self.feed_forward(self.norm(x))


class Encoder(Stack):
    """Over places of speech, then of text; both may look at each other."""

    main_input_name = "input_values"

    def __init__(self, choice: dict[str, Any]):
        super().__init__(choice, EncoderBlock, choice["encoder_layers"])
        self.audio_D, self.inputs_D = parameter(choice["width"]), parameter(choice["width"])

    def forward(self, heard: torch.Tensor, read: torch.Tensor, alive: torch.Tensor) -> torch.Tensor:
        x = torch.cat([heard + self.audio_D, read + self.inputs_D], dim=1)
        counted = [torch.arange(part.shape[1], device=x.device) for part in (heard, read)]
        positions = torch.cat(counted).expand(x.shape[0], -1)
        x, rotation = self.placed(x, positions), self.rotation(positions)
        for block in self.stack:
            x = block(x, alive, heard.shape[1], rotation)
        return self.norm(x) * alive[..., None]


class DecoderBlock(nn.Module):
    """A causal block that looks at the encoder, too."""

    def __init__(self, choice: dict[str, Any]):
        super().__init__()
        width = choice["width"]
        if choice["decoder_kernel"]:
            self.convolution_norm = Norm(width)
            self.convolution = Convolution(width, choice["decoder_kernel"], causal=True)
        self.attention_norm, self.cross_norm, self.norm = (Norm(width) for _ in range(3))
        self.attention, self.cross_attention = (Attention(width, choice["num_heads"]) for _ in range(2))
        self.feed_forward = FeedForward(width, choice["mlp_width"])

    def forward(
        self, x: torch.Tensor, alive: torch.Tensor, rotation: Any, encoded: Any, cache: Any, layer: int
    ) -> torch.Tensor:
        """alive: of all steps so far. encoded: (hidden states, which of them count), or None."""
        before = alive.shape[1] - x.shape[1]
        if hasattr(self, "convolution"):
            x = x + self.convolution(self.convolution_norm(x), alive)
        y = self.attention_norm(x)
        memory = self.attention.memory(y, rotation)
        if cache is not None:
            memory = cache.self_attention_cache.update(*memory, layer)
        steps = torch.arange(alive.shape[1], device=x.device)
        looks = alive[:, None, :] & (steps[None, None, :] <= steps[None, before:, None])
        x = x + self.attention(y, memory, looks, rotation)
        if encoded is not None:
            hidden, counts = encoded
            if cache is not None and cache.is_updated.get(layer):
                kept = cache.cross_attention_cache.layers[layer]
                memory = kept.keys, kept.values
            else:
                memory = self.cross_attention.memory(hidden)
                if cache is not None:
                    memory = cache.cross_attention_cache.update(*memory, layer)
                    cache.is_updated[layer] = True
            looks = counts[:, None, :].expand(-1, x.shape[1], -1)
            x = x + self.cross_attention(self.cross_norm(x), memory, looks)
        return x + self.feed_forward(self.norm(x))


class Decoder(Stack):
    """Over steps of text, or of speech; the two do not look at each other."""

    def __init__(self, choice: dict[str, Any]):
        super().__init__(choice, DecoderBlock, choice["decoder_layers"])

    def forward(self, x: torch.Tensor, alive: torch.Tensor, encoded: Any, cache: Any = None) -> torch.Tensor:
        before = alive.shape[1] - x.shape[1]
        positions = torch.arange(before, alive.shape[1], device=x.device).expand(x.shape[0], -1)
        x, rotation = self.placed(x, positions), self.rotation(positions)
        for layer, block in enumerate(self.stack):
            x = block(x, alive, rotation, encoded, cache, layer)
        return self.norm(x)


class Speech(nn.Module):
    """Log-mel features, and the convolutions that halve their rate."""

    def __init__(self, choice: dict[str, Any]):
        super().__init__()
        channels = choice["stem_channels"]
        self.halves = nn.ModuleList()
        for layer in range(int(math.log2(choice["subsampling"]))):
            half = nn.Module()
            half.kernel_3IC = parameter(3, channels if layer else choice["mels"], channels)
            half.bias_C = parameter(channels)
            self.halves.append(half)
        self.projection_CD = parameter(channels, choice["width"])

    def forward(self, mel: torch.Tensor, alive: torch.Tensor) -> torch.Tensor:
        x = mel.to(self.projection_CD.dtype)
        for half in self.halves:
            x = functional.conv1d(x.transpose(1, 2), half.kernel_3IC.permute(2, 1, 0), half.bias_C, 2, 1)
            alive = alive[:, ::2]
            x = functional.gelu(x.transpose(1, 2), approximate="tanh") * alive[..., None]
        return x @ self.projection_CD


def frames_of(lengths: torch.Tensor, longest: int | torch.SymInt, whole: int) -> torch.Tensor:
    """Which frames "B T" hold speech of so many samples, none where half a window does not fit in: whole groups of
    `whole`, two frames or more behind the longest."""
    frames = longest // HOP
    count = -(-(frames + max(2, whole // 2)) // whole) * whole if frames else 0
    own = torch.where(lengths > WINDOW // 2, lengths // HOP, 0)
    return torch.arange(count, device=lengths.device) < own[:, None]


def log_mel(samples: torch.Tensor, lengths: torch.Tensor, alive: torch.Tensor, mels: int) -> torch.Tensor:
    """Whisper's features (arXiv 2212.04356) of waveforms in [-1, 1], zeros where nothing is alive: "B T M"."""
    device = samples.device
    filters = audio_utils.mel_filter_bank(WINDOW // 2 + 1, mels, 0.0, RATE / 2, RATE, norm="slaney", mel_scale="slaney")
    bank = torch.as_tensor(filters, dtype=torch.float32, device=device)
    starts = HOP * torch.arange(alive.shape[1], device=device)
    # Each row is mirrored at both of its ends.
    places = (starts[:, None] + torch.arange(WINDOW, device=device) - WINDOW // 2).abs()[None]
    last = (lengths - 1)[:, None, None]
    places = torch.where(places > last, 2 * last - places, places).clamp(0, samples.shape[1] - 1)
    framed = samples.float().gather(1, places.flatten(1)).unflatten(1, (alive.shape[1], WINDOW))
    spectrum = torch.view_as_real(torch.fft.rfft(framed * torch.hann_window(WINDOW, device=device)))
    logs = (spectrum.square().sum(-1) @ bank).clamp(min=SMALLEST_POWER).log10()
    most = torch.where(alive[..., None], logs, -math.inf).amax((1, 2), keepdim=True)
    return torch.where(alive[..., None], (torch.maximum(logs, most - DYNAMIC_RANGE) + 4.0) / 4.0, 0.0)


class SpeechOut(nn.Module):
    """Frames of speech into the decoder and out of it, as levels."""

    def __init__(self, choice: dict[str, Any]):
        super().__init__()
        self.told = choice["speech_out"]
        size, hidden, width = self.told["reduction"] * self.told["mels"], self.told["hidden"], choice["width"]
        self.in_IC, self.in_C = parameter(size, hidden), parameter(hidden)
        self.middle_CD, self.middle_D = parameter(hidden, width), parameter(width)
        self.levels_DIZ = parameter(width, size, self.told["levels"])
        self.stop_D, self.stop_bias = parameter(width), parameter()

    def into(self, levels: torch.Tensor) -> torch.Tensor:
        """Of levels "B Y R M"."""
        values = levels.flatten(2).to(self.in_IC.dtype) / (self.told["levels"] - 1)
        return functional.silu(values @ self.in_IC + self.in_C) @ self.middle_CD + self.middle_D

    def out_of(self, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits of levels "B Y R M Z", and of the end "B Y"."""
        levels = torch.einsum("byd,diz->byiz", hidden, self.levels_DIZ).float()
        shape = (self.told["reduction"], self.told["mels"], self.told["levels"])
        return levels.unflatten(2, shape[:2]), hidden.float() @ self.stop_D.float() + self.stop_bias.float()


class Encoding:
    """What a model hears and reads, to be asked as transformers asks an encoder."""

    main_input_name = "input_values"

    def __init__(self, model: "SpeechLM"):
        self.forward = model.encode

    def __call__(self, **given: Any) -> Encoded:
        return self.forward(**given)


class SpeechLM(transformers.PreTrainedModel, generation.GenerationMixin):
    """The whole model. Each row is one example.

    input_values: a waveform in [-1, 1] at 16 kHz, "B N", 1 of `attention_mask` where it is. input_ids: text that is
    read, 1 of `text_mask` where it is. decoder_input_ids: what is written already, from the start token on.
    decoder_levels: steps of speech before each that is asked for, "B Y R M", the first of them zeros.
    """

    config_class = SpeechLMConfig
    main_input_name = "input_values"
    _supports_cache_class = True

    def __init__(self, config: SpeechLMConfig):
        super().__init__(config)
        self.choice = choice = config.model
        width, size = choice["width"], choice["vocabulary_size"]
        self.speech = Speech(choice)
        self.text = nn.Module()
        self.text.table_VD = parameter(size, width)
        self.encoder, self.decoder = Encoder(choice), Decoder(choice)
        self.masked_tokens = nn.Module()
        self.masked_tokens.transform_DC, self.masked_tokens.norm = parameter(width, width), Norm(width)
        if choice["ctc"]:
            self.ctc = nn.Module()
            self.ctc.bias_V = parameter(size)
            if not choice["ctc_tied"]:
                self.ctc.kernel_DV = parameter(width, size)
        if choice["matching"]:
            self.matching = nn.Module()
            self.matching.weights_2, self.matching.bias = parameter(2), parameter()
        if choice["masked_speech"]:
            masks = choice["masked_speech"]
            self.masked_speech = nn.Module()
            self.masked_speech.frame_M = parameter(choice["mels"])
            self.masked_speech.kernel_DQZ = parameter(width, masks["codebooks"], masks["codes"])
        if choice["speech_out"]:
            self.speech_out = SpeechOut(choice)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """A checkpoint brings them."""

    def embed(self, tokens: torch.Tensor) -> torch.Tensor:
        """Of tokens, at the width of the trunk."""
        return self.text.table_VD[tokens] * math.sqrt(self.choice["width"])

    def read_out(self, hidden: torch.Tensor) -> torch.Tensor:
        """Logits over the vocabulary, by the table of the embedding."""
        return (hidden @ self.text.table_VD.T).float()

    def connectionist(self, heard: torch.Tensor) -> torch.Tensor:
        """Logits of the CTC head at places of speech."""
        logits = self.read_out(heard) if self.choice["ctc_tied"] else (heard @ self.ctc.kernel_DV).float()
        return logits + self.ctc.bias_V.float()

    def get_encoder(self, *args: Any, **kwargs: Any) -> Any:
        """What `generate` asks once."""
        return Encoding(self)

    def encode(
        self,
        input_values: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        input_ids: torch.Tensor | None = None,
        text_mask: torch.Tensor | None = None,
        hidden_places: torch.Tensor | None = None,
        **_: Any,
    ) -> Encoded:
        """What is heard and read. hidden_places: of speech, "B P", that are hidden from the encoder. What transformers
        asks of other encoders, too, means nothing to it."""
        some = input_ids if input_values is None else input_values
        rows, device = len(some), some.device
        lengths = torch.zeros(rows, dtype=torch.long, device=device)
        if input_values is not None:
            whole = attention_mask is None
            lengths = lengths + input_values.shape[1] if whole else attention_mask.sum(-1)
        frames = frames_of(lengths, int(lengths.max()), self.choice["subsampling"])
        if input_ids is None:
            read = torch.zeros(rows, 0, dtype=torch.bool, device=device)
        else:
            read = torch.ones_like(input_ids, dtype=torch.bool) if text_mask is None else text_mask.bool()
        counts = torch.cat([frames[:, :: self.choice["subsampling"]], read], dim=1)
        mel = torch.zeros(rows, 0, self.choice["mels"], device=device)
        if input_values is not None:
            mel = log_mel(input_values, lengths, frames, self.choice["mels"])
        if hidden_places is not None:
            hidden = hidden_places.repeat_interleave(self.choice["subsampling"], dim=1)[..., None]
            mel = torch.where(hidden, self.masked_speech.frame_M, mel)
        tokens = torch.zeros(rows, 0, dtype=torch.long, device=device) if input_ids is None else input_ids
        heard = self.speech(mel, frames)
        return Encoded(self.encoder(heard, self.embed(tokens), counts), counts, heard.shape[1])

    def forward(
        self,
        input_values: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        input_ids: torch.Tensor | None = None,
        text_mask: torch.Tensor | None = None,
        hidden_places: torch.Tensor | None = None,
        decoder_input_ids: torch.Tensor | None = None,
        decoder_attention_mask: torch.Tensor | None = None,
        decoder_levels: torch.Tensor | None = None,
        encoder_outputs: Any = None,
        past_key_values: Any = None,
        claimed: torch.Tensor | None = None,
        **_: Any,
    ) -> SpeechLMOutput:
        """claimed: 1 at the steps whose next token belongs to the text that the speech is claimed to be, "B U"; its
        tokens stand one step further in `decoder_input_ids`, the end token too."""
        found = SpeechLMOutput()
        encoded = None
        if encoder_outputs is None and (input_values is not None or input_ids is not None):
            encoder_outputs = self.encode(input_values, attention_mask, input_ids, text_mask, hidden_places)
            hidden, places = encoder_outputs.last_hidden_state, encoder_outputs.speech
            self._tell_of_encoder(found, hidden[:, :places], hidden[:, places:])
        if encoder_outputs is not None:
            encoded = encoder_outputs.last_hidden_state, encoder_outputs.counts
            found.encoder_last_hidden_state = encoded[0]
        if decoder_input_ids is not None:
            before = 0 if past_key_values is None else past_key_values.get_seq_length()
            rows, steps = len(decoder_input_ids), before + decoder_input_ids.shape[1]
            alive = torch.ones(rows, steps, dtype=torch.bool, device=decoder_input_ids.device)
            if decoder_attention_mask is not None:
                alive = decoder_attention_mask.bool()
            states = self.decoder(self.embed(decoder_input_ids), alive, encoded, past_key_values)
            found.logits, found.past_key_values = self.read_out(states), past_key_values
            if claimed is not None:
                found.matching_logits = self._matches(found.logits, decoder_input_ids, claimed)
        if decoder_levels is not None:
            alive = torch.ones(decoder_levels.shape[:2], dtype=torch.bool, device=decoder_levels.device)
            spoken = self.decoder(self.speech_out.into(decoder_levels), alive, encoded)
            found.level_logits, found.stop_logits = self.speech_out.out_of(spoken)
        return found

    def _tell_of_encoder(self, found: SpeechLMOutput, heard: torch.Tensor, read: torch.Tensor) -> None:
        """What the heads of the encoder say."""
        if self.choice["ctc"] and heard.shape[1]:
            found.ctc_logits = self.connectionist(heard)
        if self.choice["masked_speech"] and heard.shape[1]:
            found.code_logits = torch.einsum("bpd,dqz->bpqz", heard, self.masked_speech.kernel_DQZ).float()
        if read.shape[1]:
            turned = functional.gelu(read @ self.masked_tokens.transform_DC, approximate="tanh")
            found.masked_token_logits = self.read_out(self.masked_tokens.norm(turned))

    def _matches(self, logits: torch.Tensor, tokens: torch.Tensor, claimed: torch.Tensor) -> torch.Tensor:
        following = torch.cat([tokens[:, 1:], tokens[:, :1]], dim=1)
        surprise = claimed * functional.cross_entropy(logits.transpose(1, 2), following, reduction="none")
        mean, most = surprise.sum(-1) / claimed.sum(-1).clamp(min=1), surprise.amax(-1)
        on_mean, on_most = self.matching.weights_2.float()
        return self.matching.bias.float() + on_mean * torch.log1p(mean) + on_most * torch.log1p(most)

    def prepare_inputs_for_generation(
        self, decoder_input_ids: torch.Tensor, past_key_values: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        """What `forward` is given for the next step."""
        # It has borne both names.
        past_key_values = kwargs.get("cache", past_key_values)
        # A convolution over steps looks at more than the last one.
        if self.choice["decoder_kernel"] or not isinstance(past_key_values, cache_utils.EncoderDecoderCache):
            past_key_values = None
        if past_key_values is not None:
            decoder_input_ids = decoder_input_ids[:, past_key_values.get_seq_length() :]
        told = {"decoder_input_ids": decoder_input_ids, "past_key_values": past_key_values}
        return {**told, "encoder_outputs": kwargs.get("encoder_outputs")}
