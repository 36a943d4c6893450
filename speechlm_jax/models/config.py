"""The numbers that describe a model. Making one touches no device."""

import dataclasses
import importlib.util
from typing import Literal

from speechlm_jax import limits


@dataclasses.dataclass(frozen=True)
class SpecAugment:
    """Masks over the log-mel features of each segment while training (arXiv 1904.08779)."""

    time_masks: int = 2
    max_time_share: float = 0.1
    """A time mask hides at most this share of its segment."""
    mel_masks: int = 2
    max_mels: int = 16
    """A mel mask hides at most this many channels."""

    def __post_init__(self):
        limits.at_least(self, 0, "time_masks", "max_time_share", "mel_masks", "max_mels")
        limits.at_most(self, 1, "max_time_share")


@dataclasses.dataclass(frozen=True)
class MaskedSpeech:
    """Codes of hidden speech told from the rest of it: BEST-RQ (arXiv 2202.01855)."""

    codebooks: int = 4
    """Random quantisers, each with a head of its own."""
    codes: int = 1024
    """Entries of a codebook."""
    code_width: int = 16
    """Width that speech is projected to before the nearest entry is looked up."""
    span: int = 10
    """Encoder positions that are hidden at a stretch."""
    seed: int = 0
    """Of the quantisers, which are never trained."""

    def __post_init__(self):
        limits.at_least(self, 1, "codebooks", "codes", "code_width", "span")


@dataclasses.dataclass(frozen=True)
class SpeechOut:
    """Speech out of the decoder as log-mel frames in a few levels a channel: dMel (arXiv 2407.15835)."""

    mels: int = 80
    levels: int = 16
    range_db: float = 60.0
    """What lies further below an utterance's loudest channel is its lowest level."""
    reduction: int = 2
    """Speech frames in one decoder step; must equal Row.reduction."""
    hidden: int = 256
    """Width of the network that speech passes on its way into the decoder."""
    dropout: float = 0.3
    """Of that network: the decoder is not to lean on the frames before alone."""
    guided_heads: int = 0
    """So many heads of each decoder layer tell how far from its text's diagonal speech looks, which the loss head
    'alignment' reads (arXiv 1710.08969). Without it reading in order is found late, or never."""
    guide_width: float = 0.2
    """How far from the diagonal, as a share of a segment, a look is worth drawing back; the evener the speech, the
    smaller."""

    def __post_init__(self):
        limits.at_least(self, 0, "guided_heads")
        limits.share(self, "dropout")
        # Below it the features hold nothing; see log_mel.DYNAMIC_RANGE.
        limits.at_most(self, 80, "range_db")
        if self.levels < 2 or self.mels < 1 or self.range_db <= 0 or self.guide_width <= 0:
            raise ValueError(
                "speech out of the decoder: wanted two levels or more, a channel or more, and a range and a width of "
                f"the guide above 0, found SpeechOut.levels = {self.levels}, .mels = {self.mels}, .range_db = "
                f"{self.range_db}, .guide_width = {self.guide_width}."
            )


@dataclasses.dataclass(frozen=True)
class Model:
    """An encoder-decoder over speech and text."""

    vocabulary_size: int = 1024
    """Rows of the embedding: at least the vocabulary's pieces; a multiple of 128 suits the hardware."""
    width: int = 256
    num_heads: int = 4
    mlp_width: int = 1024
    encoder_layers: int = 4
    decoder_layers: int = 2
    encoder_block: Literal["conformer", "transformer"] = "conformer"
    conv_kernel: int = 15
    """Taps of a Conformer's depthwise convolution, odd: 40 ms each at 4x subsampling."""
    text_kernel: int | None = None
    """Taps of a convolution of its own over text, a token each, odd; None: text has none. With it the encoder knows
    what stands beside what from the start, which attention is long in finding out."""
    decoder_kernel: int | None = None
    """Taps of a causal convolution in every decoder block, over a token and those just before it; None: there is none.
    What the decoder looks for in the encoder is then more than one token."""
    lookup_start: float = 0.0
    """How far, from 0 to below 1, the weights start as those of a model that looks up: a decoder's step looks for its
    like in the encoder, and the convolutions over tokens bring each what stands before it. What was said of a name is
    then found within a thousand steps, and else perhaps never."""
    parts: Literal["own", "whisper"] = "own"
    """What layers are made of: RMSNorm, gated feed-forward layers and rotary positions; or all as Whisper has it
    (arXiv 2212.04356): LayerNorm, GELU, biases, tables of positions, two convolutions before the encoder. Weights of
    Whisper's can be brought into such a model, and taken out of it."""
    audio_places: int = 1500
    text_places: int = 448
    """Of parts = "whisper": how long the tables of positions are, of the encoder (20 ms each) and of the decoder."""
    mels: int = 80
    subsampling: int = 4
    """Speech frames in one encoder position; must equal Row.subsampling."""
    stem_channels: int = 256
    """Channels of the strided convolutions before the encoder."""
    sinusoids: bool = True
    """Whether absolute positions are added to what enters the stacks, beside the rotary ones in attention to a stack's
    own. Attention from the decoder to the encoder has no others: with them it finds its place in speech much sooner."""
    ctc: bool = True
    """Whether there is a CTC head over encoder audio positions."""
    ctc_tied: bool = False
    """Whether that head reads by the embedding of tokens: then the encoder says a word where it hears one, and what has
    learned to find a word in text finds it in speech."""
    matching: bool = False
    """Whether the model says if a target is what was spoken: by how much the target surprises its decoder."""
    masked_speech: MaskedSpeech | None = None
    """How speech is hidden and told; None: the model has no such head."""
    speech_out: SpeechOut | None = None
    """Speech out of the decoder; None: it writes text alone."""
    dropout: float = 0.1
    spec_augment: SpecAugment | None = SpecAugment()
    remat: Literal["none", "minimal", "full", "offload"] = "none"
    """What the backward pass computes again: nothing; all but the products with weights, which are kept (minimal), or
    kept in the memory of the host (offload); each whole layer (full)."""
    scan: bool = True
    """Whether one layer of a stack is compiled for all of them; or each by itself, which compiles longer with depth."""
    attention_kernel: Literal["auto", "reference", "blocks", "cudnn", "splash"] = "auto"
    """What computes attention: written out (reference), block by block in plain JAX, for CPUs (blocks), cuDNN on GPUs,
    JAX's splash kernel on TPUs; or what suits the devices and the length of rows (auto)."""
    products: Literal["full", "int8", "fp8"] = "full"
    """What blocks multiply by their weights: numbers of `dtype`, or rounded to 8 bits with a scale for each vector,
    which devices with units for such numbers multiply up to twice as fast. The backward pass, and weights as they are
    kept, are exact. Wants the extra [quantized]."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """What the trunk computes in; parameters, norms, softmax and losses are float32 always."""

    @property
    def is_whisper(self) -> bool:
        """Whether its layers are Whisper's."""
        return self.parts == "whisper"

    @property
    def head_width(self) -> int:
        """Width of one attention head, K."""
        return self.width // self.num_heads

    def __post_init__(self):
        limits.at_least(self, 1, "vocabulary_size", "width", "num_heads", "mlp_width", "encoder_layers")
        limits.at_least(self, 1, "decoder_layers", "mels", "stem_channels")
        if self.width % self.num_heads or self.head_width % 2:
            raise ValueError(
                f"a model's width divides into heads of even width, found width={self.width}, "
                f"num_heads={self.num_heads}. Set Model.width or Model.num_heads."
            )
        if self.speech_out is not None and self.speech_out.guided_heads > self.num_heads:
            raise ValueError(
                f"a decoder layer has {self.num_heads} heads to guide, found SpeechOut.guided_heads = "
                f"{self.speech_out.guided_heads}. Set it to at most Model.num_heads."
            )
        for name in ("conv_kernel", "text_kernel"):
            taps = getattr(self, name)
            if taps is not None and (taps < 1 or taps % 2 == 0):
                raise ValueError(f"the kernel of a convolution is centred, so odd: found Model.{name} = {taps}.")
        limits.at_least(self, 1, "decoder_kernel")
        limits.share(self, "dropout", "lookup_start")
        if self.products != "full" and importlib.util.find_spec("qwix") is None:
            raise ValueError(
                f"Model.products = '{self.products}' wants qwix, and it is not installed. Install the extra "
                "[quantized]: pip install -c constraints.txt -e '.[quantized]'."
            )
        limits.at_least(self, 1, "audio_places", "text_places")
        if self.is_whisper and (self.encoder_block != "transformer" or self.subsampling != 2 or self.text_kernel):
            raise ValueError(
                "Whisper's encoder is a Transformer over every other frame, without convolutions in its blocks: wanted "
                "Model.encoder_block = 'transformer', .subsampling = 2 and .text_kernel = None, found "
                f"{self.encoder_block!r}, {self.subsampling} and {self.text_kernel}."
            )
        if self.subsampling not in (2, 4, 8):
            raise ValueError(
                "the stem halves the frame rate once to three times: wanted Model.subsampling 2, 4 or 8, found "
                f"{self.subsampling}."
            )
